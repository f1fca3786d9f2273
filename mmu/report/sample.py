"""Some rows of a dataset, whatever its size: row groups from all over the sky, up to so many rows and bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmu.dataset import Dataset

MOST_ROWS, MOST_ARRAY_ROWS = 500_000, 400
_MOST_BYTES = 96_000_000
_MOST_SHARDS = 64


@dataclass(frozen=True)
class Sample:
    """Rows, and of how many they are."""

    table: pa.Table
    of: int

    @property
    def words(self) -> str:
        """All, or how many of how many."""
        return f"all {self.of:,} rows" if len(self.table) == self.of else f"{len(self.table):,} of {self.of:,} rows"


def sample(dataset: Dataset, columns: Sequence[str], most_rows: int = MOST_ROWS) -> Sample:
    """Rows of some columns (`struct.member` included), spread evenly over the partitions.

    A row group is taken whole, or its first rows; none is read that would exceed the bytes, so an empty sample means
    that a single row group of these columns is too large for a look.
    """
    pieces: list[pa.Table] = []
    tops = list(dict.fromkeys(name.partition(".")[0] for name in columns))
    rows_left, bytes_left = most_rows, _MOST_BYTES
    for path, group, rows, size in _spread(_row_groups(dataset, columns)):
        if rows_left <= 0 or size > bytes_left:
            break
        with pq.ParquetFile(path) as file:
            piece = file.read_row_group(group, columns=list(columns)).select(tops)
        pieces.append(piece.slice(0, rows_left))
        rows_left, bytes_left = rows_left - rows, bytes_left - size
    whole = pa.concat_tables(pieces) if pieces else dataset.schema.empty_table().select(tops)
    return Sample(whole, len(dataset))


def _row_groups(dataset: Dataset, columns: Sequence[str]) -> list[tuple[str, int, int, int]]:
    """File, row group, rows, and bytes of the columns; of shards that are evenly spread if there are many."""
    found = []
    leaves = dataset.partitions
    places = np.linspace(0, max(len(leaves) - 1, 0), min(len(leaves), _MOST_SHARDS)).astype(int)
    for leaf in (leaves[i] for i in np.unique(places)):
        path = str(dataset.shard(leaf))
        metadata = pq.read_metadata(path)
        for index in range(metadata.num_row_groups):
            group = metadata.row_group(index)
            parts = (group.column(i) for i in range(group.num_columns))
            size = sum(part.total_uncompressed_size for part in parts if _is_of(part.path_in_schema, columns))
            found.append((path, index, group.num_rows, size))
    return found


def _is_of(path: str, columns: Sequence[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in columns)


def _spread(groups: list[tuple[str, int, int, int]]) -> list[tuple[str, int, int, int]]:
    """In an order whose every beginning is spread over all of them: steps of the golden ratio."""
    order = np.argsort(np.arange(len(groups)) * 0.6180339887498949 % 1.0, kind="stable")
    return [groups[i] for i in order]
