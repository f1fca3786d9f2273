"""Partitions of a catalogue, read for a part of the sky: only the row groups that it or its surroundings need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import pyarrow as pa

from crossmatch.matcher import Rows
from crossmatch.places import SKY, Names, as_places, covered, empty, in_sky_order
from crossmatch.row_groups import BORDERS, KEPT
from mmu.errors import FormatError, MmuError
from mmu.remote.ranges import Place, parquet, version_of
from mmu.sky.halo import Cover
from mmu.sky.partition import Partition

_LARGE_GROUP = 10_000
"""Rows from which on a row group is kept for the parts of the sky that come next."""

_ANYWHERE = (0, np.iinfo(np.int64).max)


@dataclass(frozen=True)
class FilesPart:
    """Some partitions of a catalogue, on disk or at an address: one or more Parquet files each."""

    names: Names
    files: tuple[tuple[Partition, tuple[Place, ...]], ...]

    def places(self, cover: Cover) -> pa.Table:
        """The records in a cover; row groups outside it are not read.

        Raises:
            FormatError: a file cannot be read, or has not the columns it should.
            UsageError: a record has no position.
        """
        tables = [table for partition, paths in self.files for table in self._of_partition(partition, paths, cover)]
        return in_sky_order(pa.concat_tables(tables).combine_chunks()) if tables else empty(self.names)

    def _of_partition(self, partition: Partition, paths: tuple[Place, ...], cover: Cover) -> Iterator[pa.Table]:
        start = 0
        for path in paths:
            try:
                file = PartitionFile(path, self.names, partition, start)
                yield from (covered(places, cover) for places in file.row_groups(cover))
            except MmuError:
                raise
            except (pa.ArrowException, OSError, KeyError) as problem:
                columns = ", ".join(self.names.columns)
                msg = f"{path} cannot be read ({problem}); expected a Parquet file with {columns}."
                raise FormatError(msg) from problem
            start += int(file.layout.sizes.sum())


@dataclass(frozen=True)
class Layout:
    """The row groups of a file: rows, and first and last order-29 pixel, of each; those of all the sky if not known."""

    sizes: Rows
    low: Rows
    high: Rows


class PartitionFile:
    """A file of a partition, whose rows are those from `start` on; its row groups as tables of places."""

    def __init__(self, path: Place, names: Names, partition: Partition, start: int) -> None:
        self.path, self.names, self.partition, self.start = path, names, partition, start
        self.version = version_of(path)
        self.layout = (_layout if self.version is None else _known_layout)(path, names.healpix, self.version)

    def row_groups(self, cover: Cover) -> Iterator[pa.Table]:
        """Those that may hold records in a cover: large ones are kept for the next parts, small ones read together."""
        layout, (low, high) = self.layout, cover.partition.span
        groups = np.flatnonzero(cover.meets(layout.low, layout.high)).tolist()
        small = [group for group in groups if self.version is None or layout.sizes[group] < _LARGE_GROUP]
        for group in [group for group in groups if group not in small]:
            stamp = (str(self.path), self.version, group, self.start, self.names)
            whole = partial(KEPT.get, stamp, partial(self._decode, [group]))
            if not cover.thin:
                yield whole()
                continue
            ring = BORDERS.get((*stamp, cover.radius_arcsec, cover.orders), partial(_rings, whole, cover))
            yield whole() if layout.low[group] < high and layout.high[group] >= low else ring
        if small:
            yield self._decode(small)

    def _decode(self, groups: list[int]) -> pa.Table:
        with parquet(self.path) as file:
            table = file.read_row_groups(groups, columns=self.names.columns, use_threads=False)
        ends = self.start + np.cumsum(self.layout.sizes)
        rows = np.concatenate([np.arange(ends[group] - self.layout.sizes[group], ends[group]) for group in groups])
        return as_places(table, self.names, str(self.path), rows, self.partition)


def _rings(whole: Callable[[], pa.Table], cover: Cover) -> pa.Table:
    """What the surroundings of any part of the sky may need; a copy, that does not hold on to the others."""
    places = whole()
    return places.filter(pa.array(cover.along_borders(places[SKY].to_numpy()))).combine_chunks()


def _layout(path: Place, column: str, version: object) -> Layout:
    with parquet(path) as file:
        metadata, schema = file.metadata, file.schema
        index = file.schema_arrow.get_field_index(column) if column else -1
    leaf = next((n for n in range(len(schema)) if schema.column(n).path == column), -1) if index >= 0 else -1
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    known = [group.column(leaf).statistics if leaf >= 0 else None for group in groups]
    ends = [(facts.min, facts.max) if facts is not None and facts.has_min_max else _ANYWHERE for facts in known]
    low, high = np.array(ends, dtype=np.int64).reshape(-1, 2).T
    return Layout(np.array([group.num_rows for group in groups], dtype=np.int64), low, high)


_known_layout = lru_cache(maxsize=4096)(_layout)
