"""What is asked of the archive's database, and its answers.

A query names the tracts and the box on the sky it is for, and counts its own rows: an answer that the service cut short
is found by that count, whenever it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmu.fits import FitsFile, open_fits
from surveys.hsc.columns import BANDS, CATALOGUE, MEASURED

COUNT = "rows_counted"
_NULL = "_isnull"

Box = tuple[float, float, float, float]
Columns = dict[str, NDArray[Any]]


def select_sql(facts: Mapping[str, Any], first: int, last: int, box: Box | None) -> str:
    """The query for the objects of some tracts (both ends included) in a box (RA1, RA2, Dec1, Dec2; RA2 may be > 360).

    All of a release's cuts are in it: what the database leaves out is never sent.
    """
    joins = "".join(f" LEFT JOIN {facts['schema']}.{table} USING (object_id)" for table in facts["joined"])
    names = ", ".join(["object_id", *(f"forced.{name}" for name in ("ra", "dec", "tract", "patch"))])
    measured = ", ".join(column.name for column in MEASURED)
    where = [f"tractSearch(object_id, {first}, {last})", "forced.isprimary", facts["brightness"]]
    where += [f"forced.{band}_inputcount_value >= 3" for band in BANDS]
    where += [f"NOT {band}_{flag}" for band in BANDS for flag in facts["flags"]]
    if box is not None:
        where.insert(1, "boxSearch(coord, {:.4f}, {:.4f}, {:.4f}, {:.4f})".format(*box))
    return (
        f"SELECT {names}, {measured}, COUNT(*) OVER () AS {COUNT} FROM {facts['schema']}.forced AS forced{joins} "
        f"WHERE {' AND '.join(where)} ORDER BY object_id"
    )


def patches_sql(facts: Mapping[str, Any]) -> str:
    """The query for the patches that a release has data in."""
    return f"SELECT skymap_id, ra, dec, COUNT(*) OVER () AS {COUNT} FROM {facts['schema']}.patch_qa ORDER BY skymap_id"


def read_patches(path: Path) -> Columns:
    """Tract, RA and Dec (degrees) of every patch of a release."""
    with open_fits(path) as file:
        table = _columns(file, ["skymap_id", "ra", "dec"])
    return {"tract": table["skymap_id"] // 10_000, "ra": table["ra"], "dec": table["dec"]}


def read_objects(path: Path) -> Columns:
    """Every column of an answer to `select_sql`.

    Raises:
        FormatError: it lacks a column, or rows.
    """
    with open_fits(path) as file:
        return _columns(file, ["object_id", "ra", "dec", *(column.name for column in CATALOGUE)])


def check_count(path: Path) -> None:
    """Look whether an answer is whole.

    Raises:
        FormatError: it is no table, or has fewer rows than were selected.
    """
    with open_fits(path) as file:
        _columns(file, [])


def _columns(file: FitsFile, names: list[str]) -> Columns:
    """Columns of an answer, NaN where the database had NULL; names as asked for, whatever their case."""
    stored = {name.upper().removeprefix("# "): name for name in file.table(1).dtype.names or ()}
    nulls = [name for name in names if (name + _NULL).upper() in stored]
    wanted = [*names, COUNT, *(name + _NULL for name in nulls)]
    table = file.columns(1, [stored.get(name.upper(), name) for name in wanted])
    table = dict(zip(wanted, table.values(), strict=True))
    _check(file, table.pop(COUNT))
    for name in nulls:
        missing = table.pop(name + _NULL).astype(bool)
        if missing.any():
            if table[name].dtype.kind != "f":
                raise file.error(f"column {name} is NULL for {int(missing.sum())} rows")
            table[name][missing] = np.nan
    return table


def _check(file: FitsFile, counted: NDArray[Any]) -> None:
    if len(counted) and (counted != len(counted)).any():
        raise file.error(f"the service selected {int(counted.max())} rows and sent {len(counted)}")
