"""Which records of several datasets are one object, told record by record from all separations at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from mmu.sky.healpix import pixel, separation_deg

Row = dict[str, Any]


@dataclass
class Found:
    """What one dataset has for an object: its neighbours and their distances, and those that are taken."""

    near: list[tuple[Row, float]] = field(default_factory=list)
    taken: list[tuple[Row, float]] = field(default_factory=list)
    shared: Counter[str] = field(default_factory=Counter)

    @property
    def flags(self) -> int:
        several = len(self.near) > 1
        return int(several) + 4 * int(several and self.near[0][1] == self.near[1][1])


@dataclass
class Object:
    """The record that made it, of which dataset that is, and what the others have."""

    maker: int
    record: Row
    found: dict[int, Found] = field(default_factory=dict)


def records_of(table: pa.Table) -> list[Row]:
    """Each object of a catalogue once: its first row."""
    rows = [{**row, "object_id": str(row["object_id"])} for row in table.select(["object_id", "ra", "dec"]).to_pylist()]
    return list({row["object_id"]: row for row in reversed(rows)}.values())


def objects_of(datasets: Sequence[list[Row]], radius: float, how: str, mode: str, k: int) -> list[Object]:
    """All objects, also those that are not in all datasets that they must be in."""
    objects = [Object(0, record) for record in datasets[0]]
    for index, records in enumerate(datasets[1:], 1):
        forth = _neighbours([one.record for one in objects], records, radius)
        back = _neighbours(records, [one.record for one in objects], radius)
        nearest = {record["object_id"]: near[0][0] for record, near in zip(records, back, strict=True) if near}
        shared: Counter[str] = Counter()
        for one, near in zip(objects, forth, strict=True):
            taken = near[: {"all": None, "knn": k}.get(mode, 1)]
            if mode == "mutual":
                taken = [found for found in taken if nearest[found[0]["object_id"]] is one.record]
            one.found[index] = Found(near, taken, shared)
            shared.update(record["object_id"] for record, _ in taken)
        if how == "outer":
            objects += [Object(index, record) for record in records if not shared[record["object_id"]]]
    return objects


def _neighbours(first: list[Row], second: list[Row], radius: float) -> list[list[tuple[Row, float]]]:
    """Of each of the first, those of the second within a radius, by distance and id."""
    if not first or not second:
        return [[] for _ in first]
    (ra1, dec1), (ra2, dec2) = (np.array([[row["ra"], row["dec"]] for row in rows]).T for rows in (first, second))
    sep = separation_deg(ra1[:, None], dec1[:, None], ra2[None], dec2[None]) * 3600
    found = []
    for row in sep:
        near = [(second[j], float(row[j])) for j in np.flatnonzero(row <= radius)]
        found.append(sorted(near, key=lambda one: (one[1], one[0]["object_id"])))
    return found


def rows_of(
    datasets: dict[str, list[Row]],
    radius: float,
    how: str = "inner",
    mode: str = "nearest",
    k: int = 1,
    required: Sequence[str] = (),
) -> list[Row]:
    """The rows of the association, but for where records are: in the order of the sky, ids and ranks."""
    names = list(datasets)
    needed = set(names) if how == "inner" else {*required, *([names[0]] if how == "left" else [])}
    rows = []
    for one in objects_of(list(datasets.values()), radius, how, mode, k):
        place = {name: one.record[name] for name in ("ra", "dec")}
        mine = one.record["object_id"]
        base = {"_healpix_29": int(pixel(**place)), "object_id": mine, **place, f"{names[0]}_id": mine}
        if one.maker:
            base |= {"object_id": f"{names[one.maker]}:{mine}", f"{names[0]}_id": None}
        for rank in range(max([1, *(len(found.taken) for found in one.found.values())])):
            row = dict(base)
            for index, name in enumerate(names[1:], 1):
                row |= {f"{name}_{key}": value for key, value in _of_dataset(one, index, rank).items()}
                if mode in ("all", "knn"):
                    row[f"{name}_rank"] = rank
            row["datasets"] = sum(row[f"{name}_id"] is not None for name in names)
            if all(row[f"{name}_id"] is not None for name in needed):
                rows.append(row)
    return sorted(rows, key=lambda row: (row["_healpix_29"], row["object_id"], row.get(f"{names[1]}_rank", 0)))


def _of_dataset(one: Object, index: int, rank: int) -> Row:
    """A dataset's columns in one row of an object."""
    if index == one.maker:
        return {"id": one.record["object_id"], "sep_arcsec": 0.0, "candidates": 0, "flags": 0}
    found = one.found.get(index, Found())
    row: Row = {"id": None, "sep_arcsec": None, "candidates": len(found.near), "flags": found.flags}
    if rank < len(found.taken):
        record, sep = found.taken[rank]
        row |= {"id": record["object_id"], "sep_arcsec": sep}
        row["flags"] = found.flags + 2 * int(found.shared[record["object_id"]] > 1)
    return row
