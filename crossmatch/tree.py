"""Candidates for any radius and place: a k-d tree over unit vectors, which can stop at the nearest few."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

_SLACK = 1.0 + 1e-9
_ROUNDING = 4e-16
_ENTRIES = 1 << 22


class Tree:
    """Unit vectors (N, 3), best with neighbours following one another, and the row that each stands for."""

    def __init__(self, vectors: Floats, rows: Rows) -> None:
        from scipy.spatial import cKDTree

        self.rows = rows
        self._tree = cKDTree(vectors, balanced_tree=False, compact_nodes=False)

    def near(self, vectors: Floats, radius_deg: float, limit: int | None) -> Iterator[tuple[Rows, Rows]]:
        """Blocks of (row of `vectors`, row of the list) within a radius, and a few just outside.

        With a limit, only the so many nearest of each and those at the same distance as the last. All those of one row
        are in one block. How many neighbours are asked for grows for those rows only that may have more.
        """
        chord = 2.0 * np.sin(np.radians(radius_deg) / 2.0) * _SLACK + _ROUNDING
        k, left, count = 2 if limit is None else limit + 1, np.arange(len(vectors)), self._tree.n
        while len(left):
            k, again = min(k, count), []
            for start in range(0, len(left), max(1, _ENTRIES // k)):
                block = left[start : start + max(1, _ENTRIES // k)]
                distance, near = self._tree.query(vectors[block], k=k, distance_upper_bound=chord)
                distance, near = distance.reshape(len(block), k), near.reshape(len(block), k)
                found = np.isfinite(distance)
                more = found[:, -1] & (k < count)
                if limit is not None and limit < k:
                    more &= distance[:, -1] <= distance[:, limit - 1] * _SLACK + _ROUNDING
                if more.any():
                    again.append(block[more])
                    found[more] = False
                yield block.repeat(found.sum(axis=1)), self.rows[near[found]]
            left, k = np.concatenate(again) if again else left[:0], 4 * k
