"""The floor of a match: a compiled zone grid with a counting sort. Exact for fields away from the poles and RA 0."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np


def nearest(ra1: Any, dec1: Any, ra2: Any, dec2: Any, radius_arcsec: float) -> Any:
    """For each position of the first list the nearest of the second within the radius, or -1."""
    low = np.array([min(ra1.min(), ra2.min()), min(dec1.min(), dec2.min())])
    high = np.array([max(ra1.max(), ra2.max()), max(dec1.max(), dec2.max())])
    cell = max(np.sqrt(np.prod(high - low) / len(ra2)), 2 * radius_arcsec / 3600)
    shape = np.ceil((high - low) / cell).astype(np.int64) + 1
    starts, order = _sorted(ra2, dec2, low, cell, shape)
    return _search(ra1, dec1, ra2[order], dec2[order], order, starts, low, cell, shape, radius_arcsec / 3600)


@nb.njit(cache=False)
def _sorted(ra: Any, dec: Any, low: Any, cell: float, shape: Any) -> Any:
    cells = np.empty(len(ra), np.int64)
    starts = np.zeros(shape[0] * shape[1] + 1, np.int64)
    for n in range(len(ra)):
        cells[n] = int((dec[n] - low[1]) / cell) * shape[0] + int((ra[n] - low[0]) / cell)
        starts[cells[n] + 1] += 1
    starts = np.cumsum(starts)
    fill, order = starts[:-1].copy(), np.empty(len(ra), np.int64)
    for n in range(len(ra)):
        order[fill[cells[n]]] = n
        fill[cells[n]] += 1
    return starts, order


@nb.njit(parallel=True, cache=False)
def _search(
    ra1: Any, dec1: Any, ra2: Any, dec2: Any, order: Any, starts: Any, low: Any, cell: float, shape: Any, radius: float
) -> Any:
    out = np.full(len(ra1), -1, np.int64)
    for n in nb.prange(len(ra1)):
        wide = radius / np.cos(np.radians(min(abs(dec1[n]) + radius, 89.9)))
        x1 = max(int((ra1[n] - wide - low[0]) / cell), 0)
        x2 = min(int((ra1[n] + wide - low[0]) / cell), shape[0] - 1)
        y1 = max(int((dec1[n] - radius - low[1]) / cell), 0)
        y2 = min(int((dec1[n] + radius - low[1]) / cell), shape[1] - 1)
        best, at = np.sin(np.radians(radius) / 2) ** 2, -1
        cosine = np.cos(np.radians(dec1[n]))
        for y in range(y1, y2 + 1):
            for m in range(starts[y * shape[0] + x1], starts[y * shape[0] + x2 + 1]):
                if abs(dec2[m] - dec1[n]) > radius or abs(ra2[m] - ra1[n]) > wide:
                    continue
                up = np.sin(np.radians(dec2[m] - dec1[n]) / 2)
                along = np.sin(np.radians(ra2[m] - ra1[n]) / 2)
                d = up * up + cosine * np.cos(np.radians(dec2[m])) * along * along
                if d <= best:
                    best, at = d, order[m]
        out[n] = at
    return out
