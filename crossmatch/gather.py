"""Rows of a dataset by (partition, row), wherever they are: row groups read once where the rows come in sky order."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmu.errors import FormatError, MmuError
from mmu.remote.listing import RemoteFolder
from mmu.remote.ranges import Place, parquet
from mmu.schema.plain import plain, plain_schema
from mmu.sky.partition import Partition

Rows = np.ndarray[Any, np.dtype[np.int64]]

_KEPT = 6
"""Row groups held: those of the few partitions round a place."""


class Gather:
    """Some columns of a dataset's rows.

    Args:
        folder: the catalogue's folder, on disk or at an address.
        columns: names; whole columns, structs with all their members.
        schema: of the dataset; read from its folder if not given.
    """

    def __init__(self, folder: Path | RemoteFolder, columns: Sequence[str], schema: pa.Schema | None = None) -> None:
        self.folder, self.columns, self._given = folder, list(columns), schema
        self._files: dict[Partition, list[tuple[Place, pq.FileMetaData]]] = {}
        self._kept: OrderedDict[tuple[Place, int], pa.Table] = OrderedDict()

    def __call__(self, order: Rows, pixel: Rows, row: Rows) -> pa.Table:
        """The rows asked for, in that order; a row of -1 gives nulls.

        Raises:
            FormatError: a partition has no such row, or cannot be read.
        """
        here = np.flatnonzero(row >= 0)
        leaves, which = np.unique(np.stack([order[here], pixel[here]]), axis=1, return_inverse=True)
        pieces: list[pa.Table] = []
        place = np.full(len(row), -1, dtype=np.int64)
        filled = 0
        for index, leaf in enumerate(leaves.T):
            at = here[which.reshape(-1) == index]
            for table, local, wanted in self._groups(Partition(int(leaf[0]), int(leaf[1])), row[at], at):
                pieces.append(table.take(pa.array(local)))
                place[wanted] = filled + np.arange(len(wanted))
                filled += len(wanted)
        if not pieces:
            return _nulls(self._schema(), len(row))
        found = pa.concat_tables(pieces)
        if (place == np.arange(len(row))).all():
            return found
        return found.combine_chunks().take(pa.array(place, mask=place < 0))

    def _groups(self, leaf: Partition, row: Rows, at: Rows) -> list[tuple[pa.Table, Rows, Rows]]:
        """For each row group of a partition that holds wanted rows: it, the rows in it, and whose they are."""
        out, first = [], 0
        for path, footer in self._partition(leaf):
            ends = _ends(footer)
            starts = np.r_[first, first + ends[:-1]] if len(ends) else ends
            group = np.searchsorted(first + ends, row, side="right")
            for number in np.unique(group[(row >= first) & (group < len(ends))]):
                mine = (group == number) & (row >= first)
                out.append((self._read(path, int(number), footer), row[mine] - starts[number], at[mine]))
            first += int(ends[-1]) if len(ends) else 0
        if (row >= first).any():
            raise FormatError(f"{self.folder}: partition {leaf} has {first} rows, and row {row.max()} was asked for.")
        return out

    def _partition(self, leaf: Partition) -> list[tuple[Place, pq.FileMetaData]]:
        """The files of a partition, and their footers."""
        if leaf not in self._files:
            self._files[leaf] = [(one, _footer(one)) for one in self._places(leaf)]
        return self._files[leaf]

    def _places(self, leaf: Partition) -> Sequence[Place]:
        if not isinstance(self.folder, Path):
            return self.folder.files(leaf)
        path = self.folder / "dataset" / leaf.path
        paths = [path] if path.is_file() else sorted(path.with_suffix("").glob("*.parquet"))
        if not paths:
            raise FormatError(f"{path} is missing; `mmu verify` says what else is.")
        return paths

    def _read(self, path: Place, group: int, footer: pq.FileMetaData) -> pa.Table:
        key = (path, group)
        if key not in self._kept:
            try:
                with parquet(path, footer) as file:
                    self._kept[key] = plain(file.read_row_group(group, columns=self.columns, use_threads=False))
            except MmuError:
                raise
            except (pa.ArrowException, OSError) as problem:
                msg = f"{path} cannot be read ({problem}); `mmu verify` says what else is damaged."
                raise FormatError(msg) from problem
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return self._kept[key].select(self.columns)

    def _schema(self) -> pa.Schema:
        schema = self._given
        if schema is None:
            schema = plain_schema(pq.read_schema(f"{self.folder}/dataset/_common_metadata"))
        return pa.schema([schema.field(name) for name in self.columns])


def _footer(path: Place) -> pq.FileMetaData:
    try:
        with parquet(path) as file:
            return file.metadata
    except MmuError:
        raise
    except (pa.ArrowException, OSError) as problem:
        msg = f"{path} cannot be read ({problem}); `mmu verify` says what else is damaged."
        raise FormatError(msg) from problem


def _ends(metadata: pq.FileMetaData) -> Rows:
    """Row numbers at which the row groups of a file end."""
    return np.cumsum([metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)], dtype=np.int64)


def _nulls(schema: pa.Schema, count: int) -> pa.Table:
    return pa.table({field.name: pa.nulls(count, field.type) for field in schema})
