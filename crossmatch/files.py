"""Files that hold a table: Parquet, Arrow, FITS, CSV, ECSV and VOTable, opened so that only some columns are read."""

from __future__ import annotations

import csv
import gzip
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from crossmatch.frames import as_arrow, astropy_table
from crossmatch.places import Names
from crossmatch.roles import Choice, Given, has_positions
from mmu.errors import FormatError, MmuError
from mmu.remote.addresses import TABLES

if TYPE_CHECKING:
    from mmu.fits import FitsFile

_NULLS = ["", "null", "NULL", "nan", "NaN", "NA", "N/A", "--"]
_BLOCK = 16 << 20
_MOST_SAID = 160
_DEFECTS = (pa.ArrowException, OSError, EOFError, zlib.error, ValueError, TypeError, LookupError)


def opened(path: Path, choice: Choice) -> AbstractContextManager[Given]:
    """A file's table; of a FITS file, the first in which there are positions.

    Raises:
        FormatError: it is damaged, or not of the format its name says.
    """
    ending = next(ending for ending in TABLES if path.name.lower().endswith(ending))
    return _ours(path, _OPENERS[ending.removesuffix(".gz")], choice)


@contextmanager
def _ours(path: Path, opener: Callable[[Path, Choice], Any], choice: Choice) -> Iterator[Given]:
    """Errors of the libraries as one of ours, which names the file."""
    try:
        with opener(path, choice) as given:
            yield given
    except MmuError:
        raise
    except _DEFECTS as problem:
        said = "".join(letter if letter.isprintable() else " " for letter in str(problem))
        msg = f"{path} cannot be read as the table its name says ({' '.join(said.split())[:_MOST_SAID]})."
        raise FormatError(msg) from problem


@contextmanager
def _parquet(path: Path, choice: Choice) -> Iterator[Given]:
    with pq.ParquetFile(path, memory_map=True) as file:
        yield _of_schema(file.schema_arrow, lambda names: file.read(names.columns))


@contextmanager
def _arrow(path: Path, choice: Choice) -> Iterator[Given]:
    """Both forms of Arrow's own format: with a footer (Feather), and the stream that `datasets` caches."""

    def reader(included: list[int] | None = None) -> Any:
        options = pa.ipc.IpcReadOptions(included_fields=included)
        source.seek(0)
        return pa.ipc.open_file(source, options=options) if footer else pa.ipc.open_stream(source, options=options)

    with pa.memory_map(str(path)) as source:
        footer = source.read(6) == b"ARROW1"
        schema = reader().schema
        yield _of_schema(
            schema, lambda names: reader([schema.get_field_index(name) for name in names.columns]).read_all()
        )


def _of_schema(schema: pa.Schema, read: Callable[[Names], pa.Table]) -> Given:
    flat = [field for field in schema if not pa.types.is_nested(field.type)]
    units = {field.name: field.metadata[b"unit"].decode() for field in flat if b"unit" in (field.metadata or {})}
    listed = (schema.metadata or {}).get(b"table_meta_yaml")  # where Astropy keeps the units
    if listed:
        units |= _units(_described(listed.decode().splitlines()))
    return Given([field.name for field in flat], read, units)


@contextmanager
def _fits(path: Path, choice: Choice) -> Iterator[Given]:
    from mmu.fits import open_fits

    with open_fits(path) as file:
        tables = [number for number, hdu in enumerate(file.hdus) if hdu.text("XTENSION") == "BINTABLE"]
        if not tables:
            raise FormatError(f"{path} holds no binary table.")
        found = next((n for n in tables if has_positions(_fields(file, n), choice)), tables[0])
        hdu, columns = file.hdus[found], _fields(file, found)
        units = {name: hdu.text(f"TUNIT{number}").strip() for number, name in enumerate(columns, start=1)}
        yield Given(
            columns, lambda names: pa.table({name: _fits_column(file, found, name) for name in names.columns}), units
        )


