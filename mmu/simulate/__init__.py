"""A seeded sky of galaxies and stars, and the light they send.

The raw material of demo, tests and benchmarks.
"""

from __future__ import annotations

from mmu.simulate.sky import DEFAULT, Field, Sky

__all__ = ["DEFAULT", "Field", "Sky"]
