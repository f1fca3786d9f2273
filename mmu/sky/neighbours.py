"""Which HEALPix pixels touch one another, nested ordering: in plain NumPy, as matching asks for little else of HEALPix.

A pixel is a square (x to the north-east, y to the north-west) of one of twelve faces, in three rows of four: round the
north pole, on the equator, round the south pole. Gorski et al. (2005), ApJ 622, 759.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Pixels = NDArray[np.int64]

_STEPS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
"""To the south-west, west, north-west, north, north-east, east, south-east and south."""

_ROUND = {  # a step in x, y over the edge of a face -> from each row: to which row, how far east; none: no pixel there
    (1, 0): ((0, 1), (0, 0), (1, 1)),
    (0, 1): ((0, -1), (0, -1), (1, 0)),
    (-1, 0): ((1, 0), (2, -1), (2, -1)),
    (0, -1): ((1, 1), (2, 0), (2, 1)),
    (1, 1): ((0, 2), None, (0, 0)),
    (-1, -1): ((2, 0), None, (2, 2)),
    (-1, 1): (None, (1, -1), None),
    (1, -1): (None, (1, 1), None),
}


def spread(values: Pixels) -> Pixels:
    """Every bit moved to twice its place: half of a nested pixel number."""
    out = np.zeros_like(values)
    for bit in range(int(values.max(initial=0)).bit_length()):
        out |= ((values >> bit) & 1) << (2 * bit)
    return out


def _gathered(values: Pixels) -> Pixels:
    """Every second bit, side by side: x of a nested pixel number, or y of half of one."""
    out = np.zeros_like(values)
    for bit in range((int(values.max(initial=0)).bit_length() + 1) // 2):
        out |= ((values >> (2 * bit)) & 1) << bit
    return out


def neighbours(order: int, pixels: ArrayLike) -> Pixels:
    """The 8 neighbours of each pixel, (8, N), south-west, west, north and on; -1 where a corner has none."""
    pixel = np.asarray(pixels, dtype=np.int64)
    face, within = pixel >> (2 * order), pixel & ((1 << (2 * order)) - 1)
    x, y = _gathered(within), _gathered(within >> 1)
    return np.stack([_step(order, face, x + east, y + west) for east, west in _STEPS])


def _step(order: int, face: Pixels, x: Pixels, y: Pixels) -> Pixels:
    """Pixel numbers of squares that may lie one step outside their face."""
    side = 1 << order
    found = (face << (2 * order)) | spread(x % side) | (spread(y % side) << 1)
    over_x, over_y = x // side, y // side
    for (to_x, to_y), rows in _ROUND.items():
        over = (over_x == to_x) & (over_y == to_y)
        for row, beyond in enumerate(rows):
            here = np.flatnonzero(over & (face // 4 == row))
            if len(here):
                found[here] = -1 if beyond is None else _beyond(order, row, beyond, face[here], x[here], y[here])
    return found


def _beyond(order: int, row: int, beyond: tuple[int, int], face: Pixels, x: Pixels, y: Pixels) -> Pixels:
    """Pixel numbers of squares on another face; round a pole the axes turn from face to face."""
    to_row, east = beyond
    side, new_x, new_y = 1 << order, x % (1 << order), y % (1 << order)
    if row == to_row != 1:  # round a pole, faces meet along the edges that point to it
        edge = np.full_like(x, side - 1 if row == 0 else 0)
        if east == 2:
            new_x = new_y = edge
        elif (east == 1) == (row == 0):
            new_x, new_y = new_y, edge
        else:
            new_x, new_y = edge, new_x
    other = 4 * to_row + (face + east) % 4
    return np.asarray((other << (2 * order)) | spread(new_x) | (spread(new_y) << 1))