def _fields(file: FitsFile, table: int) -> list[str]:
    return list(file.table(table).dtype.names or ())


def _fits_column(file: FitsFile, table: int, name: str) -> pa.Array:
    """A column with what the header says is missing marked so."""
    hdu, number = file.hdus[table], _fields(file, table).index(name) + 1
    values = file.columns(table, [name])[name]
    null = hdu.cards.get(f"TNULL{number}".encode())
    if null is None:
        return as_arrow(values, name)
    return as_arrow(np.ma.MaskedArray(values, file.column(table, name) == int(null.partition(b"/")[0])), name)


@contextmanager
def _csv(path: Path, choice: Choice, delimiter: str = ",") -> Iterator[Given]:
    """Comma-separated values, ECSV included: a header of `#` lines may tell units, and how columns are separated."""
    with _lines(path) as lines:
        comments, line = _header(lines)
    described = _described(comments) if comments and "%ECSV" in comments[0] else {}
    if described:
        delimiter = described.get("delimiter", " ")
    elif len(comments) == 1 and comments[0].count(delimiter) == line.count(delimiter) > 0:
        comments, line = [], comments[0].lstrip("# ")  # a database that marks the names themselves as a comment
    columns = [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
    read = arrow_csv.ReadOptions(skip_rows=len(comments) + 1, column_names=columns, block_size=_BLOCK)

    def table(names: Names) -> pa.Table:
        kinds = {name: pa.string() if name == names.id else pa.float64() for name in names.columns}
        convert = arrow_csv.ConvertOptions(
            column_types=kinds, include_columns=names.columns, null_values=_NULLS, strings_can_be_null=True
        )
        with pa.input_stream(str(path), compression="gzip" if path.suffix.lower() == ".gz" else None) as stream:
            return arrow_csv.read_csv(stream, read, arrow_csv.ParseOptions(delimiter=delimiter), convert)

    yield Given(columns, table, _units(described))


def _lines(path: Path) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="\n")
    return path.open("rt", encoding="utf-8-sig", errors="replace", newline="\n")


def _header(lines: IO[str]) -> tuple[list[str], str]:
    """The lines before the one that names the columns, and that one."""
    before: list[str] = []
    while (line := lines.readline(_BLOCK)) and (line.startswith("#") or not line.strip()):
        before.append(line.rstrip("\r\n"))
    return before, line.rstrip("\r\n")


def _described(comments: list[str]) -> dict[str, Any]:
    """What the header of an ECSV file says."""
    from astropy.table import meta

    plain = [line.removeprefix("#").removeprefix(" ") for line in comments if "%ECSV" not in line]
    try:
        return dict(meta.get_header_from_yaml(plain))
    except meta.YamlParseError as problem:
        raise ValueError("its header is not the YAML of ECSV") from problem


def _units(described: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: str(one["unit"]) for one in described.get("datatype", ()) if one.get("unit")}


@contextmanager
def _tsv(path: Path, choice: Choice) -> Iterator[Given]:
    with _csv(path, choice, "\t") as given:
        yield given


@contextmanager
def _votable(path: Path, choice: Choice) -> Iterator[Given]:
    """The first table of a VOTable, which is read whole."""
    from astropy.io import votable

    packed = path.suffix.lower() == ".gz"
    with warnings.catch_warnings(), gzip.open(path) if packed else path.open("rb") as file:
        warnings.simplefilter("ignore")  # what archives write is seldom quite to the standard
        table = votable.parse_single_table(file).to_table(use_names_over_ids=True)
    yield astropy_table(table)


_OPENERS: dict[str, Callable[[Path, Choice], AbstractContextManager[Given]]] = {
    **dict.fromkeys((".parquet", ".parq"), _parquet),
    **dict.fromkeys((".arrow", ".feather"), _arrow),
    **dict.fromkeys((".fits", ".fit"), _fits),
    **dict.fromkeys((".csv", ".ecsv"), _csv),
    ".tsv": _tsv,
    **dict.fromkeys((".vot", ".votable"), _votable),
}
