"""A batch, and how it is filled: every row is copied once, from where Arrow decoded it to the array handed out.

The arrays are taken from buffers used before: a fresh one of a hundred megabytes costs as much as filling it. One is
used again only when nothing refers to it, so an array that the user keeps stays as it is.
"""

from __future__ import annotations

import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from crossmatch.stream.arrays import Array
from crossmatch.stream.decode import Block, too_large

Rows = NDArray[np.int64]
_LONG_ROW = 2048
_REFERENCES = 3  # of a free buffer while it is looked at: the list's, the loop's and getrefcount's own


@dataclass
class Batch:
    """Rows of several datasets: `batch["desi"]["spectrum.flux"]`, (rows, ...); zeros where a dataset has no record.

    Attributes:
        index: its number in the epoch, on this rank.
        sides: dataset -> column -> array. A ragged column is a pair (values, offsets), unless `pad` is asked for: then
            `COLUMN.valid` tells values from padding. Rows of texts are an array of objects, each a text or an array of
            several, None where there is none. Images have their bands along the first axis; those that a row
            does not have are zeros, and False in `COLUMN.valid`.
        present: dataset -> True where it has the object.
        separation: dataset -> arcsec from the object; NaN where it has none.
        bands: dataset -> column -> what the first axis stands for.
        padding: samples at the end that come twice, to fill the batch (`tail="pad"`).
    """

    index: int
    sides: dict[str, dict[str, Any]]
    present: dict[str, Any]
    separation: dict[str, Any]
    bands: dict[str, dict[str, tuple[str, ...]]]
    padding: int = 0
    texts: dict[str, pa.Array] = field(default_factory=dict)

    @property
    def ids(self) -> dict[str, list[str | None]]:
        """Dataset -> the ids of its records; None where it has none."""
        return {name: array.to_pylist() for name, array in self.texts.items()}

    @property
    def size(self) -> int:
        return len(next(iter(self.present.values())))

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self.sides[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sides)

    def __repr__(self) -> str:
        parts = (f"{name}: {', '.join(f'{key} {_shape(value)}' for key, value in side.items())}"
                 for name, side in self.sides.items())  # fmt: skip
        return f"<batch {self.index} of {self.size}: {'; '.join(parts)}>"


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if hasattr(value, "shape") else "ragged"


