"""Property tests here look at pairs, not at the clock."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("mmu", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("mmu")
