"""A v1 tree opened as a dataset: the same verbs as one of ours, on files that stay as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmu.dataset import Columns as Asked
from mmu.dataset import Dataset
from mmu.decoding import Decoded, decode
from mmu.errors import UsageError
from mmu.schema.arrow import arrow_field
from mmu.schema.column import Schema
from mmu.sky.partition import Partition
from mmu.sky.region import Region
from mmu.v1.arrays import table_of_block
from mmu.v1.columns import Columns, columns_of
from mmu.v1.records import Records, Source, open_records
from mmu.v1.tree import ORDER, files_of, releases_in, root_of

PIECE_BYTES = 16 << 20
"""Of what is read at a time, or one record where it is larger."""

_NEAR_BYTES = 256 << 10
"""Records further apart are read one by one."""

_COVER_ORDER = 8


def open_v1(path: str | Path, release: str | None = None) -> V1Dataset:
    """Open a Multimodal Universe v1 tree: a folder of `healpix=P` folders, or the survey's folder above it.

    Raises:
        UsageError: there are several releases, or no such one.
        FormatError: the first file is damaged, or in none of v1's layouts.
    """
    return V1Dataset(root_of(path, release))


class V1Dataset(Dataset):
    """A v1 tree. Rows are in the order of pixels, files and records; see `mmu.v1.columns` for names and padding.

    The columns are those of the first file: another that lacks one is refused when it is read, what another has
    besides is not seen. A region is looked for in the folders of its pixels. No more than a piece of a file is in
    memory, but for what `table` returns.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.properties = path, {}
        self._files = files_of(path)
        self._rows_in: dict[Path, int] = {}

    @cached_property
    def releases(self) -> list[str]:
        """All trees that stand beside this one."""
        return [folder.name for folder in releases_in(self.path.resolve().parent)]

    @cached_property
    def layout(self) -> Columns:
        """What the columns are made of."""
        path = next(iter(self._files.values()))[0]
        with open_records(path) as records:
            return columns_of(records.facts(), str(path))

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema; units where the files say them, meanings and polarity where v1 does."""
        return pa.schema([arrow_field(column) for column in self.layout.schema])

    @property
    def left_out(self) -> dict[str, str]:
        """What the files hold and no column can: name -> why."""
        return dict(self.layout.left_out)

    @property
    def keys(self) -> tuple[str, str, str]:
        """As in every tree that is opened here."""
        return "object_id", "ra", "dec"

    @cached_property
    def partitions(self) -> list[Partition]:
        """The nside-16 pixels that have a folder."""
        return [Partition(ORDER, pixel) for pixel in self._files]

    @cached_property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for paths in self._files.values() for path in paths)

    @cached_property
    def _rows(self) -> int:
        return sum(self._count(path) for paths in self._files.values() for path in paths)

    def sibling(self, release: str) -> V1Dataset:
        return V1Dataset(self.path.parent / release)

    def files(self, partition: Partition) -> tuple[Path, ...]:
        """The files of a pixel, in the order of their names."""
        return tuple(self._files[partition.pixel])

    def _of_files(self) -> str:
        """From names, sizes and times."""
        digest = hashlib.blake2b(digest_size=16)
        for path in (path for leaf in self.partitions for path in self.files(leaf)):
            facts = path.stat()
            digest.update(f"{path.relative_to(self.path)} {facts.st_size} {facts.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def shard(self, partition: Partition) -> NoReturn:
        """There are no shards.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{self.path} is a tree of HDF5 files, without shards; `files` names those of a pixel.")

    def describe(self) -> str:
        """One line per column; at the end what the files hold that is no column."""
        lines = [f"{name:28} left out: {why}" for name, why in self.left_out.items()]
        return "\n".join([super().describe(), *lines])

    def pixel(self, partition: Partition, columns: Asked = None) -> pa.Table:
        """All rows of a pixel, in the order of its files."""
        names = self._names(columns)
        return pa.concat_tables([*self._of_pixel(partition, names), self._empty(names)])

    def batches(self, columns: Asked = "all", batch_rows: int = 64) -> Iterator[dict[str, Decoded]]:
        """Decoded batches of at most `batch_rows` rows; see `mmu.decode`."""
        names, waiting, rows = self._names(columns), list[pa.Table](), 0
        for leaf in self.partitions:
            for piece in self._of_pixel(leaf, names, batch_rows):
                if waiting and rows + len(piece) > batch_rows:
                    yield decode(pa.concat_tables(waiting))
                    waiting, rows = [], 0
                waiting.append(piece)
                rows += len(piece)
        if waiting:
            yield decode(pa.concat_tables(waiting))

    def of_file(self, path: Path, columns: Asked = None) -> pa.Table:
        """All records of a file."""
        names = self._names(columns)
        return pa.concat_tables([*self._read(path, names), self._empty(names)])

    @cached_property
    def exact_schema(self) -> Schema:
        """The columns with the shapes that all records have; every file is opened, and none of its values read."""
        found: dict[Source, tuple[int | None, ...]] = {}
        for path in (path for leaf in self.partitions for path in self.files(leaf)):
            with self._opened(path) as records:
                for shapes in records.shapes(self.layout.read):
                    found = {source: _common(found.get(source, new), new) for source, new in shapes.items()}
        return self.layout.shaped(found)

    @cached_property
    def bytes_per_row(self) -> int:
        """Bytes of a record, unpacked, in the first file."""
        with self._opened(next(iter(self._files.values()))[0]) as records:
            return records.width(self.layout.read)

    def rows_at(self, path: Path, rows: np.ndarray[Any, Any], columns: Asked = None) -> pa.Table:
        """Some records of a file, by their numbers in it, in that order."""
        names, order = self._names(columns), np.unique(rows)
        table = pa.concat_tables([*self._read(path, names, order), self._empty(names)])
        return table.take(pa.array(np.searchsorted(order, rows)))

    def _pieces(self, names: list[str], region: Region | None, ids: pa.Array | None) -> Iterator[pa.Table]:
        region = None if region is None or region.whole else region
        cover = None if region is None else set((region.pixels(_COVER_ORDER) >> 2 * (_COVER_ORDER - ORDER)).tolist())
        left = None if ids is None else set(ids.to_pylist())
        for leaf in self.partitions:
            if left is not None and not left:
                return
            if cover is None or leaf.pixel in cover:
                for piece in self._chosen(leaf, names if ids is None else [*names, "object_id"], region, ids):
                    if left is not None:
                        left -= set(piece["object_id"].to_pylist())
                    yield piece

    def _chosen(
        self, leaf: Partition, names: list[str], region: Region | None, ids: pa.Array | None
    ) -> Iterator[pa.Table]:
        """The rows of a pixel that are inside a region and have one of the ids."""
        if region is None and ids is None:
            yield from self._of_pixel(leaf, names)
            return
        telling = (["ra", "dec"] if region else []) + (["object_id"] if ids is not None else [])
        for path in self.files(leaf):
            keys = pa.concat_tables([*self._read(path, telling), self._empty(telling)])
            keep = np.ones(len(keys), dtype=bool)
            if region is not None:
                keep &= region.contains(keys["ra"].to_numpy(), keys["dec"].to_numpy())
            if ids is not None:
                keep &= pc.is_in(keys["object_id"], value_set=ids).to_numpy()
            if keep.any():
                yield from self._read(path, names, np.flatnonzero(keep))

    def _of_pixel(self, leaf: Partition, names: list[str], most_rows: int | None = None) -> Iterator[pa.Table]:
        for path in self.files(leaf):
            yield from self._read(path, names, most_rows=most_rows)

    def _read(
        self, path: Path, names: list[str], rows: np.ndarray[Any, Any] | None = None, most_rows: int | None = None
    ) -> Iterator[pa.Table]:
        """The records of a file, or those with the numbers `rows` (in order), a piece at a time."""
        columns = self.layout.choose(names)
        sources = columns.read or [self.layout.sources["ra"]]
        with self._opened(path) as records:
            width = records.width(sources)
            size = max(1, min(PIECE_BYTES // width, most_rows or records.rows))
            for first, stop in _stretches(records.rows if rows is None else rows, size, _NEAR_BYTES // width):
                at = first
                for block in records.blocks(sources, first, stop):
                    count = len(next(iter(block.values())))
                    table = table_of_block(columns, block, self._named(path, at, count), str(path))
                    if rows is not None:
                        table = table.take(pa.array(rows[(rows >= at) & (rows < at + count)] - at))
                    yield table
                    at += count

    @contextmanager
    def _opened(self, path: Path) -> Iterator[Records]:
        pair = (self.layout.sources["ra"][0], self.layout.sources["dec"][0])
        with open_records(path, pair) as records:
            self._rows_in[path] = records.rows
            yield records

    def _named(self, path: Path, first: int, count: int) -> pa.Array | None:
        """What records are called whose file has no id: their pixel, and their number in it."""
        if self.layout.sources["object_id"]:
            return None
        pixel = int(path.parent.name.removeprefix("healpix="))
        files = self._files[pixel]
        start = first + sum(self._count(one) for one in files[: files.index(path)])
        return pa.array([f"{ORDER}/{pixel}/{row}" for row in range(start, start + count)])

    def _count(self, path: Path) -> int:
        if path not in self._rows_in:
            with self._opened(path):
                pass
        return self._rows_in[path]


def _common(known: tuple[int | None, ...], new: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """The lengths of axes that are the same; of as many axes as the first record has."""
    return tuple(a if a == b else None for a, b in zip(known, (*new, *known[len(new) :]), strict=False))


def _stretches(rows: int | np.ndarray[Any, Any], size: int, near: int) -> Iterator[tuple[int, int]]:
    """First and one-past-last record of each piece to read: all there are, or runs that hold the ones wanted."""
    if isinstance(rows, int):
        yield from ((first, min(first + size, rows)) for first in range(0, rows, size))
        return
    first = last = int(rows[0]) if len(rows) else 0
    for row in rows[1:].tolist():
        if row - last > max(near, 1) or row - first >= size:
            yield first, last + 1
            first = row
        last = row
    if len(rows):
        yield first, last + 1
