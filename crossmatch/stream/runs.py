"""Where a stream's samples may be cut when their order is shuffled: as row groups are, which are read as a whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossmatch.stream.arrays import Array
from crossmatch.stream.reading import sizes
from crossmatch.stream.samples import Rows, Samples, Side
from mmu.errors import MmuError

CHUNKS, OPEN = 8, 8
"""Chunks of a group of batches, at least; blocks of chunks that are shuffled together."""


def runs(
    samples: Samples, arrays: tuple[tuple[Array, ...], ...], group_rows: list[int], rows: Rows, least: int
) -> tuple[Rows, Rows]:
    """Where chunks of samples begin, and blocks of chunks: as the row groups of the heaviest, and the longest dataset.

    Args:
        group_rows: of each dataset, rows of a row group.
        rows: the samples, in the order of the sky.
        least: samples of a chunk, mostly.
    """
    begins = [_begins(samples, side, size, rows) for side, size in enumerate(group_rows)]
    heaviest = int(np.argmax([sum(array.bytes_per_row for array in listed) for listed in arrays]))
    longest = int(np.argmin([np.count_nonzero(one) for one in begins]))
    chunks = _spaced(np.flatnonzero(begins[heaviest]), least)
    blocks = _spaced(np.flatnonzero(begins[longest]), CHUNKS * least)
    return chunks, chunks[np.unique(np.searchsorted(chunks, blocks, "right") - 1)]


def group_rows(side: Side) -> int:
    """Rows of the largest row group of the first file that can be read."""
    for places in side.files:
        try:
            return max(1, int(sizes(places[0]).max(initial=1)))
        except MmuError:
            continue  # whoever asks for its rows is told
    return 1


def _begins(samples: Samples, side: int, size: int, rows: Rows) -> NDArray[np.bool_]:
    """True for samples of another row group than the one before; row groups are taken to be of one size."""
    leaf, group = samples.leaf[side, rows], samples.row[side, rows] // size
    has = np.flatnonzero(leaf >= 0)
    out = np.zeros(len(rows), bool)
    out[has[1:]] = (np.diff(leaf[has]) != 0) | (np.diff(group[has]) != 0)
    out[:1] = True
    return out


def _spaced(starts: Rows, least: int) -> Rows:
    """Some of the starts, mostly at least so far apart."""
    return starts[np.diff(starts // max(least, 1), prepend=-1) > 0]
