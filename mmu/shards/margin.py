"""The margin of a catalogue: for each partition, the rows just outside it, so that border pairs are found.

As in HATS the margin is a ring of fine pixels around the partition, a superset of the 10 arcsec asked for. Only
scalar columns are kept, read back from the shards partition by partition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmu.schema.column import HEALPIX
from mmu.shards.parquet import rows_per_group, write_shard
from mmu.sky.healpix import MAX_ORDER, neighbours
from mmu.sky.partition import Partition, locate

THRESHOLD_ARCSEC = 10.0
RING_ORDER = 13
"""Pixels of this order are nowhere narrower than 16 arcsec, so one ring of them covers the threshold."""

_BYTES_OF_TEXT = 32
_SHIFT = 2 * (MAX_ORDER - RING_ORDER)


def write_margin(
    catalogue: Path, margin: Path, partitions: Sequence[Partition], schema: pa.Schema
) -> tuple[list[Partition], int]:
    """Write the margin shards of the catalogue's partitions (in sky order) into the folder `margin`.

    Args:
        schema: the columns kept, `_healpix_29` and scalars.

    Returns:
        The partitions that have a margin, and the rows of all margins.
    """
    leaves, written, rows = list(partitions), [], 0
    bytes_per_row = sum(_width(field.type) for field in schema)
    for target in leaves:
        pieces = list(_around(catalogue, leaves, target, schema.names))
        if pieces:
            group = rows_per_group(schema, bytes_per_row, None)
            rows += write_shard(margin / "dataset" / target.path, pieces, schema, group)[0]
            written.append(target)
    _remove_others(margin / "dataset", written)
    return written, rows


def ring(partition: Partition) -> np.ndarray[Any, Any]:
    """Order-13 pixels that touch the partition from outside, sorted.

    A partition finer than that lies inside one; then it is that pixel and its neighbours.
    """
    depth = RING_ORDER - partition.order
    if depth <= 0:
        parent = np.array([partition.pixel >> (-2 * depth)])
        around = np.concatenate([neighbours(RING_ORDER, parent).ravel(), parent if depth else parent[:0]])
        return np.unique(around[around >= 0])
    edge = np.arange(1 << depth, dtype=np.int64)
    low, high = np.zeros_like(edge), np.full_like(edge, (1 << depth) - 1)
    x, y = np.concatenate([low, high, edge, edge]), np.concatenate([edge, edge, low, high])
    border = (partition.pixel << (2 * depth)) + (_spread(x) | (_spread(y) << 1))
    around = np.unique(neighbours(RING_ORDER, np.unique(border)))
    return np.asarray(around[(around >= 0) & (around >> (2 * depth) != partition.pixel)])


def _around(catalogue: Path, leaves: list[Partition], target: Partition, columns: list[str]) -> Iterator[pa.Table]:
    """Rows of other partitions that lie in the target's ring."""
    pixels = ring(target)
    quarters = ((pixels[:, None] << _SHIFT) + (np.arange(4) << (_SHIFT - 2))).ravel()
    sources = np.unique(locate(quarters, leaves))
    for source in (leaves[index] for index in sources[sources >= 0]):
        if source == target:
            continue
        with pq.ParquetFile(catalogue / "dataset" / source.path) as file:
            for index in _row_groups(file, pixels):
                keys = _fine(file.read_row_group(index, columns=[HEALPIX.name]))
                near = np.flatnonzero(np.isin(keys, pixels))
                if len(near):
                    yield file.read_row_group(index, columns=columns).select(columns).take(pa.array(near))


def _row_groups(file: pq.ParquetFile, pixels: np.ndarray[Any, Any]) -> Iterator[int]:
    """Row groups whose range of `_healpix_29` holds any of the pixels."""
    column = file.schema_arrow.get_field_index(HEALPIX.name)
    for index in range(file.num_row_groups):
        statistics = file.metadata.row_group(index).column(column).statistics
        first, last = statistics.min >> _SHIFT, statistics.max >> _SHIFT
        if np.searchsorted(pixels, last, side="right") > np.searchsorted(pixels, first):
            yield index


def _fine(keys: pa.Table) -> np.ndarray[Any, Any]:
    return np.asarray(keys.column(0).to_numpy() >> _SHIFT)


def _spread(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Every bit moved to twice its place: half of a nested pixel number."""
    out = np.zeros_like(values)
    for bit in range(RING_ORDER):
        out |= ((values >> bit) & 1) << (2 * bit)
    return out


def _width(kind: pa.DataType) -> int:
    return _BYTES_OF_TEXT if pa.types.is_string(kind) else max(1, kind.bit_width // 8)


def _remove_others(folder: Path, written: Sequence[Partition]) -> None:
    """Margin shards of an earlier build that this one no longer has."""
    kept = {folder / partition.path for partition in written}
    for path in folder.glob("Norder=*/Dir=*/Npix=*.parquet"):
        if path not in kept:
            path.unlink()
