"""The Multimodal Universe v1 layout: HDF5 files per nside-16 pixel, made in a second pass over finished shards.

    <survey>/hdf5/<release>/healpix=P/001-of-001.hdf5     (k-of-n above `max_bytes`)

Names, dtypes and padding come from the release's `hdf5` map; rows are in shard order; row groups are streamed, so a
pixel is never in memory. Added to v1: `units`, `mask_polarity` and `schema_version` attributes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmu.dataset import Dataset
from mmu.decoding import decode, first
from mmu.errors import FormatError
from mmu.schema.column import HEALPIX, Column
from mmu.shards.parquet import replacing
from mmu.sky.healpix import MAX_ORDER
from mmu.sky.partition import Partition
from mmu.survey import Hdf5Column, Release, Survey

PIXEL_ORDER = 4
SCHEMA_VERSION = "1"
_CHUNKED_BYTES = 4096
_SHIFT = 2 * (MAX_ORDER - PIXEL_ORDER)

Block = dict[str, np.ndarray[Any, Any]]


def write_hdf5(root: Path, survey: Survey, release: Release, max_bytes: int = 20_000_000_000) -> list[Path]:
    """Write a release as v1 HDF5 files below `root`/hdf5; returns them in pixel order.

    Raises:
        FormatError: a value does not fit the map: a text too long, a shape that differs between records.
    """
    import h5py

    dataset, folder = Dataset(root / release.name), root / "hdf5" / release.name
    layout = _layout(release)
    written: list[Path] = []
    for pixel, (rows, leaves) in sorted(_pixels(dataset).items()):
        if release.hdf5_groups:
            written += _write_groups(folder, dataset, survey, release, pixel, rows, leaves, max_bytes)
            continue
        stream = _Stream(_blocks(dataset, leaves, pixel, layout))
        parts = max(1, min(rows, math.ceil(rows * stream.row_bytes / max_bytes)))
        for part, size in enumerate(_sizes(rows, parts), start=1):
            path = folder / f"healpix={pixel}" / f"{part:03d}-of-{parts:03d}.hdf5"
            with replacing(path) as unfinished, h5py.File(unfinished, "w") as file:
                file.attrs.update({"schema_version": SCHEMA_VERSION, "survey": survey.name, "release": release.name})
                _fill(file, stream, size, _facts(release, layout))
            written.append(path)
    for path in set(folder.glob("healpix=*/*")) - set(written):
        path.unlink()
    return written


def _write_groups(
    folder: Path,
    dataset: Dataset,
    survey: Survey,
    release: Release,
    pixel: int,
    rows: int,
    leaves: list[Partition],
    most: int,
) -> list[Path]:
    """The files of one pixel where v1 has a group a record; a record is in memory at a time."""
    import h5py

    parts = max(1, min(rows, math.ceil(rows * release.bytes_per_row / most)))
    records, written = _records(dataset, leaves, pixel), []
    for part, size in enumerate(_sizes(rows, parts), start=1):
        path = folder / f"healpix={pixel}" / f"{part:03d}-of-{parts:03d}.hdf5"
        with replacing(path) as unfinished, h5py.File(unfinished, "w") as file:
            file.attrs.update({"schema_version": SCHEMA_VERSION, "survey": survey.name, "release": release.name})
            for record in islice(records, size):
                group = file.create_group(record["object_id"], track_order=True)
                survey.hdf5_groups.write_group(group, record | {"healpix": pixel})
        written.append(path)
    return written


def _records(dataset: Dataset, leaves: list[Partition], pixel: int) -> Iterator[dict[str, Any]]:
    """The pixel's rows, one by one, decoded."""
    for leaf in leaves:
        with pq.ParquetFile(dataset.shard(leaf)) as file:
            for batch in file.iter_batches(1):
                if batch.column(HEALPIX.name)[0].as_py() >> _SHIFT == pixel:
                    yield first(decode(batch, pictures=True))


def _layout(release: Release) -> list[Hdf5Column]:
    """The release's map, with `object_id` and `healpix` if it lacks them."""
    names = {column.name for column in release.hdf5}
    extra = [] if "object_id" in names else [Hdf5Column("object_id", "object_id", "S32")]
    if "healpix" not in names:
        extra.append(Hdf5Column("healpix", HEALPIX.name, "i8"))
    return [*release.hdf5, *extra]


def _facts(release: Release, layout: list[Hdf5Column]) -> dict[str, Column]:
    """The declared column behind each dataset."""
    found = {}
    for entry in layout:
        top, _, member = entry.source.partition(".")
        column = HEALPIX if top == HEALPIX.name else release.schema[top]
        found[entry.name] = next((m for m in column.members if m.name == member), column)
    return found


def _pixels(dataset: Dataset) -> dict[int, tuple[int, list[Partition]]]:
    """Rows and partitions of every nside-16 pixel that holds any."""
    rows: dict[int, int] = defaultdict(int)
    leaves: dict[int, list[Partition]] = defaultdict(list)
    for leaf in dataset.partitions:
        keys = pq.read_table(dataset.shard(leaf), columns=[HEALPIX.name]).column(0).to_numpy() >> _SHIFT
        for pixel, count in zip(*np.unique(keys, return_counts=True), strict=True):
            rows[int(pixel)] += int(count)
            leaves[int(pixel)].append(leaf)
    return {pixel: (rows[pixel], leaves[pixel]) for pixel in rows}


