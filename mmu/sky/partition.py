"""The partition tree: which HEALPix pixels of which orders become shards.

Computed once in the plan from the selected positions and the declared bytes per row; it never depends on what
later fails, so any run of the same selection has the same shards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmu.sky.healpix import MAX_ORDER

FINEST_ORDER = 14


@dataclass(frozen=True, order=True)
class Partition:
    """One HEALPix pixel (nested) that holds one shard."""

    order: int
    pixel: int

    @property
    def span(self) -> tuple[int, int]:
        """First and one-past-last order-29 pixel."""
        shift = 2 * (MAX_ORDER - self.order)
        return self.pixel << shift, (self.pixel + 1) << shift

    @property
    def path(self) -> str:
        """Where HATS puts it, below `dataset/`."""
        return f"Norder={self.order}/Dir={self.pixel // 10000 * 10000}/Npix={self.pixel}.parquet"

    def __str__(self) -> str:
        return f"{self.order}/{self.pixel}"


def partition_tree(
    healpix_29: NDArray[np.int64], bytes_per_row: int, max_bytes: int, max_rows: int = 1_000_000
) -> list[Partition]:
    """The coarsest pixels that hold at most `max_bytes` and `max_rows` each; empty ones are left out.

    Pixels of order 14 (13 arcsec) are not split further, however full: that bounds the depth for stacked positions.
    Returned in sky order (of their first order-29 pixel).
    """
    rows_allowed = max(1, min(max_rows, max_bytes // max(bytes_per_row, 1)))
    keys = np.sort(np.asarray(healpix_29, dtype=np.int64))
    leaves: list[Partition] = []
    pending = [Partition(0, base) for base in reversed(range(12))]
    while pending:
        part = pending.pop()
        first, last = np.searchsorted(keys, part.span)
        if first == last:
            continue
        if last - first <= rows_allowed or part.order == FINEST_ORDER:
            leaves.append(part)
            continue
        pending.extend(Partition(part.order + 1, 4 * part.pixel + child) for child in (3, 2, 1, 0))
    return leaves


def locate(healpix_29: NDArray[np.int64], leaves: list[Partition]) -> NDArray[np.int64]:
    """For each position the index of the leaf it lies in, or -1; leaves in sky order, not overlapping."""
    spans = np.array([leaf.span for leaf in leaves], dtype=np.int64).reshape(-1, 2)
    keys = np.asarray(healpix_29, dtype=np.int64)
    if len(leaves) == 0:
        return np.full(keys.shape, -1, dtype=np.int64)
    index = np.searchsorted(spans[:, 0], keys, side="right") - 1
    inside = (index >= 0) & (keys < spans[np.maximum(index, 0), 1])
    return np.where(inside, index, -1)
