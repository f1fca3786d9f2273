"""Making the plan: catalogues are fetched and read, a few ahead, and what they select is put together."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmu.archive.fetch import Fetched, Fetcher
from mmu.build.executor import Executor
from mmu.build.plan import Plan
from mmu.build.progress import Progress
from mmu.build.select import BEYOND, Selection, select_group
from mmu.build.spec import BuildSpec
from mmu.errors import AbsentUpstreamError, DamagedError, FormatError, MmuError
from mmu.schema import HEALPIX
from mmu.survey import Group

ABSENT_CATALOGUE = "its catalogue file is absent upstream"


def make_plan(spec: BuildSpec, fetcher: Fetcher, executor: Executor, progress: Progress) -> Plan:
    """Read the catalogues and select.

    Raises:
        MmuError: an object_id occurs twice, no catalogue can be read, or the archive cannot be reached.
    """
    survey, release = spec.survey, spec.release
    lists = [fetcher.get(file) for file in survey.archive.bootstrap(release)]
    groups = _groups(spec, fetcher, lists)
    plan = Plan(pa.table({}), bytes_per_row=release.object_bytes, partition_bytes=spec.partition_bytes)
    plan.catalogues.update({got.path: got.provenance for got in lists})
    tables: list[pa.Table] = []
    problems: list[MmuError] = []
    with progress.phase("planning", unit="catalogues") as phase:
        for group, selection in _selections(spec, groups, fetcher, executor, plan):
            if isinstance(selection, MmuError):
                plan.absent[group.name] = str(selection)
                problems.append(selection)
                continue
            tables.append(selection.rows)
            _note_catalogues(plan, group, selection)
            plan.read.update(selection.read)
            plan.cut.update(selection.cut)
            phase.advance(objects=len(selection.rows))
            if spec.max_objects is not None and sum(map(len, tables)) >= spec.max_objects:
                break
    if not plan.read and (damaged := [one for one in problems if not isinstance(one, AbsentUpstreamError)]):
        raise damaged[0]
    plan.objects = _in_order(_limited(_together(tables), spec.max_objects, plan))
    _choose_units(spec, plan)
    _refuse_duplicates(plan.objects, release.name)
    return plan


def _groups(spec: BuildSpec, fetcher: Fetcher, lists: Collection[Fetched]) -> Iterator[Group]:
    paths = {got.path: got.local for got in lists}
    try:
        yield from spec.survey.archive.groups(spec.release, paths, spec.region, spec.max_objects is not None)
    except FormatError:
        _distrust(fetcher, lists)
        raise
    except MmuError:
        raise
    except Exception as problem:
        _distrust(fetcher, lists)
        raise FormatError(
            f"{spec.survey.name}: the lists that the plan begins with ({', '.join(sorted(paths))}) are not as the data "
            f"model says ({type(problem).__name__}: {problem}); fetch them again, or look at them."
        ) from problem


def _distrust(fetcher: Fetcher, files: Collection[Fetched]) -> None:
    """Files that are not as the data model says leave the cache: the next run fetches them again."""
    for got in files:
        if got.owned:
            fetcher.discard(got.path)


def _selections(
    spec: BuildSpec, groups: Iterator[Group], fetcher: Fetcher, executor: Executor, plan: Plan
) -> Iterator[tuple[Group, Selection | MmuError]]:
    """Each group and its selection in order, or why it has none; some are read ahead, unless rows are counted."""
    waiting: deque[tuple[Group, Future[list[Fetched]]]] = deque()
    running: deque[tuple[Group, list[Fetched], Future[Selection]]] = deque()
    with ThreadPoolExecutor(max_workers=max(2, spec.survey.policy.connections)) as threads:
        while True:
            ahead = 1 if spec.max_objects is not None else 2 * executor.slots + 2
            while len(waiting) + len(running) < ahead and (group := next(groups, None)) is not None:
                waiting.append((group, threads.submit(_fetch_group, group, fetcher, plan)))
            if waiting and len(running) < executor.slots:
                group, fetched = waiting.popleft()
                try:
                    files = fetched.result()
                except (AbsentUpstreamError, DamagedError) as problem:
                    yield group, problem
                    continue
                paths = {got.path: got.local for got in files}
                task = (spec.survey.name, spec.release.name, group, paths, spec.region, spec.ids)
                running.append((group, files, executor.submit(select_group, *task)))
            elif running:
                group, files, selected = running.popleft()
                try:
                    selection = selected.result()
                except FormatError as problem:
                    _distrust(fetcher, files)
                    yield group, problem
                else:
                    yield group, selection
            else:
                return


def _fetch_group(group: Group, fetcher: Fetcher, plan: Plan) -> list[Fetched]:
    files = []
    for file in group.files:
        try:
            got = fetcher.get(file)
        except AbsentUpstreamError:
            if file.required:
                raise AbsentUpstreamError(f"{ABSENT_CATALOGUE}: {file.path}") from None
            plan.not_there.append(file.path)
        else:
            files.append(got)
            plan.catalogues[file.path] = got.provenance
    return files


def _note_catalogues(plan: Plan, group: Group, selection: Selection) -> None:
    """A unit depends on every catalogue file that lists it."""
    paths = [file.path for file in group.files if file.path in plan.catalogues]
    for unit in selection.read:
        known = plan.listed_in.setdefault(unit, [])
        known += [path for path in paths if path not in known]


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
        plan.listed_in.setdefault(move["new"], plan.listed_in.get(move["old"], []))
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
