"""One range's sources and XP spectra -> records. Rows are matched by source_id, never by their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.io import fits
from numpy.typing import NDArray

from mmu.errors import FormatError
from mmu.rows import missing, positions
from mmu.schema import Column, table_of
from mmu.survey import Paths, Records, Release
from surveys.gaia import BANDS, BASES, CORRELATIONS
from surveys.gaia.archive import files
from surveys.gaia.columns import SOURCE
from surveys.gaia.ecsv import AGAIN, parse_arrays, read_blocks

ARRAYS = {"coefficients": BASES, "coefficient_errors": BASES, "coefficient_correlations": CORRELATIONS}
NUMBERS = {"n_relevant_bases": "int16", "standard_deviation": "float32"}
XP_TYPES = {
    "source_id": "int64",
    **{f"{band}_{name}": "string" for band in BANDS for name in ARRAYS},
    **{f"{band}_{name}": kind for band in BANDS for name, kind in NUMBERS.items()},
}
SOURCE_TYPES = {column.name: column.dtype for column in SOURCE}

Ids = NDArray[np.int64]


def read(release: Release, unit: str, paths: Paths, rows: pa.Table) -> Records:
    """Records of one range of cells."""
    source, xp = (paths[file.path] for file in files(release, unit))
    wanted = rows["object_id"].to_numpy(zero_copy_only=False).astype(np.str_).astype(np.int64)
    sources, spectra = read_sources(source, wanted), read_xp(xp, wanted)
    excluded = missing(wanted, sources["source_id"].to_numpy(), "source") | missing(
        wanted, spectra["source_id"].to_numpy(), "XP"
    )
    target = np.sort(wanted[[str(one) not in excluded for one in wanted.tolist()]])
    sources, spectra = _aligned(sources, target), _aligned(spectra, target)
    found = {name: sources[name] for name in sources.column_names} | {
        name: spectra[name] for name in spectra.column_names
    }
    values: dict[str, Any] = {name: _filled(release.schema[name], column) for name, column in found.items()}
    values["object_id"] = target.astype(np.str_)
    return Records(table_of(release.schema, values), excluded)


def read_sources(path: Path, wanted: Ids | None = None) -> pa.Table:
    """gaia_source's columns of the sources wanted (all by default), with nulls as the archive has them."""
    blocks = [_only(block, wanted) for block in read_blocks(path, SOURCE_TYPES)]
    empty = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in SOURCE_TYPES.items()]).empty_table()
    return pa.concat_tables([empty, *blocks])


def read_xp(path: Path, wanted: Ids | None = None) -> pa.Table:
    """The XP columns of our records, from the archive's CSV or FITS form, for the sources wanted (all by default).

    `coeff` and `coeff_error` (110,), the correlations (1485,), all float32 with NaN where a band is missing.

    Raises:
        FormatError: a column is missing, or an array has another length than the data model's.
    """
    tables = iter([_from_fits(path)]) if path.name.endswith((".fits", ".fits.gz")) else read_blocks(path, XP_TYPES)
    try:
        blocks = [xp_columns(_only(table, wanted)) for table in tables]
    except FormatError as problem:
        if path.name in str(problem):
            raise
        msg = f"{path.name}: {problem}"
        raise FormatError(msg) from problem
    return pa.concat_tables(blocks or [xp_columns(_schema(XP_TYPES).empty_table())])


def xp_columns(table: pa.Table) -> pa.Table:
    """The archive's XP columns (arrays as text or lists) -> our columns."""
    parts: dict[str, NDArray[np.float32]] = {
        f"{band}_{name}": _arrays(table[f"{band}_{name}"], length) for band in BANDS for name, length in ARRAYS.items()
    }
    joined = {
        "coeff": np.concatenate([parts[f"{band}_coefficients"] for band in BANDS], axis=1),
        "coeff_error": np.concatenate([parts[f"{band}_coefficient_errors"] for band in BANDS], axis=1),
        **{f"{band}_coefficient_correlations": parts[f"{band}_coefficient_correlations"] for band in BANDS},
    }
    lists = {
        name: pa.FixedSizeListArray.from_arrays(values.reshape(-1), values.shape[1]) for name, values in joined.items()
    }
    plain = {name: table[name] for name in ("source_id", *(f"{band}_{name}" for name in NUMBERS for band in BANDS))}
    return pa.table({**plain, **lists})


def _schema(types: dict[str, str]) -> pa.Schema:
    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in types.items()])


def _arrays(cells: pa.ChunkedArray, length: int) -> NDArray[np.float32]:
    if pa.types.is_string(cells.type):
        return parse_arrays(cells, length)
    lists = cells.combine_chunks()
    counts = np.diff(lists.offsets.to_numpy())
    if not np.isin(counts, (0, length)).all():
        raise FormatError(
            f"An array column has cells of {sorted(set(counts.tolist()))[:5]} numbers, not {length}; {AGAIN}."
        )
    out = np.full((len(counts), length), np.nan, dtype=np.float32)
    out[counts > 0] = lists.flatten().to_numpy().reshape(-1, length)
    return out


def _from_fits(path: Path) -> pa.Table:
    """The FITS form: arrays of variable length, empty where a band is missing; a missing count is the least int16."""
    try:
        with fits.open(path, memmap=False) as hdus:
            data = hdus[1].data
            return pa.table({name: _fits_column(data[name], kind) for name, kind in XP_TYPES.items()})
    except (OSError, IndexError, KeyError, TypeError, ValueError) as problem:
        msg = f"{path.name}: not a FITS table of XP spectra ({problem}); {AGAIN}."
        raise FormatError(msg) from problem


def _fits_column(values: Any, kind: str) -> pa.Array:
    if kind == "string":
        rows = [np.asarray(row, dtype=np.float32) for row in values]
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate([*rows, np.empty(0, np.float32)])))
    native = np.asarray(values).astype(np.dtype(kind))
    missing = native == np.iinfo(np.int16).min if kind == "int16" else np.zeros(len(native), dtype=bool)
    return pa.array(native, mask=missing)


def _only(table: pa.Table, wanted: Ids | None) -> pa.Table:
    if wanted is None:
        return table
    return table.filter(pa.array(np.isin(table["source_id"].to_numpy(), wanted)))


def _aligned(table: pa.Table, target: Ids) -> pa.Table:
    """The rows of the targets, which are sorted, distinct and all there."""
    return table.take(pa.array(positions(target, table["source_id"].to_numpy())))


def _filled(column: Column, values: pa.ChunkedArray) -> Any:
    """Missing numbers become NaN; lists become arrays; the rest stays as it is, nulls included."""
    if column.shape:
        return values.combine_chunks().flatten().to_numpy().reshape(-1, *column.shape)
    if column.dtype in ("float32", "float64"):
        return values.to_numpy()
    if values.null_count and not column.nullable:
        raise FormatError(
            f"Column {column.name} has {values.null_count} missing values, which the data model excludes; {AGAIN}."
        )
    return values
