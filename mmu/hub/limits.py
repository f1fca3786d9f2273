"""What the Hub does not take, known before anything is sent.

From its documentation (huggingface.co/docs/hub/storage-limits): fewer than 100,000 files a repository, no more than
10,000 entries a folder, files of 50 GB at most.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from mmu.errors import UsageError
from mmu.hub.contents import Item

MOST_FILES = 100_000
MOST_ENTRIES = 10_000
MOST_BYTES = 50 * 10**9


def check_limits(items: Iterable[Item], kept: Iterable[str] = ()) -> None:
    """Will the Hub take these files?

    Args:
        kept: names of files that are in the repository already, and stay.

    Raises:
        UsageError: it will not; the message says which limit, and what to do.
    """
    items = list(items)
    for item in items:
        if item.bytes > MOST_BYTES:
            advice = "build it again with a smaller --partition-bytes"
            raise UsageError(f"{item.path} has {item.bytes:,} bytes, the Hub takes {MOST_BYTES:,} a file; {advice}.")
    names = {item.name for item in items} | set(kept)
    if len(names) >= MOST_FILES:
        advice = "build it with a larger --partition-bytes, or publish its releases as repositories of their own"
        raise UsageError(f"The repository would have {len(names):,} files, the Hub takes {MOST_FILES:,}; {advice}.")
    for folder, count in _entries(names).items():
        if count > MOST_ENTRIES:
            advice = "build it with a larger --partition-bytes"
            raise UsageError(
                f"{folder} would have {count:,} entries, the Hub takes {MOST_ENTRIES:,} a folder; {advice}."
            )


def _entries(names: Iterable[str]) -> dict[str, int]:
    """How many files and folders each folder holds."""
    inside: dict[str, set[str]] = defaultdict(set)
    for name in names:
        parts = name.split("/")
        for depth in range(len(parts)):
            inside["/".join(parts[:depth]) or "The repository"].add(parts[depth])
    return {folder: len(entries) for folder, entries in inside.items()}
