"""The build engine: plan, fetch, read, spool by sky, write, verify."""
