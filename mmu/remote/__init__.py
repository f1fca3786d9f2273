"""Catalogues that are not on this machine: their addresses, and their files read by ranges."""
