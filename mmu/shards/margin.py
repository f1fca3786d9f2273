"""The margin of a catalogue: for each partition, the rows just outside it, so that border pairs are found.

As in HATS the margin is a ring of fine pixels around the partition, a superset of the 10 arcsec asked for. Only
scalar columns are kept, read back from the shards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmu.schema.column import HEALPIX
from mmu.shards.parquet import rows_per_group, write_shard
from mmu.sky.halo import border, ring
from mmu.sky.healpix import MAX_ORDER
from mmu.sky.neighbours import neighbours
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

    Every shard is read once, in sky order; a margin is written as soon as the last partition around it was read, so
    only the margins of the moving front are in memory.

    Args:
        schema: the columns kept, `_healpix_29` and scalars.

    Returns:
        The partitions that have a margin, and the rows of all margins.
    """
    leaves, rows = list(partitions), 0
    group = rows_per_group(schema, sum(_width(field.type) for field in schema), None)
    complete = _complete_after(leaves)
    waiting: dict[int, list[pa.Table]] = defaultdict(list)
    written: list[Partition] = []
    for index in range(len(leaves)):
        for target, piece in _given(catalogue, leaves, index, schema.names):
            waiting[target].append(piece)
        for target in complete[index]:
            if pieces := waiting.pop(target, []):
                rows += write_shard(margin / "dataset" / leaves[target].path, pieces, schema, group)[0]
                written.append(leaves[target])
    _remove_others(margin / "dataset", written)
    return sorted(written, key=lambda leaf: leaf.span), rows


def _complete_after(leaves: list[Partition]) -> dict[int, list[int]]:
    """Partition -> the partitions whose margin is complete once it was read."""
    complete: dict[int, list[int]] = defaultdict(list)
    for target, leaf in enumerate(leaves):
        complete[max(target, int(locate(_quarters(ring(leaf, RING_ORDER)), leaves).max()))].append(target)
    return complete


def _given(catalogue: Path, leaves: list[Partition], source: int, columns: list[str]) -> Iterator[tuple[int, pa.Table]]:
    """The rows of one partition that lie in the rings of others: (the other, rows)."""
    along = border(leaves[source], RING_ORDER)
    with pq.ParquetFile(catalogue / "dataset" / leaves[source].path) as file:
        for group in range(file.num_row_groups):
            fine = file.read_row_group(group, columns=[HEALPIX.name]).column(0).to_numpy() >> _SHIFT
            edge = np.flatnonzero(np.isin(fine, along))
            if not len(edge):
                continue
            pixels, which = np.unique(fine[edge], return_inverse=True)
            around = np.concatenate([pixels[None], neighbours(RING_ORDER, pixels)]).T
            found = locate(_quarters(around), leaves).reshape(len(pixels), -1)
            table = None
            for target in np.unique(found[(found >= 0) & (found != source)]):
                table = table or file.read_row_group(group, columns=columns).select(columns)
                yield int(target), table.take(pa.array(edge[(found == target).any(axis=1)[which]]))


def _quarters(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The first order-29 pixel of each order-14 child: no partition is finer. Missing pixels stay negative."""
    return np.asarray((pixels[..., None] << _SHIFT) + (np.arange(4) << (_SHIFT - 2)))


def _width(kind: pa.DataType) -> int:
    return _BYTES_OF_TEXT if pa.types.is_string(kind) else max(1, kind.bit_width // 8)


def _remove_others(folder: Path, written: Sequence[Partition]) -> None:
    """Margin shards of an earlier build that this one no longer has, and what a kill left beside them."""
    kept = {folder / partition.path for partition in written}
    for path in folder.glob("Norder=*/Dir=*/Npix=*"):
        if path not in kept:
            path.unlink()
