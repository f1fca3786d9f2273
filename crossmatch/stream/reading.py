"""Row groups of a stream's datasets: where a row is, and the arrays of a row group, decoded or from the cache."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from crossmatch.stream.arrays import Array
from crossmatch.stream.decode import Block, block_of
from crossmatch.stream.samples import Rows, Side
from mmu.errors import FormatError, MmuError
from mmu.remote.ranges import Place, parquet, version_of
from mmu.schema.plain import plain

ID = Array("", "", (), "text")
"""Read beside the arrays, for `batch.ids`; no column is called so."""


class Group(NamedTuple):
    """A row group of a dataset."""

    side: int
    place: Place
    number: int


Make = Callable[[], dict[str, Block]]
Kept = Callable[[Group, tuple[Array, ...], str, Make], dict[str, Block]]


class Reader:
    """Decoded row groups of all sides.

    Args:
        arrays: of each side, what is read of it.
        cache: gives the blocks of a row group, or makes them.
        recent: of each side, how many row groups are kept in memory for the batches that come next.
    """

    def __init__(
        self,
        sides: tuple[Side, ...],
        arrays: tuple[tuple[Array, ...], ...],
        cache: Kept | None = None,
        recent: Sequence[int] = (),
    ) -> None:
        self.sides, self.arrays = sides, arrays
        self._cache, self._most = cache, recent or [2] * len(sides)
        self._recent: list[OrderedDict[Group, dict[str, Block]]] = [OrderedDict() for _ in sides]
        self._making: dict[Group, threading.Lock] = {}
        self._lock = threading.Lock()

    def where(self, side: int, leaf: int, row: Rows) -> Iterator[tuple[Group, Rows, Rows]]:
        """For each row group of a partition that holds some of the rows: it, which of them, and their rows in it.

        Raises:
            FormatError: the partition cannot be read, or has no such row.
        """
        first = 0
        for place in self.sides[side].files[leaf]:
            ends = first + np.cumsum(sizes(place))
            number = np.searchsorted(ends, row, side="right")
            here = (row >= first) & (number < len(ends))
            for group in np.unique(number[here]).tolist():
                mine = np.flatnonzero(here & (number == group))
                yield Group(side, place, group), mine, row[mine] - (ends[group - 1] if group else first)
            first = int(ends[-1]) if len(ends) else first
        if (row >= first).any():
            raise FormatError(f"{self.sides[side].files[leaf][0]} has {first} rows, and row {row.max()} was asked for.")

    def blocks(self, group: Group) -> dict[str, Block]:
        """The arrays of a row group, and its ids under "".

        Raises:
            FormatError: it cannot be read.
        """
        with self._lock:
            making = self._making.setdefault(group, threading.Lock())
        with making:  # another thread may be at it
            recent = self._recent[group.side]
            with self._lock:
                if group in recent:
                    recent.move_to_end(group)
                    return recent[group]
            found = self._made(group)
            with self._lock:
                recent[group] = found
                self._making.pop(group, None)
                while len(recent) > self._most[group.side]:
                    recent.popitem(last=False)
        return found

    def _made(self, group: Group) -> dict[str, Block]:
        if self._cache is None:
            return self._decoded(group)
        arrays, identity = self.arrays[group.side], self.sides[group.side].id
        return self._cache(group, arrays, identity, lambda: self._decoded(group))

    def _decoded(self, group: Group) -> dict[str, Block]:
        side, arrays = self.sides[group.side], self.arrays[group.side]
        identity = (replace(ID, path=side.id),) if side.id else ()
        bands = {f"{array.path.rpartition('.')[0]}.band" for array in arrays if array.bands}
        paths = sorted({array.path for array in (*arrays, *identity)} | bands)
        table = read(group.place, group.number, paths)
        blocks = {array.name: block_of(array, table) for array in arrays}
        return blocks | {array.name: block_of(array, table) for array in identity}


def read(place: Place, number: int, paths: list[str]) -> pa.Table:
    """Some columns of a row group.

    Raises:
        FormatError: it cannot be read.
    """
    try:
        with parquet(place) as file:
            return plain(file.read_row_group(number, columns=paths, use_threads=False))
    except MmuError:
        raise
    except (pa.ArrowException, OSError, KeyError) as problem:
        msg = f"{place} cannot be read ({problem}); `mmu verify` says what else is damaged."
        raise FormatError(msg) from problem


def sizes(place: Place) -> Rows:
    """Rows of each row group of a file.

    Raises:
        FormatError: it cannot be read.
    """
    try:
        return _sizes(place, version_of(place))
    except MmuError:
        raise
    except (pa.ArrowException, OSError) as problem:
        raise FormatError(f"{place} cannot be read ({problem}); `mmu verify` says what else is damaged.") from problem


@lru_cache(maxsize=1 << 16)
def _sizes(place: Place, version: object) -> Rows:
    with parquet(place) as file:
        metadata = file.metadata
    return np.array([metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)], dtype=np.int64)
