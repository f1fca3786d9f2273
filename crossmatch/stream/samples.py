"""What a stream goes over: objects, and for each dataset the place of its record; a few bytes an object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmu.dataset import Dataset
from mmu.errors import FormatError
from mmu.remote.ranges import Place
from mmu.schema.column import HEALPIX
from mmu.sky.partition import Partition

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """One dataset of a stream: where its rows are.

    Attributes:
        name: its key in a batch.
        files: of each partition, in the order of the sky.
        schema: of its shards.
        prefix: what its columns begin with, in a dataset of pairs.
        id: its column of ids; "" if it has none. So are `sky`, of order-29 pixels, `ra` and `dec`.
        fingerprint: changes when its rows do; "" where that is not known.
    """

    name: str
    partitions: tuple[Partition, ...]
    files: tuple[tuple[Place, ...], ...]
    schema: pa.Schema
    prefix: str = ""
    id: str = "object_id"
    fingerprint: str = ""
    sky: str = HEALPIX.name
    ra: str = "ra"
    dec: str = "dec"


@dataclass(frozen=True)
class Samples:
    """Objects in the order of the sky.

    Attributes:
        sides: the datasets, S of them.
        sky: order-29 HEALPix pixels of the objects, (N,).
        leaf: the partition of each dataset's record, (S, N); -1 where it has none.
        row: its row there, (S, N).
        separation: arcsec from the object, (S, N); NaN where there is none.
    """

    sides: tuple[Side, ...]
    sky: Rows
    leaf: NDArray[np.int32]
    row: Rows
    separation: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.sky)

    @property
    def present(self) -> NDArray[np.bool_]:
        """True where a dataset has the object, (S, N)."""
        return np.asarray(self.leaf >= 0)

    def take(self, rows: Rows | NDArray[np.bool_]) -> Samples:
        """Some of the objects."""
        return replace(
            self,
            sky=self.sky[rows],
            leaf=self.leaf[:, rows],
            row=self.row[:, rows],
            separation=self.separation[:, rows],
        )


def side_of(name: str, dataset: Dataset, prefix: str = "", fingerprint: str = "") -> Side:
    """A dataset on disk as a side."""
    files = tuple(dataset.files(leaf) for leaf in dataset.partitions)
    return Side(name, tuple(dataset.partitions), files, dataset.schema, prefix, "object_id", fingerprint)


def referenced(sides: Sequence[Side], table: pa.Table, sky: str) -> Samples:
    """Samples from the rows of an association: columns NAME_order, NAME_pixel, NAME_row, NAME_sep_arcsec."""
    count = len(table)
    leaf, row = np.full((len(sides), count), -1, np.int32), np.full((len(sides), count), -1, np.int64)
    separation = np.zeros((len(sides), count), np.float32)
    for index, side in enumerate(sides):
        order, pixel, row[index] = (_integers(table[f"{side.name}_{part}"]) for part in ("order", "pixel", "row"))
        leaf[index] = _which(side, order, pixel)
        if f"{side.name}_sep_arcsec" in table.column_names:
            separation[index] = table[f"{side.name}_sep_arcsec"].to_numpy()
        separation[index, row[index] < 0] = np.nan
    return Samples(tuple(sides), table[sky].to_numpy(), leaf, row, separation)


def _which(side: Side, order: Rows, pixel: Rows) -> NDArray[np.int32]:
    """Numbers of partitions among those of a side; -1 for order -1."""
    keys = np.array([(4 << 2 * leaf.order) + leaf.pixel for leaf in side.partitions] or [0], dtype=np.int64)
    by_key = np.argsort(keys)
    wanted = (4 << 2 * np.maximum(order, 0)) + pixel
    at = np.minimum(np.searchsorted(keys[by_key], wanted), len(keys) - 1)
    found = np.where(order < 0, -1, by_key[at])
    if (order >= 0).any() and not (keys[by_key[at]] == wanted)[order >= 0].all():
        raise FormatError(f"{side.name} has not the partitions it was matched with; make the match anew.")
    return found.astype(np.int32)


def _integers(column: pa.ChunkedArray) -> Rows:
    """Numbers as int64, -1 where there is none."""
    return np.asarray(column.fill_null(-1).to_numpy(), dtype=np.int64)


def rows_of(side: Side, sizes: Sequence[int], sky: Sequence[Any]) -> Samples:
    """Every row of one dataset; `sky` has the order-29 pixels of each partition's rows."""
    leaf = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    row = np.concatenate([np.arange(size) for size in sizes] or [np.empty(0, np.int64)])
    keys = np.concatenate([*sky, np.empty(0, np.int64)]).astype(np.int64)
    return Samples((side,), keys, leaf[None], row[None], np.zeros((1, len(row)), np.float32))
