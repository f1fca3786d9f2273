"""Tables in memory, of whichever library: Arrow, pandas, Astropy, NumPy, a mapping of arrays, or sky coordinates."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from crossmatch.places import Names
from crossmatch.roles import Given
from mmu.errors import UsageError

ALLOWED = (
    "an Arrow table or record batch, a pandas DataFrame, an Astropy Table, QTable or SkyCoord, a NumPy structured "
    "array, a mapping of names to arrays, a dataset, or an address"
)
_HINT = "call the ones meant ra, dec and object_id"


def given(table: Any, name: str) -> Given:
    """What a table in memory holds.

    Raises:
        UsageError: it is no table.
    """
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    if isinstance(table, pa.Table):
        units = {one.name: one.metadata[b"unit"].decode() for one in table.schema if b"unit" in (one.metadata or {})}
        return Given(table.column_names, lambda names: table.select(names.columns), units, _HINT)
    if isinstance(table, Mapping):
        return _arrays(dict(table), name)
    if isinstance(table, np.ndarray) and table.dtype.names:
        return _arrays({column: table[column] for column in table.dtype.names}, name)
    if _is(table, "pandas", "DataFrame"):
        return _frame(table, name)
    if _is(table, "astropy.table", "Table"):
        return astropy_table(table, name)
    if _is(table, "astropy.coordinates", "SkyCoord"):
        return _arrays(_coordinates(table, name), name)
    raise UsageError(f"{name} is a {type(table).__name__}, which cannot be matched; give {ALLOWED}.")


def _is(table: Any, module: str, name: str) -> bool:
    """True for an object of a library's class; the library is not imported if it was not yet."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(table, kind)


def _arrays(arrays: dict[str, Any], where: str) -> Given:
    """Arrays of any kind by name, converted when they are asked for."""

    units = {name: str(values.unit) for name, values in arrays.items() if getattr(values, "unit", None) is not None}
    return Given([str(name) for name in arrays], lambda names: as_table(arrays, names, where), units, _HINT)


def as_table(arrays: Mapping[str, Any], names: Names, where: str) -> pa.Table:
    """The columns that are needed.

    Raises:
        UsageError: one has not one value a row, or they differ in length.
    """
    found = {name: as_arrow(arrays[name], f"The column {name!r} of {where}") for name in names.columns}
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) > 1:
        raise UsageError(f"The columns of {where} differ in length: {lengths}.")
    return pa.table(found)


def astropy_table(table: Any, where: str = "the table") -> Given:
    """An Astropy table; its columns are not copied."""
    return _arrays({name: table[name] for name in table.colnames}, where)


def _frame(frame: Any, where: str) -> Given:
    """A pandas frame, with the named levels of its index as columns."""
    levels = {name: frame.index.get_level_values(name) for name in frame.index.names if name is not None}
    columns = {name: frame[name] for name in frame.columns if list(frame.columns).count(name) == 1}
    return _arrays(levels | columns, where)


def _coordinates(places: Any, where: str) -> dict[str, Any]:
    """ICRS positions, and proper motions where there are any."""
    if places.ndim != 1:
        raise UsageError(f"{where} must be a one-dimensional list of coordinates, not of shape {places.shape}.")
    places = places.icrs
    found = {"ra": places.ra.deg, "dec": places.dec.deg}
    if "s" in places.data.differentials:
        found |= {name: getattr(places, long) for name, long in (("pmra", "pm_ra_cosdec"), ("pmdec", "pm_dec"))}
    return found


def as_arrow(values: Any, what: str) -> pa.Array | pa.ChunkedArray:
    """A column of any kind as Arrow; what is masked is missing, and integers stay integers.

    Raises:
        UsageError: it has not one value a row.
    """
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    try:
        if _is(values, "pandas", "Series") or _is(values, "pandas", "Index"):
            return pa.Array.from_pandas(values)
        mask = getattr(values, "mask", None)
        plain = np.asarray(getattr(values, "value", getattr(values, "unmasked", values)))
        if plain.ndim != 1:
            raise UsageError(f"{what} has the shape {plain.shape}, not one value a row.")
        if not plain.dtype.isnative:
            plain = plain.astype(plain.dtype.newbyteorder("="))
        return pa.array(plain, mask=None if mask is None else np.broadcast_to(mask, plain.shape), from_pandas=True)
    except pa.ArrowException as problem:
        raise UsageError(f"{what} cannot be read ({problem}).") from problem
