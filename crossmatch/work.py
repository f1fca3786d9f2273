"""Where parts of a match run, and how they are handed out: threads, processes, or a Dask cluster."""

from __future__ import annotations

import os
import queue
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mmu.build.executor import Executor, Inline, WorkerDied, open_executor
from mmu.errors import MmuError, UsageError
from mmu.sky.partition import Partition

THREADS_UP_TO_ROWS = 50_000_000
"""Matches of fewer records run in threads of this process: to start worker processes would take longer."""

TILE_ROWS = 1_000_000
"""Records of all datasets together in one part: what a worker holds, some 200 bytes each."""

_TRIES = 3

Result = TypeVar("Result")


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
        """The executor for a job that reads so many records."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if self.workers is None and self.scheduler is None and rows <= THREADS_UP_TO_ROWS:
            return Threads(cores) if cores > 1 else Inline()
        return open_executor(cores if self.workers is None else self.workers, self.scheduler)


class Work(Generic[Result]):
    """Parts on their way: a few more than there are slots, so that nothing waits and the scheduler stays small.

    Args:
        task: what is done for each part; runs in a worker.
        finished: takes each result here, or None for a part that needs nothing done.
    """

    def __init__(
        self, task: Callable[..., Result], executor: Executor, finished: Callable[[Result | None], None]
    ) -> None:
        self.task, self.executor, self.finished = task, executor, finished
        self.results: queue.Queue[tuple[Partition, tuple[Any, ...], Future[Result]]] = queue.Queue()
        self.busy = 0
        self.tries: Counter[Partition] = Counter()
        self.failed: list[tuple[Partition, Exception]] = []

    def run(self, todo: Iterator[tuple[Partition, tuple[Any, ...] | None]]) -> None:
        """Do the task for each part and its arguments; None for arguments if there is nothing to do.

        Raises:
            MmuError: some parts failed; all the others were done. The message has the first one's reason.
        """
        for leaf, args in todo:
            if args is None:
                self.finished(None)
                continue
            self._submit(leaf, args)
            while self.busy >= 2 * self.executor.slots:
                self._take()
        while self.busy:
            self._take()
        if self.failed:
            leaf, problem = self.failed[0]
            raise MmuError(
                f"{len(self.failed)} parts of the sky could not be done (the first, HEALPix {leaf}: {problem}); the "
                "others are kept: mend it, and run the same command."
            ) from problem

    def _submit(self, leaf: Partition, args: tuple[Any, ...]) -> None:
        self.busy += 1
        future = self.executor.submit(self.task, *args)
        future.add_done_callback(lambda done: self.results.put((leaf, args, done)))

    def _take(self) -> None:
        leaf, args, future = self.results.get()
        self.busy -= 1
        try:
            result = future.result()
        except WorkerDied as problem:
            self.tries[leaf] += 1
            if self.tries[leaf] < _TRIES:
                self._submit(leaf, args)
            else:
                self.failed.append((leaf, problem))
        except (MmuError, OSError, MemoryError, ValueError, ArithmeticError) as problem:
            self.failed.append((leaf, problem))
        else:
            self.finished(result)
