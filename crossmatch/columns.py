"""The columns of an association: what they are called and mean, and how they are filled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crossmatch.level import Flags, Found, Objects, runs
from crossmatch.matcher import Rows
from crossmatch.places import SKY
from crossmatch.rule import Rule
from mmu.schema.column import IDENTITY, Column, Schema

_OF_RECORD = {"id": "object_id", "order": "order", "pixel": "pixel", "row": "row"}


def association_schema(rule: Rule) -> Schema:
    """The columns of the result of a match: the object, then each dataset's record of it."""
    columns = list(IDENTITY)
    for index, name in enumerate(rule.names):
        absent = name not in rule.needed
        columns += [
            Column(f"{name}_id", "string", meaning=f"object_id of the record in {name}", nullable=absent),
            Column(
                f"{name}_order", "int8", meaning="order of the partition the record is in; -1: a table", nullable=absent
            ),
            Column(f"{name}_pixel", "int64", meaning="HEALPix pixel (nested) of that partition", nullable=absent),
            Column(f"{name}_row", "int64", meaning="row of the record in that partition, from 0", nullable=absent),
        ]
        if index:
            columns += [
                Column(
                    f"{name}_sep_arcsec", "float64", "arcsec", "great-circle distance from the object", nullable=absent
                ),
                Column(f"{name}_candidates", "int32", meaning="records within the radius"),
                Column(
                    f"{name}_flags",
                    "int16",
                    meaning="1: several candidates; 2: another object's record too; 4: a tie, the smaller id won",
                    polarity="0 = one candidate, only here",
                ),
            ]
            if rule.several:
                columns.append(Column(f"{name}_rank", "int32", meaning="0 for the nearest, 1 for the next, ..."))
    return Schema((*columns, Column("datasets", "int16", meaning="how many of the datasets have the object")))


def association_rows(
    rule: Rule, places: Sequence[pa.Table], homes: Sequence[Flags], objects: Objects, found: Sequence[Found]
) -> pa.Table:
    """The objects to keep, those at home and in every dataset needed, by (`_healpix_29`, id)."""
    of = found[0].of
    maker = objects.maker[of]
    rows = [np.where(maker == 0, objects.row[of], -1), *(one.row.copy() for one in found)]
    keep = np.zeros(len(of), dtype=bool)
    for index, home in enumerate(homes):
        own = maker == index  # an object that a dataset made is that dataset's
        rows[index][own] = objects.row[of[own]]
        keep[own] = home[objects.row[of[own]]]
    for index, name in enumerate(rule.names):
        if name in rule.needed:
            keep &= rows[index] >= 0
    kept = np.flatnonzero(keep)
    columns = _identity(rule, places, objects, of[kept])
    anchors = not maker[kept].any()
    for index, name in enumerate(rule.names):
        known = {"object_id": columns["object_id"]} if anchors and not index else {}
        columns |= _reference(name, places[index], rows[index][kept], known)
        if index:
            columns |= _facts(name, found[index - 1], kept, maker[kept] == index, rule)
    columns["datasets"] = pa.array(sum((row[kept] >= 0).astype(np.int16) for row in rows), pa.int16())
    return _sorted(pa.table(columns), rule)


def _sorted(table: pa.Table, rule: Rule) -> pa.Table:
    steps, ids = np.diff(table[SKY].to_numpy()), table["object_id"]
    same = np.flatnonzero(steps == 0)
    ordered = pc.less_equal(ids.take(pa.array(same)), ids.take(pa.array(same + 1)))
    if (steps >= 0).all() and pc.all(ordered, min_count=0).as_py():
        return table
    keys = [SKY, "object_id", *([f"{rule.names[1]}_rank"] if rule.several else [])]
    return table.sort_by([(key, "ascending") for key in keys])


def _identity(rule: Rule, places: Sequence[pa.Table], objects: Objects, at: Rows) -> dict[str, pa.Array]:
    """Id and position of objects: their maker's; the ids of other makers than the anchor say whose they are."""
    maker, parts = objects.maker[at], []
    made = [np.flatnonzero(maker == index) for index in range(len(places))]
    for index, where in enumerate(made):
        picked = places[index].select(["object_id", SKY, "ra", "dec"]).take(pa.array(objects.row[at[where]]))
        if index and len(where):
            ids = pa.array([f"{rule.names[index]}:{one}" for one in picked["object_id"].to_pylist()], pa.string())
            picked = picked.set_column(0, "object_id", ids)
        parts += [picked] if len(where) else []
    joined = pa.concat_tables(parts) if parts else places[0].select(["object_id", SKY, "ra", "dec"]).slice(0, 0)
    if len(parts) > 1:
        joined = joined.take(pa.array(np.argsort(np.concatenate(made), kind="stable")))
    return {name: _one(joined[name]) for name in joined.column_names}


def _reference(name: str, places: pa.Table, rows: Rows, known: dict[str, pa.Array]) -> dict[str, pa.Array]:
    """Id, partition and row of the record of each object; null where there is none. Columns known need no look."""
    wanted = [column for column in _OF_RECORD.values() if column not in known]
    picked = places.select(wanted).take(pa.array(rows, mask=rows < 0))
    found = known | {column: _one(picked[column]) for column in wanted}
    return {f"{name}_{new}": found[old] for new, old in _OF_RECORD.items()}


def _facts(name: str, found: Found, kept: Rows, own: Flags, rule: Rule) -> dict[str, pa.Array]:
    """Separation, candidates and flags of one dataset's matches; an object it made itself is at no distance."""
    sep = np.where(own, 0.0, found.sep[kept])
    columns = {
        f"{name}_sep_arcsec": pa.array(sep, mask=np.isnan(sep)),
        f"{name}_candidates": pa.array(found.candidates[kept].astype(np.int32)),
        f"{name}_flags": pa.array(found.flags[kept].astype(np.int16)),
    }
    if rule.several:
        start, size = runs(found.of[kept])
        columns[f"{name}_rank"] = pa.array((np.arange(len(kept)) - np.repeat(start, size)).astype(np.int32))
    return columns


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays([*column.chunks, pa.array([], column.type)])
