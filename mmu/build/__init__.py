"""The build engine: plan, fetch, read, spool by sky, write, verify."""

from mmu.build.run import build
from mmu.build.spec import BuildSpec
from mmu.build.verify import verify

__all__ = ["BuildSpec", "build", "verify"]
