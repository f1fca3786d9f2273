"""The moving part of a build: files come in, units are read, partitions are written, all journalled as it settles.

One thread (the caller's) decides everything; threads fetch, the executor computes, and both only put what they
finished into a queue.
"""

from __future__ import annotations

import errno
import queue
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple
from functools import partial
from typing import Any

import pyarrow as pa

from mmu.archive.fetch import Fetched, Fetcher
from mmu.build.executor import Executor, WorkerDied
from mmu.build.journal import Journal
from mmu.build.ledger import Folded, Ledger
from mmu.build.plan import Plan, unit_files
from mmu.build.progress import Phase, Progress
from mmu.build.resume import Remaining
from mmu.build.spec import BuildSpec
from mmu.build.unit import UnitResult, Written, drop_spool, forget_unit, read_unit, write_partition
from mmu.errors import AbsentUpstreamError, DamagedError, DownloadError, FormatError, MmuError
from mmu.sky.partition import Partition
from mmu.survey import File

_GIVE_UP_AFTER = 5
_TRIES = 3
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Work:
    """One run over the units and partitions that are not settled yet."""

    def __init__(
        self,
        spec: BuildSpec,
        plan: Plan,
        before: Folded | None,
        fetcher: Fetcher,
        executor: Executor,
        journal: Journal,
        progress: Progress,
    ) -> None:
        self.spec, self.plan, self.before = spec, plan, before
        self.fetcher, self.executor, self.journal, self.progress = fetcher, executor, journal, progress
        self.spool = spec.work / "spool"
        self.left = Remaining(plan, before, journal.path, self.spool)
        self.ledger, self.pending, self.todo = self.left.ledger, self.left.pending, self.left.todo
        self.events: queue.Queue[Callable[[], None]] = queue.Queue()
        self.busy = self.in_flight = 0
        self.downloads_failed = 0
        self.suspects: list[str] = []
        self.retried: set[str] = set()
        self.distrusted: set[str] = set()
        self.rewritten: Counter[Partition] = Counter()
        self.waiting_for: dict[Partition, set[str]] = defaultdict(set)
        for unit in self.pending:
            for leaf in self.left.leaves_of(unit):
                self.waiting_for[leaf].add(unit)
        self.files = unit_files(spec, plan)
        self.users = Counter(file.path for unit in self.pending for file in self.files[unit])
        self.fetched: dict[str, dict[str, Fetched]] = {}

    # -- the loop -----------------------------------------------------------------------------------------------

    def run(self) -> Ledger:
        """Settle every unit and write every partition.

        Raises:
            DownloadError: unit after unit could not be fetched: the archive is out of reach. Run again to go on.
        """
        queued = iter(self.pending)
        with (
            ThreadPoolExecutor(max(4, self.spec.survey.policy.connections)) as self.threads,
            self.progress.phase("building", "units", len(self.pending)) as self.phase,
        ):
            self._loop(queued)
        return self.ledger

    def _loop(self, queued: Iterator[str]) -> None:
        try:
            for leaf in sorted(self.left.stale):
                if not self.waiting_for.get(leaf):
                    self._write(leaf)
            more = True
            while more or self.busy:
                while more and self.in_flight < self.executor.slots + 2:
                    if (unit := next(queued, None)) is None:
                        more = False
                    else:
                        self._fetch(unit)
                self._wait_for_one()
            self._retry_suspects()
        except BaseException:  # nobody waits for downloads that nobody wants any more
            self.threads.shutdown(wait=False, cancel_futures=True)
            self.fetcher.close()
            raise

    def _wait_for_one(self) -> None:
        if self.busy:
            self.events.get()()

    def _retry_suspects(self) -> None:
        """Units whose worker died, one at a time: what else a worker held when it died is not to blame."""
        for unit in self.suspects:
            self.retried.add(unit)
            self.in_flight += 1
            self._submit(unit)
            while self.busy:
                self._wait_for_one()

    phase: Phase
    threads: ThreadPoolExecutor

    def _then(self, future: Future[Any], what: Callable[[Future[Any]], None]) -> None:
        """Do something in this thread once a future is done."""
        self.busy += 1

        def event() -> None:
            self.busy -= 1
            what(future)

        future.add_done_callback(lambda _: self.events.put(event))

    def _fetch(self, unit: str) -> None:
        self.in_flight += 1
        left = {file.path: self.threads.submit(_get, self.fetcher, file) for file in self.files[unit]}
        missing = len(left)

        def one_more(_: Future[Any]) -> None:
            nonlocal missing
            missing -= 1
            if missing == 0:
                self._fetched(unit, left)

        for future in left.values():
            self._then(future, one_more)

    def _fetched(self, unit: str, results: dict[str, Future[Fetched | None]]) -> None:
        try:
            self.fetched[unit] = {path: got for path, future in results.items() if (got := future.result()) is not None}
        except MmuError as problem:
            self._failed(unit, problem)
            return
        self.downloads_failed = 0
        self._submit(unit)

    def _submit(self, unit: str) -> None:
        rows = self.plan.objects.take(pa.array(self.todo[unit])).drop_columns(["unit", "_healpix_29"])
        paths = {path: got.local for path, got in self.fetched[unit].items()}
        task = (self.spec.survey.name, self.spec.release.name, unit, paths, rows, self.left.leaves_of(unit), self.spool)
        self._then(self.executor.submit(read_unit, *task), partial(self._read, unit))

    def _read(self, unit: str, future: Future[UnitResult]) -> None:
        try:
            result = future.result()
        except WorkerDied as problem:
            if unit in self.retried:
                self._failed(unit, problem)
            else:
                self.suspects.append(unit)
                self.in_flight -= 1
            return
        except Exception as problem:  # noqa: BLE001 - one unit's trouble, whatever it is, costs that unit only
            self._failed(unit, problem)
            return
        files = self._origins(unit)
        self.journal.add(unit=unit, rows=result.rows, excluded=result.excluded, files=files)
        self.ledger.excluded.update(result.excluded)
        self.ledger.files[unit] = files
        self._settled(unit, result.rows)

    def _origins(self, unit: str) -> list[dict[str, Any]]:
        """Where every file came from that a unit's records depend on, the catalogues' first."""
        catalogues = {path: self.plan.catalogues[path] for path in self.plan.listed_in.get(unit, ())}
        return list({**catalogues, **{path: got.provenance for path, got in self.fetched[unit].items()}}.values())

    def _failed(self, unit: str, problem: Exception) -> None:
        if isinstance(problem, OSError) and problem.errno in _NO_ROOM:  # of this machine; the next unit fares no better
            raise problem
        reason = _told(problem)
        forget_unit(unit, self.left.leaves_of(unit), self.spool)
        self.journal.add(unit=unit, failed=reason, kind=_kind(problem))
        self.ledger.failed_units[unit] = reason
        ids = self.plan.objects["object_id"].take(pa.array(self.todo[unit])).to_pylist()
        self.ledger.failed_objects.update(dict.fromkeys(ids, _kind(problem)))
        if isinstance(problem, FormatError):
            self.distrusted.update(self.fetched.get(unit, {}))
            self._forget(unit)
        if isinstance(problem, DownloadError) and not isinstance(problem, (AbsentUpstreamError, DamagedError)):
            self.downloads_failed += 1
            if self.downloads_failed >= min(_GIVE_UP_AFTER, len(self.pending)):
                raise problem
        self._settled(unit, 0)

    def _settled(self, unit: str, rows: int) -> None:
        self.in_flight -= 1
        self.phase.advance(objects=rows)
        for leaf in self.left.leaves_of(unit):
            self.waiting_for[leaf].discard(unit)
            if not self.waiting_for[leaf]:
                self._write(leaf)

    # -- partitions ---------------------------------------------------------------------------------------------

    def _write(self, leaf: Partition) -> None:
        dataset = self.spec.folder / "dataset"
        low, high = leaf.span
        old = self.before.shards if self.before else []
        overlap = [s.partition.path for s in old if s.partition.span[0] < high and low < s.partition.span[1]]
        existing = [dataset / path for path in dict.fromkeys((leaf.path, *sorted(overlap)))]
        task = (
            self.spec.survey.name,
            self.spec.release.name,
            leaf,
            self.spool,
            existing,
            self.left.keep(leaf),
            dataset,
        )
        self._then(self.executor.submit(write_partition, *task), partial(self._written, leaf))

    def _written(self, leaf: Partition, future: Future[Written]) -> None:
        try:
            written = future.result()
        except WorkerDied:
            self.rewritten[leaf] += 1
            if self.rewritten[leaf] > _TRIES:
                raise
            self._write(leaf)
            return
        self.journal.add(shard=[leaf.order, leaf.pixel], written=astuple(written))
        self.left.take_shard(leaf, written)
        drop_spool(leaf, self.spool)
        for unit in [u for u in self.fetched if all(not self.waiting_for[at] for at in self.left.leaves_of(u))]:
            self._forget(unit)

    def _forget(self, unit: str) -> None:
        """Remove a unit's raw files once no other unit needs them; what was not as it should be also from a cache."""
        for path, got in self.fetched.pop(unit, {}).items():
            self.users[path] -= 1
            if got.owned and self.users[path] <= 0 and (path in self.distrusted or not self.spec.keep_raw):
                self.fetcher.discard(path)


def _get(fetcher: Fetcher, file: File) -> Fetched | None:
    try:
        return fetcher.get(file)
    except AbsentUpstreamError:
        if file.required:
            raise
        return None


def _told(problem: Exception) -> str:
    return str(problem) if isinstance(problem, MmuError) else f"{type(problem).__name__}: {problem}"


def _kind(problem: Exception) -> str:
    """The reason an object is counted under: few, so that they add up."""
    names = {
        AbsentUpstreamError: "absent upstream",
        DownloadError: "download failed",
        FormatError: "file not as the data model says",
    }
    for kind, words in names.items():
        if isinstance(problem, kind):
            return words
    return f"reading failed ({type(problem).__name__})"