def _sizes(rows: int, parts: int) -> list[int]:
    return [rows // parts + (part < rows % parts) for part in range(parts)]


def _blocks(dataset: Dataset, leaves: list[Partition], pixel: int, layout: list[Hdf5Column]) -> Iterator[Block]:
    """The pixel's rows, one row group at a time."""
    names = list(dict.fromkeys([HEALPIX.name, *(name for column in layout for name in (column.source, *column.stack))]))
    for leaf in leaves:
        with pq.ParquetFile(dataset.shard(leaf)) as file:
            for index in range(file.num_row_groups):
                keys = file.read_row_group(index, columns=[HEALPIX.name]).column(0).to_numpy() >> _SHIFT
                here = np.flatnonzero(keys == pixel)
                if len(here):
                    table = file.read_row_group(index, columns=names)
                    first, last = int(here[0]), int(here[-1])
                    yield _block(table.slice(first, last - first + 1), pixel, layout)


def _block(table: pa.Table, pixel: int, layout: list[Hdf5Column]) -> Block:
    decoded = decode(table, pictures=True)
    block = {}
    for column in layout:
        if column.source == HEALPIX.name:
            block[column.name] = np.full(len(table), pixel, dtype=column.dtype)
            continue
        top, _, member = column.source.partition(".")
        values = decoded[top][member] if member else decoded[top]
        if column.stack:
            values = np.stack([values, *(decoded[name] for name in column.stack)], axis=1)
        block[column.name] = _value(column, values)
    return block


def _value(column: Hdf5Column, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A column's values as the dataset holds them: one entry taken, or padded, in the dataset's dtype."""
    if column.index is not None:
        regular = values.dtype != object
        values = values[:, column.index] if regular else _stacked(column, [row[column.index] for row in values])
    elif column.length is not None:
        values = _padded(column, values)
    if isinstance(values, np.ma.MaskedArray):
        values = values.filled(column.fill)
    if values.dtype == object and column.dtype.startswith("S"):
        return _texts(column, values)
    if values.dtype == object:
        values = _stacked(column, list(values))
    return values.astype(column.dtype, copy=False)


def _stacked(column: Hdf5Column, rows: list[Any]) -> np.ndarray[Any, Any]:
    shapes = {np.shape(row) for row in rows}
    if len(shapes) > 1 or any(row is None for row in rows):
        msg = f"HDF5 dataset {column.name!r}: shapes of {column.source!r} differ ({sorted(shapes)}); give a `length`."
        raise FormatError(msg)
    return np.stack(rows)


def _padded(column: Hdf5Column, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    length = column.length or 0
    longest = max((len(row) for row in values), default=0)
    if longest > length:
        msg = f"HDF5 dataset {column.name!r}: {column.source!r} holds {longest} entries, {length} are allowed."
        raise FormatError(msg)
    text = column.dtype.startswith("S")
    inner = next((np.shape(row)[1:] for row in values if len(row)), ())
    out: np.ndarray[Any, Any] = np.full(
        (len(values), length, *inner), "" if text else column.fill, dtype=object if text else column.dtype
    )
    for index, row in enumerate(values):
        if len(row):
            out[index, : len(row)] = row
    return out


def _texts(column: Hdf5Column, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    encoded = np.array([("" if text is None else text).encode() for text in values.ravel()], dtype=bytes)
    wanted = np.dtype(column.dtype)
    if encoded.dtype.itemsize > wanted.itemsize:
        longest = max(encoded.ravel(), key=len).decode()
        msg = f"HDF5 dataset {column.name!r}: the text {longest!r} is longer than {wanted.itemsize} bytes."
        raise FormatError(msg)
    return encoded.astype(wanted).reshape(values.shape)


class _Stream:
    """Blocks, given out in pieces of any size; the first is looked at beforehand."""

    def __init__(self, blocks: Iterator[Block]) -> None:
        self.blocks, self.used = blocks, 0
        self.block = next(blocks)
        self.row_bytes = sum(values[:1].nbytes for values in self.block.values())

    def take(self, most: int) -> Block:
        """The next rows: at least one, at most `most`, of one block."""
        size = len(next(iter(self.block.values())))
        if self.used == size:
            self.block, self.used = next(self.blocks), 0
        piece = {name: values[self.used : self.used + most] for name, values in self.block.items()}
        self.used += len(next(iter(piece.values())))
        return piece


def _fill(file: Any, stream: _Stream, size: int, facts: dict[str, Column]) -> None:
    """Fill one file with the next `size` rows."""
    filled = 0
    while filled < size:
        piece = stream.take(size - filled)
        count = len(next(iter(piece.values())))
        for name, values in piece.items():
            dataset = file[name] if name in file else _create(file, name, values, size, facts[name])
            if dataset.shape[1:] != values.shape[1:]:
                msg = f"HDF5 dataset {name!r}: shape {values.shape[1:]} after {dataset.shape[1:]}; give a `length`."
                raise FormatError(msg)
            dataset[filled : filled + count] = values
        filled += count


def _create(file: Any, name: str, values: np.ndarray[Any, Any], rows: int, column: Column) -> Any:
    """A dataset of `rows` records: one chunk per object where objects are arrays, flags and pictures compressed."""
    chunked = values[:1].nbytes >= _CHUNKED_BYTES
    options: dict[str, Any] = {"chunks": (1, *values.shape[1:])} if chunked else {}
    if chunked and values.dtype.itemsize == 1:
        options["compression"] = "lzf"
    dataset = file.create_dataset(name, (rows, *values.shape[1:]), dtype=values.dtype, **options)
    if column.unit:
        dataset.attrs["units"] = column.unit
    if column.polarity:
        dataset.attrs["mask_polarity"] = column.polarity
    return dataset
