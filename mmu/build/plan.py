"""The plan: which objects, in which units, on which shards; made from catalogues, before any pixel is fetched."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmu.archive.supplied import supplement_files
from mmu.build.files import write_json, write_table
from mmu.build.spec import BuildSpec
from mmu.schema import HEALPIX
from mmu.sky.partition import Partition, locate, partition_tree
from mmu.survey import File


@dataclass
class Plan:
    """The selected objects in shard order, and the account of those that were not selected.

    Attributes:
        objects: object_id, ra, dec, unit, _healpix_29 and carried columns, sorted by (_healpix_29, object_id).
        read, cut: per unit, and per (unit, reason).
        absent: groups whose catalogue cannot be had (the archive does not have it, or only damaged) -> why, in words;
            nothing is known of their objects.
        not_there: optional catalogue files the archive does not have (DESI lists more pixels than it has files for).
        catalogues: where each catalogue file came from, by path.
        listed_in: for each unit the paths of the catalogue files that list it.
        outdated: units to be read again, as the archive has other files for them than when they were built.
    """

    objects: pa.Table
    read: Counter[str] = field(default_factory=Counter)
    cut: Counter[tuple[str, str]] = field(default_factory=Counter)
    absent: dict[str, str] = field(default_factory=dict)
    not_there: list[str] = field(default_factory=list)
    catalogues: dict[str, dict[str, Any]] = field(default_factory=dict)
    listed_in: dict[str, list[str]] = field(default_factory=dict)
    outdated: list[str] = field(default_factory=list)
    bytes_per_row: int = 1
    partition_bytes: int = 1 << 30

    @cached_property
    def leaves(self) -> list[Partition]:
        """The partition tree, in sky order."""
        return partition_tree(self.healpix_29, self.bytes_per_row, self.partition_bytes)

    @cached_property
    def healpix_29(self) -> np.ndarray[Any, Any]:
        return np.asarray(self.objects[HEALPIX.name])

    @cached_property
    def leaf(self) -> np.ndarray[Any, Any]:
        """For each object the index of its partition in `leaves`."""
        return locate(self.healpix_29, self.leaves)

    @cached_property
    def rows_of_unit(self) -> dict[str, np.ndarray[Any, Any]]:
        """For each unit the indices of its objects, in shard order; units in the order they are worked on (by sky)."""
        codes = self.objects["unit"].combine_chunks().dictionary_encode()
        index, names = np.asarray(codes.indices), codes.dictionary.to_pylist()
        order = np.argsort(index, kind="stable")
        edges = np.searchsorted(index[order], np.arange(len(names) + 1))
        return {name: order[edges[i] : edges[i + 1]] for i, name in enumerate(names)}

    def save(self, work: Path) -> None:
        write_table(work / "plan.parquet", self.objects)
        account = {
            "read": dict(self.read),
            "cut": [[unit, reason, count] for (unit, reason), count in sorted(self.cut.items())],
            "absent": self.absent,
            "not_there": sorted(self.not_there),
            "catalogues": self.catalogues,
            "listed_in": self.listed_in,
            "outdated": sorted(self.outdated),
            "bytes_per_row": self.bytes_per_row,
            "partition_bytes": self.partition_bytes,
        }
        write_json(work / "plan.json", account)


def load_plan(work: Path) -> Plan | None:
    """The plan an interrupted run saved, if it got that far and can be read; it is made again otherwise."""
    try:
        account = json.loads((work / "plan.json").read_text())
        return Plan(
            pq.read_table(work / "plan.parquet"),
            Counter(account["read"]),
            Counter({(unit, reason): count for unit, reason, count in account["cut"]}),
            account["absent"],
            account["not_there"],
            account["catalogues"],
            account["listed_in"],
            account["outdated"],
            account["bytes_per_row"],
            account["partition_bytes"],
        )
    except (OSError, ValueError, TypeError, LookupError, pa.ArrowException):
        return None


def unit_files(spec: BuildSpec, plan: Plan) -> dict[str, tuple[File, ...]]:
    """The files of every unit that has a selected object."""
    given = supplement_files(spec.survey, spec.supplements)
    survey, release = spec.survey, spec.release
    if (asking := survey.asking) is not None:
        found = {unit: asking.files_for(release, unit, plan.objects.take(at)) for unit, at in plan.rows_of_unit.items()}
    else:
        found = {unit: survey.archive.files(release, unit) for unit in plan.rows_of_unit}
    return {unit: (*files, *given) for unit, files in found.items()}
