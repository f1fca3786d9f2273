"""Which columns of a table are id, position, proper motion and error, where its author did not know of us.

An address may say it: `PATH#ra=COL,dec=COL,id=COL`, each of them optional; `id=` for row numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crossmatch.places import Names
from mmu.errors import UsageError, unknown
from mmu.identity import IDS, PAIRS, as_text, pairs_of

if TYPE_CHECKING:
    from crossmatch.sources import Wanted

_OFTEN_REPEATED = frozenset(IDS[5:])
"""Names that in some catalogues count objects within a brick or a field only."""

MOTIONS = (("pmra", "pmdec"), ("pmra", "pmde"))

_ALIASES = {"deg": "deg", "degrees": "deg", "radian": "rad", "radians": "rad", "arcsecond": "arcsec"}
_SUFFIX = re.compile(r"(.+?)#(\w+=.*)")
_MOST_LISTED = 100


@dataclass(frozen=True)
class Choice:
    """What the user says: names of columns; None where it is left to us, no `id` for row numbers."""

    ra: str | None = None
    dec: str | None = None
    id: str | None = None


@dataclass(frozen=True)
class Given:
    """A table in any form: its columns, some of them as Arrow when asked for, and their units where it has any.

    Attributes:
        hint: how the user can say which columns are meant.
    """

    columns: Sequence[str]
    read: Callable[[Names], pa.Table]
    units: Mapping[str, str] = field(default_factory=dict)
    hint: str = "say NAME=PATH#ra=COL,dec=COL,id=COL (`id=` to count the rows)"


def split(address: str | Path) -> tuple[Path, Choice]:
    """The file of an address, and the choice that stands behind it.

    Raises:
        UsageError: the choice names something else than ra, dec and id, or one of the positions alone.
    """
    path = Path(address).expanduser()
    found = _SUFFIX.fullmatch(str(path))
    if found is None or path.exists():
        return path, Choice()
    said = [part.partition("=")[::2] for part in found[2].split(",")]
    for key, value in said:
        if key not in ("ra", "dec", "id"):
            raise unknown(f"word in {found[0]!r}", key, ("ra", "dec", "id"))
        if [other for other, _ in said].count(key) > 1 or not (value or key == "id"):
            raise UsageError(f"{found[0]!r} must name one column for {key}: PATH#ra=COL,dec=COL,id=COL.")
    choice = Choice(**dict(said))
    if (choice.ra is None) != (choice.dec is None):
        raise UsageError(f"{found[0]!r} names one of ra and dec: give both, PATH#ra=COL,dec=COL.")
    return Path(found[1]), choice


def has_positions(columns: Sequence[str], choice: Choice) -> bool:
    """True if the columns chosen are among these, or one of the usual pairs is."""
    return {choice.ra, choice.dec} <= set(columns) if choice.ra else bool(pairs_of(columns))


def chosen(given: Given, choice: Choice, wanted: Wanted, where: str) -> Names:
    """What the columns that a match needs are called.

    Raises:
        UsageError: a column is not there, or it is not plain which are the positions.
    """
    columns = given.columns
    ra, dec = _positions(given, choice, where)
    for name in (ra, dec, choice.id, *wanted.errors):
        if name and name not in columns:
            raise unknown(f"column of {where}", name, columns)
    motions = pairs_of(columns, MOTIONS) if wanted.motion else []
    names = Names(
        id=next((name for name in IDS if name in columns), "") if choice.id is None else choice.id,
        ra=ra,
        dec=dec,
        healpix="",
        pm=motions[0] if motions else None,
        errors=wanted.errors,
    )
    twice = [name for name in names.columns if list(columns).count(name) > 1]
    if twice:
        raise UsageError(f"{where} has several columns called {twice[0]!r}; rename all but one.")
    return names


def _positions(given: Given, choice: Choice, where: str) -> tuple[str, str]:
    if choice.ra and choice.dec:
        return choice.ra, choice.dec
    columns = given.columns
    found = pairs_of(columns)
    plain = [pair for pair in found if pair == PAIRS[0]] or [p for p in found if tuple(map(str.lower, p)) == PAIRS[0]]
    if len(plain or found) == 1:
        return (plain or found)[0]
    listed = ", ".join(columns[:_MOST_LISTED]) + (", ..." if len(columns) > _MOST_LISTED else "")
    which = " or ".join(f"{ra}, {dec}" for ra, dec in found)
    what = f"several may be the position ({which})" if found else "none has a usual name of RA and Dec"
    raise UsageError(f"Of the columns of {where}, {what}; {given.hint}. It has: {listed}.")


def prepared(table: pa.Table, names: Names, units: Mapping[str, str], where: str) -> pa.Table:
    """The same columns as numbers in deg, mas/yr and arcsec, and the id as text.

    Raises:
        UsageError: a column has another kind of unit, or holds no numbers; an id is missing, or not an exact one.
    """
    targets = dict.fromkeys((names.ra, names.dec), "deg") | dict.fromkeys(names.pm or (), "mas / yr")
    targets |= dict.fromkeys(names.errors, "arcsec")
    out: dict[str, Any] = {}
    for name, target in targets.items():
        factor = _factor(units.get(name, ""), target, f"The column {name!r} of {where}")
        with np.errstate(over="ignore", invalid="ignore"):
            out[name] = _numbers(table[name], f"The column {name!r} of {where}") * factor
    if names.id:
        out[names.id] = as_text(table[names.id], f"The column {names.id!r} of {where}")
    return pa.table(out)


def _factor(unit: str, target: str, what: str) -> float:
    """What turns numbers of one unit into another; 1 where none is given."""
    unit = unit.strip()
    unit = _ALIASES.get(unit.lower(), unit)
    if unit in ("", target):
        return 1.0
    import astropy.units as u

    try:
        return float(u.Unit(unit).to(u.Unit(target)))
    except (ValueError, TypeError) as problem:
        raise UsageError(f"{what} is in {unit!r}, which cannot be turned into {target}.") from problem


def _numbers(column: pa.ChunkedArray, what: str) -> np.ndarray[Any, Any]:
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_decimal(column.type)):
        if not pa.types.is_null(column.type) and len(column):
            raise UsageError(f"{what} holds {column.type}, not numbers (of degrees, for a position).")
        column = column.cast(pa.float64())
    return np.asarray(column.to_numpy(), dtype=np.float64)


def refuse_repeated(ids: pa.ChunkedArray, name: str, given: Given, where: str) -> None:
    """Refuse an id that we took for one, although it only counts objects within something.

    Raises:
        UsageError: two rows have the same.
    """
    if name in _OFTEN_REPEATED and (distinct := pc.count_distinct(ids).as_py()) < len(ids):
        found = f"{distinct} different ids in {len(ids)} rows"
        raise UsageError(f"The column {name!r} of {where} has {found}, so it is no id; {given.hint}.")
