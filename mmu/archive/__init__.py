"""Files of an archive, had once and verified: sources, downloads as transactions, checksums, probes, limits.

`open_source` says where files come from, `Fetcher.get` gives one of them as a verified local file.
"""

from mmu.archive.fetch import Fetched, Fetcher
from mmu.archive.source import open_source

__all__ = ["Fetched", "Fetcher", "open_source"]
