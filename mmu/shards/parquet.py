"""One shard: the records of one sky partition as one Parquet file, the same bytes for the same records.

Rows go by (`_healpix_29`, `object_id`); row groups are cut at fixed counts from the partition's start and hold what
one read should fetch (about 8 MB: decoded a third faster than 24 MB, as memory is used again). Memory is bounded by a
row group: the sources stay memory-mapped.

How the bytes are made was measured on sky-noise stamps (2 cores, 250 MB): zstd 3 with byte-stream-split floats, no
dictionary for floats and lists of numbers, statistics for scalars only, writes 1.5x faster and 16 % smaller than
the library's defaults with zstd 3.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from mmu.schema.column import HEALPIX
from mmu.sky.partition import Partition

ROW_GROUP_BYTES = 8 << 20
ROW_GROUP_ROWS = 100_000
PAGE_BYTES = 256 << 10
_LONG_RUN = 8 << 10
_BLOCK = 4 << 20


@dataclass(frozen=True)
class Shard:
    """A written shard: where it is, and what the ledger keeps to verify it.

    `objects` is the number of rows, unless objects have several.
    """

    partition: Partition
    rows: int
    bytes: int
    xxh3: str
    row_groups: int
    objects: int


def rows_per_group(schema: pa.Schema, bytes_per_row: int, fixed: int | None) -> int:
    """Rows of every row group but the last: about 8 MB of them, at least one; `fixed` wins."""
    if fixed is not None:
        return max(1, fixed)
    width = max(bytes_per_row, len(schema))
    return int(min(ROW_GROUP_ROWS, max(1, ROW_GROUP_BYTES // width)))


def write_shard(
    path: Path, tables: Sequence[pa.Table], schema: pa.Schema, rows_per_group: int
) -> tuple[int, int, str, int]:
    """Merge the tables into one shard at `path`: written beside it, synced to disk, then renamed.

    Args:
        tables: each with all columns of `schema`, rows in any order; best memory-mapped.
        rows_per_group: rows of every row group but the last.

    Returns:
        Rows, bytes, xxh3-128 of the file, row groups.

    Raises:
        ValueError: there are no rows; an empty shard is never written.
    """
    sources = [batch for table in tables for batch in table.select(schema.names).to_batches() if batch.num_rows]
    if not sources:
        msg = f"{path} would hold no rows; a partition without records has no file."
        raise ValueError(msg)
    order = _order(sources)
    gather = _Gather(sources, schema)
    starts = range(0, len(order), rows_per_group)
    return write_groups(path, (gather(order[start : start + rows_per_group]) for start in starts), schema)


def write_groups(path: Path, groups: Iterable[pa.Table], schema: pa.Schema) -> tuple[int, int, str, int]:
    """Write tables, one row group each, as one shard at `path`: beside it, synced to disk, then renamed.

    Returns:
        Rows, bytes, xxh3-128 of the file, row groups.
    """
    rows = count = 0
    with replacing(path, unique_name()) as unfinished, unfinished.open("wb") as raw:
        sink = _Hashed(raw)
        with pq.ParquetWriter(sink, schema, **writer_options(schema)) as writer:
            for group in groups:
                writer.write_table(group, row_group_size=len(group))
                rows, count = rows + len(group), count + 1
        sink.close()
    return rows, sink.written, sink.hash.hexdigest(), count


def checksum(path: Path) -> str:
    """xxh3-128 of a file's bytes, as `write_shard` returns it."""
    digest = xxhash.xxh3_128()
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def replacing(path: Path, tag: str = "") -> Iterator[Path]:
    """A name beside `path` to write to; on success synced to disk and renamed to `path`, else removed.

    With a `tag` of its own for every writer, one that outlived a killed run does not disturb the one that follows.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}{tag}.tmp")
    try:
        yield unfinished
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def unique_name() -> str:
    """A tag that no other writer has, on any machine."""
    return f".{secrets.token_hex(4)}"


def write_text(path: Path, text: str) -> None:
    """Write a small text file whole, or not at all."""
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


@lru_cache(maxsize=8)
def writer_options(schema: pa.Schema) -> dict[str, Any]:
    """How each leaf of the schema is encoded: a pure function of the schema."""
    buffer = io.BytesIO()
    pq.ParquetWriter(buffer, schema).close()
    parquet = pq.ParquetFile(buffer).schema
    leaves = [parquet.column(index) for index in range(len(parquet))]
    floats = [leaf.path for leaf in leaves if leaf.physical_type in ("FLOAT", "DOUBLE")]
    others = [leaf for leaf in leaves if not _encoded_picture(schema, leaf.path)]
    texts = [leaf.path for leaf in others if leaf.physical_type == "BYTE_ARRAY"]
    return {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": texts or False,
        "use_byte_stream_split": floats or False,
        "write_statistics": [leaf.path for leaf in others if leaf.max_repetition_level == 0],
        "write_page_index": True,
        "data_page_size": PAGE_BYTES,
    }


def _encoded_picture(schema: pa.Schema, path: str) -> bool:
    """True for the leaves of a picture column, whose bytes are compressed already and never repeat."""
    metadata = schema.field(path.split(".")[0]).metadata or {}
    return metadata.get(b"modality") == b"picture"


def _order(sources: list[pa.RecordBatch]) -> np.ndarray[Any, Any]:
    """The rows of all sources laid end to end, in the order they are written."""
    sky = np.concatenate([batch.column(HEALPIX.name).to_numpy() for batch in sources])
    if (np.diff(sky) > 0).all():
        return np.arange(len(sky))
    keys = pa.table(
        {
            "sky": pa.chunked_array([batch.column(HEALPIX.name) for batch in sources]),
            "id": pa.chunked_array([batch.column("object_id") for batch in sources]),
        }
    )
    return np.asarray(pc.sort_indices(keys, sort_keys=[("sky", "ascending"), ("id", "ascending")])).astype(np.int64)


class _Gather:
    """Rows of many record batches, in any order, as one contiguous table.

    Long runs (or wide rows) are sliced and concatenated, which is a copy of memory; short narrow ones are taken.
    """

    def __init__(self, sources: list[pa.RecordBatch], schema: pa.Schema) -> None:
        self.sources, self.schema = sources, schema
        self.starts = np.cumsum([0, *(batch.num_rows for batch in sources)])
        total = sum(batch.nbytes for batch in sources)
        self.bytes_per_row = max(1, total // int(self.starts[-1]))

    def __call__(self, rows: np.ndarray[Any, Any]) -> pa.Table:
        source = np.searchsorted(self.starts, rows, side="right") - 1
        breaks = np.flatnonzero((np.diff(rows) != 1) | (np.diff(source) != 0)) + 1
        edges = [0, *breaks.tolist(), len(rows)]
        if self.bytes_per_row * len(rows) >= _LONG_RUN * (len(edges) - 1):
            pieces = [
                self.sources[source[start]].slice(rows[start] - self.starts[source[start]], stop - start)
                for start, stop in pairwise(edges)
            ]
            return self._joined(pieces)
        by_source = np.argsort(source, kind="stable")
        pieces = []
        for index in np.unique(source):
            local = rows[by_source][source[by_source] == index] - self.starts[index]
            pieces.append(self.sources[index].take(pa.array(local)))
        back = np.empty_like(by_source)
        back[by_source] = np.arange(len(rows))
        joined = self._joined(pieces)
        return joined if len(pieces) == 1 else joined.take(pa.array(back)).combine_chunks()

    def _joined(self, pieces: list[pa.RecordBatch]) -> pa.Table:
        """One chunk per column whatever the pieces were, so that the file depends on the rows alone."""
        table = pa.Table.from_batches(pieces)
        columns = [
            pa.concat_arrays(column.chunks) if column.num_chunks != 1 else column.chunk(0) for column in table.columns
        ]
        return pa.Table.from_arrays(columns, schema=self.schema)


class _Hashed(io.RawIOBase):
    """A file that keeps the hash and the length of what is written to it."""

    def __init__(self, file: io.BufferedWriter) -> None:
        self.file, self.hash, self.written = file, xxhash.xxh3_128(), 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.written

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self.hash.update(view)
        self.file.write(view)
        self.written += view.nbytes
        return view.nbytes
