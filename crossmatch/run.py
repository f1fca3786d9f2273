"""Run a match part by part on an executor, every part journalled as it settles; the same command resumes."""

from __future__ import annotations

import os
import queue
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from crossmatch.association import FOLDER, Association, Member, facts_of, of_facts, read_facts
from crossmatch.finish import finish, joined
from crossmatch.plan import TILE_ROWS, Task, tasks, tiles
from crossmatch.rule import Rule
from crossmatch.sources import Source
from crossmatch.tile import Tile, match_tile
from mmu.build.executor import Executor, Inline, WorkerDied, open_executor
from mmu.build.files import writable, write_json
from mmu.build.hold import hold
from mmu.build.journal import Journal, read_journal
from mmu.build.progress import Progress
from mmu.errors import MmuError, UsageError
from mmu.sky.partition import Partition

THREADS_UP_TO_ROWS = 50_000_000
"""Matches of fewer records run in threads of this process: to start worker processes would take longer."""

_TRIES = 3


class Threads:
    """An executor of this process's threads: reading and searching let go of the interpreter."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._pool = ThreadPoolExecutor(slots)

    def submit(self, task: Callable[..., Any], *args: Any) -> Future[Any]:
        return self._pool.submit(task, *args)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Where:
    """Where a match runs; the result does not depend on it.

    `workers` are processes, 0 for this one alone; None chooses: threads for a small match, else a process a core.
    """

    workers: int | None = None
    scheduler: str | None = None
    tile_rows: int = TILE_ROWS

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 0:
            raise UsageError(f"--workers {self.workers}: give 0 (this process) or more.")

    def executor(self, rows: int) -> Executor:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if self.workers is None and self.scheduler is None and rows <= THREADS_UP_TO_ROWS:
            return Threads(cores) if cores > 1 else Inline()
        return open_executor(cores if self.workers is None else self.workers, self.scheduler)


def run_in_memory(rule: Rule, sources: Sequence[Source], where: Where, progress: Progress) -> Association:
    """Match, and keep the objects in memory."""
    done = _match(rule, sources, where, progress, None, {}, lambda tile: None)
    return joined(rule, [Member.of(source) for source in sources], done)


def run_on_disk(
    rule: Rule, sources: Sequence[Source], out: Path, where: Where, progress: Progress, renew: bool
) -> Association:
    """Match into `out`/association, or go on where an earlier run stopped; what is there already is not done again.

    Raises:
        UsageError: another match is there, or one of datasets that changed since and `renew` is not given.
        MmuError: parts of it failed; the others are kept, and the same call tries those again.
    """
    writable(out)
    folder, work = out / FOLDER, out / ".matching"
    members = [Member.of(source) for source in sources]
    identity = {"rule": facts_of(rule), "members": [asdict(member) for member in members]}
    with hold(out / ".matching.lock"):
        if (facts := read_facts(folder)) is not None:
            if same(facts, identity):
                return of_facts(folder, facts)
            if not renew:
                raise UsageError(_difference(facts, identity, out))
        started = work / "identity.json"
        if read_identity(started) != {**identity, "tile_rows": where.tile_rows}:
            shutil.rmtree(work, ignore_errors=True)
        write_json(started, {**identity, "tile_rows": where.tile_rows})
        dataset = work / FOLDER / "dataset"
        journal = Journal(work / "journal.jsonl")
        try:
            before = _settled(work / "journal.jsonl", dataset)
            done = _match(rule, sources, where, progress, dataset, before, lambda tile: journal.add(**tile.entry()))
        finally:
            journal.close()
        return finish(rule, sources, members, done, work / FOLDER, folder)


def same(facts: dict[str, Any], identity: dict[str, Any]) -> bool:
    return {name: facts[name] for name in identity} == identity


def read_identity(path: Path) -> dict[str, Any] | None:
    import json

    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def _difference(facts: dict[str, Any], identity: dict[str, Any], out: Path) -> str:
    """Why a match that is there is not the one asked for, in words."""
    old, new = ({member["name"]: member for member in one["members"]} for one in (facts, identity))
    changed = [name for name in new if name in old and old[name] != new[name]]
    if facts["rule"] == identity["rule"] and old.keys() == new.keys() and changed:
        return (
            f"{', '.join(changed)} changed since {out} was matched; give --renew to match again, or another --out to "
            "keep both."
        )
    rules = [key for key in identity["rule"] if facts["rule"].get(key) != identity["rule"][key]]
    what = ", ".join(f"{key} {facts['rule'].get(key)!r} there, {identity['rule'][key]!r} now" for key in rules)
    return f"{out} holds another match ({what}); give another --out, or --renew to replace it."


def _settled(journal: Path, dataset: Path) -> dict[Partition, Tile]:
    """Parts that an earlier run finished and whose shards are there, whole."""
    found = {}
    for entry in read_journal(journal):
        tile = Tile.of_entry(entry)
        path = dataset / tile.partition.path
        if tile.shard is None or (path.is_file() and path.stat().st_size == tile.shard.bytes):
            found[tile.partition] = tile
    return found


def _match(
    rule: Rule,
    sources: Sequence[Source],
    where: Where,
    progress: Progress,
    dataset: Path | None,
    before: dict[Partition, Tile],
    settled: Callable[[Tile], None],
) -> list[Tile]:
    """Match every part that is not settled; all of them, in the order of the sky."""
    leaves = tiles(rule, sources, where.tile_rows)
    done = {leaf: before[leaf] for leaf in leaves if leaf in before}
    todo = [leaf for leaf in leaves if leaf not in done]
    if todo:
        executor = where.executor(sum(source.rows for source in sources))
        try:
            with progress.phase("matching", "parts", len(todo)) as phase:

                def finished(tile: Tile | None) -> None:
                    phase.advance(objects=tile.rows if tile else 0)
                    if tile is not None:
                        done[tile.partition] = tile
                        settled(tile)

                Work(rule, dataset, executor, finished).run(tasks(rule, sources, todo))
        finally:
            executor.close()
    return [done[leaf] for leaf in leaves if leaf in done]


class Work:
    """Parts on their way: a few more than there are slots, so that nothing waits and the scheduler stays small."""

    def __init__(
        self, rule: Rule, dataset: Path | None, executor: Executor, finished: Callable[[Tile | None], None]
    ) -> None:
        self.rule, self.dataset, self.executor, self.finished = rule, dataset, executor, finished
        self.results: queue.Queue[tuple[Partition, Task, Future[Tile]]] = queue.Queue()
        self.busy = 0
        self.tries: Counter[Partition] = Counter()
        self.failed: list[tuple[Partition, Exception]] = []

    def run(self, todo: Iterator[tuple[Partition, Task | None]]) -> None:
        """Match all parts.

        Raises:
            MmuError: some failed, each of which was tried; the message has the first one's reason.
        """
        for leaf, task in todo:
            if task is None:
                self.finished(None)
                continue
            self._submit(leaf, task)
            while self.busy >= 2 * self.executor.slots:
                self._take()
        while self.busy:
            self._take()
        if self.failed:
            leaf, problem = self.failed[0]
            raise MmuError(
                f"{len(self.failed)} parts of the sky could not be matched (the first, HEALPix {leaf}: {problem}); "
                "the others are kept: mend it, and run the same command."
            ) from problem

    def _submit(self, leaf: Partition, task: Task) -> None:
        self.busy += 1
        future = self.executor.submit(match_tile, self.rule, task, self.dataset)
        future.add_done_callback(partial(self._done, leaf, task))

    def _done(self, leaf: Partition, task: Task, future: Future[Tile]) -> None:
        self.results.put((leaf, task, future))

    def _take(self) -> None:
        leaf, task, future = self.results.get()
        self.busy -= 1
        try:
            tile = future.result()
        except WorkerDied as problem:
            self.tries[leaf] += 1
            if self.tries[leaf] < _TRIES:
                self._submit(leaf, task)
            else:
                self.failed.append((leaf, problem))
        except (MmuError, OSError, MemoryError, ValueError, ArithmeticError) as problem:
            self.failed.append((leaf, problem))
        else:
            self.finished(tile)
