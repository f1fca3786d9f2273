"""Open a dataset this package built, or any HATS catalogue of the same layout: rows, batches, arrays.

Only Parquet files and the catalogue's own small files are read; no survey needs to be installed. A dataset that is not
on this machine (`mmu.remote`) is read alike: of its shards, footers and what is asked for of columns and row groups.
"""

from __future__ import annotations

import builtins
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmu.decoding import Decoded, decode, first
from mmu.errors import FormatError, UsageError, unknown
from mmu.identity import IDS, as_text, id_of
from mmu.properties import is_release, properties_file, properties_in
from mmu.remote.listing import RemoteFolder
from mmu.remote.ranges import Place, parquet, size_of
from mmu.schema.column import HEALPIX
from mmu.schema.document import describe
from mmu.schema.plain import plain, plain_schema
from mmu.sky.healpix import MAX_ORDER
from mmu.sky.partition import Partition
from mmu.sky.region import Region, parse_region

Columns = Sequence[str] | str | None
_COVER_ORDER = 8


class Dataset:
    """One release: its columns, partitions and rows. Nothing is read before it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.properties = properties_in(properties_file(path))

    @property
    def release(self) -> str:
        return self.path.name

    @property
    def address(self) -> str:
        """Where it is, as it may be opened again."""
        return str(self.path)

    @property
    def folder(self) -> Path | RemoteFolder:
        """Its folder, small enough to be sent to a worker."""
        return self.path

    @cached_property
    def releases(self) -> list[str]:
        """All releases that stand beside this one."""
        return [child.name for child in sorted(self.path.resolve().parent.iterdir()) if is_release(child)]

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema of every shard; units and meanings are in the fields' metadata."""
        return plain_schema(pq.read_schema(self.path / "dataset" / "_common_metadata"))

    @property
    def columns(self) -> list[str]:
        return list(self.schema.names)

    @cached_property
    def keys(self) -> tuple[str, str, str]:
        """What the columns of ids and of positions are called, "" for ids that a catalogue of others does not have."""
        ra, dec = (self.properties.get(f"hats_col_{name}", name) for name in ("ra", "dec"))
        return id_of(self.columns, self.properties), ra, dec

    @cached_property
    def partitions(self) -> list[Partition]:
        """The sky partitions that hold records, in sky order."""
        listed = self.path / "partition_info.csv"
        if listed.is_file():
            pairs = [line.split(",")[:2] for line in listed.read_text(encoding="utf-8").split()[1:]]
        else:
            files = (self.path / "dataset").glob("Norder=*/Dir=*/Npix=*.parquet")
            pairs = [[path.parts[-3].removeprefix("Norder="), path.stem.removeprefix("Npix=")] for path in files]
        return sorted((Partition(int(order), int(pixel)) for order, pixel in pairs), key=lambda leaf: leaf.span)

    @cached_property
    def bytes(self) -> int:
        """Bytes of all shards."""
        return sum(size_of(file) for leaf in self.partitions for file in self.files(leaf))

    def sibling(self, release: str) -> Dataset:
        """Another release of the same dataset."""
        return Dataset(self.path.parent / release)

    @cached_property
    def account(self) -> dict[str, Any] | None:
        """What the ledger says of the whole build (`_mmu/build.json`), or match (`match.json`); None without one.

        Raises:
            FormatError: it cannot be read.
        """
        import json

        for name in ("_mmu/build.json", "_mmu/match.json"):
            if (data := self._small(name)) is not None:
                try:
                    return dict(json.loads(data))
                except (ValueError, TypeError) as problem:
                    raise FormatError(f"{self.address}/{name} cannot be read ({problem}).") from problem
        return None

    def _small(self, name: str) -> builtins.bytes | None:
        path = self.path / name
        return path.read_bytes() if path.is_file() else None

    @cached_property
    def ledger(self) -> pa.Table | None:
        """The ledger's account of every shard; None where there is none.

        Raises:
            FormatError: it cannot be read.
        """
        path = self.path / "_mmu" / "shards.parquet"
        try:
            return pq.read_table(path) if path.is_file() else None
        except (pa.ArrowException, OSError) as problem:
            raise FormatError(f"{self.address}/_mmu/shards.parquet cannot be read ({problem}).") from problem

    @cached_property
    def fingerprint(self) -> str:
        """Changes when its records do. From checksums in the ledger; without, from sizes and properties."""
        return self._of_ledger() or self._of_files()

    def _of_ledger(self) -> str:
        if self.ledger is None:
            return ""
        digest = hashlib.blake2b(digest_size=16)
        for row in self.ledger.select(["Norder", "Npix", "xxh3"]).to_pylist():
            digest.update(f"{row['Norder']}/{row['Npix']} {row['xxh3']}\n".encode())
        return digest.hexdigest()

    def _of_files(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for leaf in self.partitions:
            digest.update(f"{leaf} {sum(map(size_of, self.files(leaf)))}\n".encode())
        digest.update("\n".join(f"{k}={v}" for k, v in sorted(self.properties.items())).encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        return self._rows

    @cached_property
    def _rows(self) -> int:
        if "hats_nrows" in self.properties:
            return int(self.properties["hats_nrows"])
        return sum(pq.read_metadata(file).num_rows for leaf in self.partitions for file in self.files(leaf))

    def __repr__(self) -> str:
        parts = f"{len(self):,} objects, {len(self.columns)} columns, {len(self.partitions)} partitions"
        return f"<{self.release}: {parts}>"

    def shard(self, partition: Partition) -> Path:
        """The Parquet file of a partition, of a dataset on this machine."""
        return self.path / "dataset" / partition.path

    def files(self, partition: Partition) -> tuple[Place, ...]:
        """The Parquet file of a partition wherever it is; several, where others' catalogues have a folder of them.

        Raises:
            UsageError: it is missing.
        """
        path = self.shard(partition)
        found = (path,) if path.is_file() else tuple(sorted(path.with_suffix("").glob("*.parquet")))
        if not found:
            raise UsageError(f"{path} is missing: {self.path} is not whole; `mmu verify` says what is gone.")
        return found

    def describe(self) -> str:
        """One line per column: name, type, unit, meaning."""
        return describe(self.schema)

    def table(
        self,
        columns: Columns = None,
        region: Region | str | None = None,
        ids: Iterable[str] | None = None,
    ) -> pa.Table:
        """Rows as an Arrow table, in sky order.

        Args:
            columns: names, `struct.member` included; the scalar columns by default, "all" for everything.
            region: only rows inside, e.g. "cone:150.1,2.2,0.5"; partitions and row groups outside are not read.
            ids: only these objects.

        Raises:
            UsageError: an unknown column; an id that is not in the dataset.
        """
        names = self._names(columns)
        where = parse_region(region) if isinstance(region, str) else region
        wanted = None if ids is None else pa.array(sorted({str(name) for name in ids}), pa.string())
        pieces = list(self._pieces(names, where, wanted))
        table = pa.concat_tables(pieces) if pieces else self._empty(names)
        if wanted is not None and where is None:
            self._check_found(wanted, pieces)
        return table.select(_tops(names))

    def batches(self, columns: Columns = "all", batch_rows: int = 64) -> Iterator[dict[str, Decoded]]:
        """Decoded batches of at most `batch_rows` rows, in sky order; see `mmu.decode`."""
        names, kept = self._names(columns), pa.table({})
        for piece in self._pieces(names, None, None):  # a row group at a time: no more is fetched ahead
            piece = piece.select(_tops(names))
            kept = pa.concat_tables([kept, piece]) if len(kept) else piece
            while len(kept) >= batch_rows:
                yield decode(kept.slice(0, batch_rows))
                kept = kept.slice(batch_rows)
        if len(kept):
            yield decode(kept)

    def array(self, column: str) -> np.ndarray[Any, Any]:
        """All values of a column, or of a `struct.member`, as one array (ragged ones as an object array)."""
        top, _, member = column.partition(".")
        decoded = decode(self.table([column]))[top]
        return np.asarray(decoded[member]) if member else decoded

    def record(self, object_id: str) -> dict[str, Decoded]:
        """Everything known of one object, as NumPy values; pictures as pixels.

        Raises:
            UsageError: there is no such object.
        """
        decoded = decode(self.table("all", ids=[object_id]), pictures=True)
        record: dict[str, Decoded] = first(decoded)
        return record

    def cube(self, object_id: str, column: str | None = None) -> dict[str, np.ndarray[Any, Any]]:
        """The cube of one object, also where its spaxels are rows of their own; see `mmu.spaxels.assembled`.

        Args:
            column: the struct column with the arrays; `cube`, else `spectrum`, by default.

        Raises:
            UsageError: there is no such object or column, or the rows have no x and y.
        """
        from mmu.spaxels import assembled

        column = column or ("cube" if "cube" in self.columns else "spectrum")
        if not {"x", "y"} <= set(self.columns):
            if column != "cube":
                msg = f"{self.release} has no cubes: neither a column `cube`, nor rows that are spaxels, with x and y."
                raise UsageError(msg)
            whole: dict[str, np.ndarray[Any, Any]] = first(decode(self.table([column], ids=[object_id]))[column])
            return whole
        where = [name for name in ("x", "y", "width", "height", "coeff0", "coeff1") if name in self.columns]
        return assembled(self.table([*where, column], ids=[object_id]), column)

    def _names(self, columns: Columns) -> list[str]:
        if columns is None:
            return [field.name for field in self.schema if not pa.types.is_nested(field.type)]
        if isinstance(columns, str):
            columns = self.columns if columns == "all" else [columns]
        known = {*self.columns, *(f"{f.name}.{member.name}" for f in self.schema if _is_struct(f) for member in f.type)}
        for name in columns:
            if name not in known:
                raise unknown(f"column of {self.release}", name, known)
        return list(dict.fromkeys(columns))

    def _pieces(self, names: list[str], region: Region | None, ids: pa.Array | None) -> Iterator[pa.Table]:
        cover = None if region is None or region.whole else region.pixels(_COVER_ORDER)
        left = None if ids is None else set(ids.to_pylist())
        for leaf in self.partitions:
            if left is not None and not left:
                return
            if cover is not None and not _meets(cover, *leaf.span):
                continue
            for file, index in self._row_groups(leaf):
                if cover is not None and not _meets(cover, *_range(file, index)):
                    continue
                rows = self._rows_of(file, index, region, ids)
                if rows is None:
                    yield plain(file.read_row_group(index, columns=names))
                elif len(rows):
                    wanted = names if ids is None else [*names, self.keys[0]]
                    piece = plain(file.read_row_group(index, columns=wanted)).take(pa.array(rows))
                    if left is not None:
                        left -= set(self._ids(piece).to_pylist())
                    yield piece.select(_tops(wanted))

    def _row_groups(self, leaf: Partition) -> Iterator[tuple[pq.ParquetFile, int]]:
        for place in self.files(leaf):
            with parquet(place) as file:
                yield from ((file, index) for index in range(file.num_row_groups))

    def _rows_of(
        self, file: pq.ParquetFile, index: int, region: Region | None, ids: pa.Array | None
    ) -> np.ndarray[Any, Any] | None:
        """Which rows of a row group are wanted, read from the columns that tell; None for all."""
        if ids is None and (region is None or region.whole):
            return None
        name, ra, dec = self.keys
        keys = file.read_row_group(index, columns=[ra, dec] if ids is None else [name, ra, dec])
        keep = np.ones(len(keys), dtype=bool)
        if region is not None:
            keep &= region.contains(keys[ra].to_numpy(), keys[dec].to_numpy())
        if ids is not None:
            keep &= pc.is_in(self._ids(keys), value_set=ids).to_numpy()
        return np.flatnonzero(keep)

    @property
    def id_column(self) -> str:
        """What the column of ids is called.

        Raises:
            UsageError: there is none.
        """
        if not self.keys[0]:
            raise UsageError(f"{self.release} has no column of ids: none of {', '.join(IDS)}.")
        return self.keys[0]

    def ids(self, region: Region | str | None = None) -> list[str]:
        """The ids of all rows, or of those in a region, as text, in the order of the sky.

        Raises:
            UsageError: there is no column of ids.
        """
        return list(self._ids(self.table([self.id_column], region)).to_pylist())

    def _ids(self, piece: pa.Table) -> pa.ChunkedArray:
        """Ids as text."""
        name = self.id_column
        return piece[name] if piece[name].type == pa.string() else as_text(piece[name], self.release)

    def _empty(self, names: list[str]) -> pa.Table:
        return self.schema.empty_table().select(_tops(names))

    def _check_found(self, wanted: pa.Array, pieces: list[pa.Table]) -> None:
        found = {name for piece in pieces for name in self._ids(piece).to_pylist()}
        missing = [name for name in wanted.to_pylist() if name not in found]
        if missing:
            msg = f"{self.release} has no object {missing[0]!r} ({len(missing)} of {len(wanted)} ids were not found)."
            raise UsageError(msg)


def _is_struct(field: pa.Field) -> bool:
    return bool(pa.types.is_struct(field.type))


def _tops(names: list[str]) -> list[str]:
    return list(dict.fromkeys(name.partition(".")[0] for name in names))


def _meets(cover: np.ndarray[Any, Any], first: int, end: int) -> bool:
    """True if any pixel of the cover overlaps the order-29 pixels `first` to `end` - 1."""
    shift = 2 * (MAX_ORDER - _COVER_ORDER)
    return bool(np.searchsorted(cover, (end - 1) >> shift, side="right") > np.searchsorted(cover, first >> shift))


def _range(file: pq.ParquetFile, index: int) -> tuple[int, int]:
    """First and one-past-last `_healpix_29` of a row group."""
    group = file.metadata.row_group(index)
    columns = (group.column(number) for number in range(group.num_columns))
    statistics = next((column.statistics for column in columns if column.path_in_schema == HEALPIX.name), None)
    if statistics is None or not statistics.has_min_max:
        return Partition(0, 0).span[0], Partition(0, 11).span[1]
    return int(statistics.min), int(statistics.max) + 1