class Buffers:
    """Arrays that are handed out again once nobody refers to them.

    Args:
        pinned: allocate them with torch, so that a GPU can fetch them while it computes.
    """

    def __init__(self, pinned: bool = False) -> None:
        self._pinned, self._lock = pinned, threading.Lock()
        self._known: dict[tuple[tuple[int, ...], np.dtype[Any]], list[NDArray[Any]]] = defaultdict(list)

    def get(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """An array of what happens to be in it."""
        with self._lock:
            for known in self._known[shape, dtype]:
                if sys.getrefcount(known) == _REFERENCES:
                    return known[:]
            made = self._made(shape, dtype)
            self._known[shape, dtype].append(made)
            return made[:]

    def _made(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        if not self._pinned:
            return np.empty(shape, dtype)
        import torch

        size = int(np.prod(shape)) * dtype.itemsize
        pinned = torch.empty(size, dtype=torch.uint8, pin_memory=True).numpy()
        return np.asarray(pinned.view(dtype).reshape(shape))


def copy(to: NDArray[Any], slots: Rows, source: NDArray[Any], rows: Rows) -> None:
    """`to[slots] = source[rows]`, without a copy in between where rows are long, and without the GIL."""
    if not len(slots):
        return
    together = slots[-1] - slots[0] == len(slots) - 1 and bool((slots[1:] > slots[:-1]).all())
    if together and to.dtype == source.dtype and source.flags.c_contiguous:
        np.take(source, rows, axis=0, out=to[slots[0] : slots[-1] + 1], mode="clip")  # any other mode copies twice
        return
    if source[0].nbytes < _LONG_ROW:
        to[slots] = source[rows]
        return
    breaks = np.flatnonzero((np.diff(slots) != 1) | (np.diff(rows) != 1)) + 1
    for start, stop in zip([0, *breaks.tolist()], [*breaks.tolist(), len(slots)], strict=True):
        first, row = slots[start], rows[start]
        np.copyto(to[first : first + stop - start], source[row : row + stop - start], casting="same_kind")


class Column:
    """One array of a batch while it is filled.

    Args:
        size: rows of the batch; absent: those of them that the dataset has no record of.
    """

    def __init__(self, array: Array, size: int, absent: Rows) -> None:
        self.array, self.size, self.absent = array, size, absent

    def take(self, slots: Rows, block: Block, rows: Rows) -> None:
        """Copy some rows of a block to some of the batch's; several threads do so at once.

        Raises:
            FormatError: a value is too large for the dtype asked for.
        """
        if block.values.dtype == self.array.read_as:  # the states of NumPy take longer than some copies
            self._take(slots, block, rows)
            return
        try:
            with np.errstate(over="raise", invalid="ignore"):
                self._take(slots, block, rows)
        except FloatingPointError as problem:
            raise too_large(self.array, block.values) from problem

    def _take(self, slots: Rows, block: Block, rows: Rows) -> None:
        raise NotImplementedError

    def finished(self) -> dict[str, Any]:
        """The array under the key "", and what comes with it under keys that are appended to its name."""
        raise NotImplementedError


class Fixed(Column):
    """Rows of one shape; images with a place for each band."""

    def __init__(self, array: Array, size: int, absent: Rows, buffers: Buffers) -> None:
        super().__init__(array, size, absent)
        self.to = buffers.get((size, *(length or 0 for length in array.shape)), array.read_as)
        self.to[absent] = 0
        self.valid = np.ones((size, len(array.bands)) if array.bands else size, dtype=bool)
        self.valid[absent] = False

    def _take(self, slots: Rows, block: Block, rows: Rows) -> None:
        if block.offsets is None:
            copy(self.to, slots, block.values, rows)
        else:
            self._take_bands(slots, block, rows)
        if block.valid is not None:
            self.valid[slots[~block.valid[rows]]] = False

    def _take_bands(self, slots: Rows, block: Block, rows: Rows) -> None:
        """Each plane to the place of its band."""
        assert block.codes is not None
        self.to[slots], self.valid[slots] = 0, False
        entry, slot = entries(block, rows, slots)
        code = block.codes[entry]
        known = code >= 0
        planes = self.to.reshape(-1, *self.to.shape[2:])
        copy(planes, (slot * len(self.array.bands) + code)[known], block.values, entry[known])
        self.valid[slot[known], code[known]] = True

    def finished(self) -> dict[str, Any]:
        return {"": self.to, **({".valid": self.valid} if self.array.bands or self.array.nullable else {})}


class Ragged(Column):
    """Rows of different lengths: padded to one, or end to end."""

    def __init__(self, array: Array, size: int, absent: Rows, pad: int | float | None) -> None:
        super().__init__(array, size, absent)
        self.pad, self.lengths = pad, np.zeros(size, np.int64)
        self.pieces: list[tuple[Rows, Rows, NDArray[Any]]] = []

    def _take(self, slots: Rows, block: Block, rows: Rows) -> None:
        assert block.offsets is not None
        entry, slot = entries(block, rows, slots)
        start = block.offsets[rows]
        self.lengths[slots] = block.offsets[rows + 1] - start
        first = np.repeat(start, self.lengths[slots])
        self.pieces.append((slot, entry - first, block.values[entry].astype(self.array.read_as, copy=False)))

    def finished(self) -> dict[str, Any]:
        inner = tuple(length or 0 for length in self.array.shape[1:])
        if self.pad is not None:
            longest = int(self.lengths.max(initial=0))
            out = np.full((self.size, longest, *inner), self.pad, self.array.read_as)
            for slot, place, values in self.pieces:
                out[slot, place] = values
            return {"": out, ".valid": np.arange(longest) < self.lengths[:, None]}
        offsets = np.r_[0, np.cumsum(self.lengths)]
        flat = np.empty((int(offsets[-1]), *inner), self.array.read_as)
        for slot, place, values in self.pieces:
            flat[offsets[slot] + place] = values
        return {"": (flat, offsets)}


class Text:
    """Strings of a batch while it is filled, which stay Arrow's."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pieces: list[tuple[Rows, pa.Array]] = []

    def put(self, slots: Rows, texts: pa.Array) -> None:
        """Strings of some of the batch's rows."""
        self.pieces.append((slots, texts))

    def arrow(self) -> pa.Array:
        """All of them, in the order of the batch; null where the dataset has no record. Rows of several stay lists."""
        if not self.pieces:
            return pa.nulls(self.size, pa.string())
        place = np.full(self.size, -1, np.int64)
        place[np.concatenate([slots for slots, _ in self.pieces])] = np.arange(sum(len(p[0]) for p in self.pieces))
        joined = pa.concat_arrays([text for _, text in self.pieces])
        joined = joined if pa.types.is_nested(joined.type) else joined.cast(pa.string())
        return joined.take(pa.array(place, mask=place < 0))

    def finished(self) -> dict[str, Any]:
        """As `Column.finished`."""
        return {"": self.arrow().to_numpy(zero_copy_only=False)}


def entries(block: Block, rows: Rows, slots: Rows) -> tuple[Rows, Rows]:
    """The entries of some ragged rows, and the slot that each belongs to."""
    assert block.offsets is not None
    start = block.offsets[rows]
    counts = block.offsets[rows + 1] - start
    entry = np.repeat(start - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    return entry, np.repeat(slots, counts)


def column_for(array: Array, size: int, absent: Rows, buffers: Buffers, pad: int | float | None) -> Column:
    """The kind of column that an array of numbers needs."""
    return Ragged(array, size, absent, pad) if array.ragged else Fixed(array, size, absent, buffers)
