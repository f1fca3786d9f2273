"""The plan: which objects, in which units, on which shards; made from catalogues, before any pixel is fetched."""

from __future__ import annotations

import heapq
import json
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmu.archive.fetch import Fetcher
from mmu.build.executor import Executor
from mmu.build.files import write_json, write_table
from mmu.build.progress import Progress
from mmu.build.select import BEYOND, Selection, select_group
from mmu.build.spec import BuildSpec
from mmu.errors import AbsentUpstreamError, FormatError, MmuError
from mmu.schema import HEALPIX
from mmu.sky.partition import Partition, locate, partition_tree
from mmu.survey import File, Group

ABSENT_CATALOGUE = "its catalogue file is absent upstream"


@dataclass
class Plan:
    """The selected objects in shard order, and the account of those that were not selected.

    Attributes:
        objects: object_id, ra, dec, unit, _healpix_29 and carried columns, sorted by (_healpix_29, object_id).
        read, cut: per unit, and per (unit, reason).
        absent: groups whose catalogue the archive does not have; nothing is known of their objects.
        not_there: optional catalogue files the archive does not have (DESI lists more pixels than it has files for).
    """

    objects: pa.Table
    read: Counter[str] = field(default_factory=Counter)
    cut: Counter[tuple[str, str]] = field(default_factory=Counter)
    absent: dict[str, str] = field(default_factory=dict)
    not_there: list[str] = field(default_factory=list)
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
            account["bytes_per_row"],
            account["partition_bytes"],
        )
    except (OSError, ValueError, TypeError, LookupError, pa.ArrowException):
        return None


def make_plan(spec: BuildSpec, fetcher: Fetcher, executor: Executor, progress: Progress) -> Plan:
    """Read the catalogues and select.

    Raises:
        MmuError: an object_id occurs twice, or the archive cannot be reached.
    """
    survey, release = spec.survey, spec.release
    bootstrap = {file.path: fetcher.get(file).local for file in survey.archive.bootstrap(release)}
    walk = spec.max_objects is not None
    groups = survey.archive.groups(release, bootstrap, spec.region, walk)
    plan = Plan(pa.table({}), bytes_per_row=release.bytes_per_row, partition_bytes=spec.partition_bytes)
    tables: list[pa.Table] = []
    with progress.phase("planning", unit="catalogues") as phase:
        for selection in _selections(spec, groups, fetcher, executor, plan):
            tables.append(selection.rows)
            plan.read.update(selection.read)
            plan.cut.update(selection.cut)
            phase.advance(objects=len(selection.rows))
            if spec.max_objects is not None and sum(map(len, tables)) >= spec.max_objects:
                break
    plan.objects = _in_order(_limited(_together(tables), spec.max_objects, plan))
    _choose_units(spec, plan)
    _refuse_duplicates(plan.objects, release.name)
    return plan


def _selections(
    spec: BuildSpec, groups: Iterator[Group], fetcher: Fetcher, executor: Executor, plan: Plan
) -> Iterator[Selection]:
    """Each group's selection in order; some are fetched and read ahead, unless rows are counted group by group."""
    ahead = 1 if spec.max_objects is not None else 2 * executor.slots + 2
    waiting: deque[tuple[Group, Future[dict[str, Path] | None]]] = deque()
    running: deque[Future[Selection]] = deque()
    with ThreadPoolExecutor(max_workers=max(2, spec.survey.policy.connections)) as threads:
        while True:
            while len(waiting) + len(running) < ahead and (group := next(groups, None)) is not None:
                waiting.append((group, threads.submit(_fetch_group, group, fetcher, plan)))
            if waiting and len(running) < executor.slots:
                group, fetched = waiting.popleft()
                if (paths := fetched.result()) is not None:
                    running.append(
                        executor.submit(
                            select_group, spec.survey.name, spec.release.name, group, paths, spec.region, spec.ids
                        )
                    )
            elif running:
                yield running.popleft().result()
            else:
                return


def _fetch_group(group: Group, fetcher: Fetcher, plan: Plan) -> dict[str, Path] | None:
    paths = {}
    for file in group.files:
        try:
            paths[file.path] = fetcher.get(file).local
        except AbsentUpstreamError:
            if file.required:
                plan.absent[group.name] = file.path
                return None
            plan.not_there.append(file.path)
    return paths


def _together(tables: list[pa.Table]) -> pa.Table:
    if not tables:
        empty = {"object_id": pa.string(), "ra": pa.float64(), "dec": pa.float64(), "unit": pa.string()}
        return pa.schema(
            [*(pa.field(n, t) for n, t in empty.items()), pa.field(HEALPIX.name, pa.int64())]
        ).empty_table()
    return pa.concat_tables(tables, promote_options="default").combine_chunks()


def _limited(objects: pa.Table, limit: int | None, plan: Plan) -> pa.Table:
    """The first `limit` rows in unit order; the rest are counted as cut."""
    if limit is None or len(objects) <= limit:
        return objects
    order = pc.sort_indices(objects, [("unit", "ascending"), (HEALPIX.name, "ascending"), ("object_id", "ascending")])
    for unit, count in Counter(objects["unit"].take(order[limit:]).to_pylist()).items():
        plan.cut[unit, BEYOND] += count
    return objects.take(order[:limit])


def _in_order(objects: pa.Table) -> pa.Table:
    return objects.sort_by([(HEALPIX.name, "ascending"), ("object_id", "ascending")]).combine_chunks()


def _choose_units(spec: BuildSpec, plan: Plan) -> None:
    """Let a survey that has a choice name the units of the selected objects; the account moves along."""
    if (router := spec.survey.router) is None or not len(plan.objects):
        return
    chosen = pa.array(np.asarray(router.plan_units(spec.release, plan.objects)).astype(object), type=pa.string())
    pairs = pa.table({"old": plan.objects["unit"].combine_chunks(), "new": chosen})
    moved = pairs.group_by(["old", "new"]).aggregate([([], "count_all")]).to_pylist()
    if len({move["new"] for move in moved}) != len(moved):
        raise FormatError(f"{spec.survey.name}: plan_units gave objects of two units to one.")
    for move in moved:
        plan.read[move["old"]] -= move["count_all"]
    for move in moved:
        plan.read[move["new"]] += move["count_all"]
    plan.read = +plan.read
    plan.objects = plan.objects.set_column(plan.objects.schema.get_field_index("unit"), "unit", chosen)


def _refuse_duplicates(objects: pa.Table, release: str) -> None:
    ids = objects["object_id"]
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    counts = ids.value_counts()
    twice = [entry["values"].as_py() for entry in counts if entry["counts"].as_py() > 1]
    some = ", ".join(heapq.nsmallest(3, twice))
    raise MmuError(
        f"{len(twice)} object_ids occur more than once in {release} (for example {some}); "
        "the catalogue files overlap or are damaged, so nothing was built."
    )


def unit_files(spec: BuildSpec, plan: Plan) -> dict[str, tuple[File, ...]]:
    """The files of every unit that has a selected object."""
    return {unit: spec.survey.archive.files(spec.release, unit) for unit in plan.rows_of_unit}
