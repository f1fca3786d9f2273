"""What matching needs to know of each record: id, position and where the record is; read with column projection.

A table of places has `_healpix_29`, `object_id`, `ra`, `dec` (ICRS degrees), `order`, `pixel`, `row` (the partition the
record is in, and its row there), and if asked for `pmra`, `pmdec` (mas/yr) and `error` (1 sigma, arcsec). Rows are in
the order of the sky.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmu.errors import UsageError
from mmu.schema.column import HEALPIX
from mmu.sky import healpix
from mmu.sky.halo import Cover
from mmu.sky.partition import Partition

SKY = HEALPIX.name
_FEW = 10_000
_TO_ARCSEC = {"deg": 3600.0, "arcsec": 1.0, "mas": 1e-3, "uas": 1e-6, "rad": 206264.80624709636}


@dataclass(frozen=True)
class Names:
    """What the columns are called in one dataset; "" for a column it does not have.

    `errors` are one column, or one for each axis, times `to_arcsec`; without an id, records are named by their place.
    """

    id: str
    ra: str = "ra"
    dec: str = "dec"
    healpix: str = SKY
    pm: tuple[str, str] | None = None
    errors: tuple[str, ...] = ()
    to_arcsec: float = 1.0

    @property
    def columns(self) -> list[str]:
        wanted = [self.healpix, self.id, self.ra, self.dec, *(self.pm or ()), *self.errors]
        return list(dict.fromkeys(name for name in wanted if name))


@dataclass(frozen=True)
class TablePart:
    """Places that are in memory already."""

    table: pa.Table

    def places(self, cover: Cover) -> pa.Table:
        return covered(self.table, cover)


def covered(places: pa.Table, cover: Cover) -> pa.Table:
    """The places in a cover: stretches of them, not copied, where they are in the order of the sky."""
    sky = places[SKY].to_numpy()
    if len(sky) < _FEW or (sky[1:] < sky[:-1]).any():
        return places.filter(pa.array(cover.covers(sky)))
    return pa.concat_tables([places.slice(a, b - a) for a, b in cover.stretches(sky)] or [places.slice(0, 0)])


def as_places(
    table: pa.Table, names: Names, where: str, rows: np.ndarray[Any, Any], partition: Partition | None
) -> pa.Table:
    """A table of places from columns as a dataset has them; of records that follow one another as several rows, one.

    Raises:
        UsageError: a record has no position or no id; the message says where.
    """
    ra, dec = (_numbers(table[name]) for name in (names.ra, names.dec))
    bad = np.flatnonzero(~healpix.valid(ra, dec))
    if len(bad):
        raise UsageError(
            f"{where}: {len(bad)} of {len(ra)} rows have no position (the first is row {rows[bad[0]]}: "
            f"{names.ra} {ra[bad[0]]}, {names.dec} {dec[bad[0]]}); leave them out, or mend them."
        )
    sky = _numbers(table[names.healpix], np.int64) if names.healpix else healpix.pixel(ra, dec)
    count = len(ra)
    out = {
        SKY: pa.array(sky),
        "object_id": _ids(table, names.id, where, partition, rows),
        "ra": pa.array(ra),
        "dec": pa.array(dec),
        "order": pa.repeat(pa.scalar(-1 if partition is None else partition.order, pa.int8()), count),
        "pixel": pa.repeat(pa.scalar(-1 if partition is None else partition.pixel, pa.int64()), count),
        "row": pa.array(rows, pa.int64()),
    }
    if names.pm:
        out |= {key: pa.array(_numbers(table[name])) for key, name in zip(("pmra", "pmdec"), names.pm, strict=True)}
    if names.errors:
        with np.errstate(over="ignore"):  # an error that stands for none known may be the largest number there is
            squares = sum(_numbers(table[name]) ** 2 for name in names.errors)
            out["error"] = pa.array(np.sqrt(squares / len(names.errors)) * names.to_arcsec)
    return one_row_each(pa.table(out))


def empty(names: Names) -> pa.Table:
    """No places, in the columns that there would be."""
    columns = {name: pa.array([], pa.float64()) for name in dict.fromkeys((names.ra, names.dec, *names.columns))}
    columns |= {name: pa.array([], pa.int64()) for name in (names.healpix, names.id) if name}
    return as_places(pa.table(columns), names, "", np.empty(0, np.int64), None)


def in_sky_order(places: pa.Table) -> pa.Table:
    """The same places by (`_healpix_29`, id); as they are if they stand so."""
    sky = places[SKY].to_numpy()
    if (np.diff(sky) >= 0).all():
        return places
    return places.sort_by([(SKY, "ascending"), ("object_id", "ascending")])


def to_arcsec(field: pa.Field) -> float:
    """What turns a column's numbers into arcsec, by its unit; arcsec where none is given.

    Raises:
        UsageError: the unit is not one of an angle.
    """
    unit = (field.metadata or {}).get(b"unit", b"arcsec").decode()
    if unit not in _TO_ARCSEC:
        raise UsageError(f"The column {field.name!r} is in {unit!r}, not in one of {', '.join(_TO_ARCSEC)}.")
    return _TO_ARCSEC[unit]


def _numbers(column: pa.ChunkedArray, dtype: Any = np.float64) -> np.ndarray[Any, Any]:
    """A column as one array; missing values are NaN."""
    return np.asarray(column.to_numpy(), dtype=dtype)


def _ids(
    table: pa.Table, name: str, where: str, partition: Partition | None, rows: np.ndarray[Any, Any]
) -> pa.ChunkedArray:
    if not name:
        texts = pa.array(rows, pa.int64()).cast(pa.string())
        named = texts if partition is None else pc.binary_join_element_wise(str(partition), texts, "/")
        return pa.chunked_array([named])
    ids = table[name]
    if ids.null_count:
        raise UsageError(f"{where}: {ids.null_count} of {len(ids)} rows have no {name!r}; every record needs an id.")
    return ids if ids.type == pa.string() else ids.cast(pa.string())


def one_row_each(places: pa.Table) -> pa.Table:
    """Of rows that follow one another and are one object (spaxels, say), the first."""
    sky = places[SKY].to_numpy()
    same = np.flatnonzero(sky[1:] == sky[:-1]) + 1
    if not len(same):
        return places
    ids = places["object_id"].combine_chunks()
    again = pc.equal(ids.take(pa.array(same)), ids.take(pa.array(same - 1))).to_numpy(zero_copy_only=False)
    if not again.any():
        return places
    keep = np.ones(len(sky), dtype=bool)
    keep[same[again]] = False
    return places.filter(pa.array(keep))
