"""Batches on their way: threads decode row groups and copy them to where they belong, ahead of the consumer."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from crossmatch.stream.batch import Batch, Buffers, Column, Text, column_for
from crossmatch.stream.order import Planned
from crossmatch.stream.reading import ID, Group, Reader
from crossmatch.stream.samples import Rows, Samples
from mmu.errors import MmuError


@dataclass
class Filling:
    """A batch that is being filled."""

    planned: Planned
    columns: list[dict[str, Column]]
    texts: list[dict[str, Text]]
    left: int = 0
    ready: threading.Event = field(default_factory=threading.Event)
    problem: BaseException | None = None
    lost: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def settle(self, problem: BaseException | None = None) -> None:
        """One of its row groups is done."""
        with self.lock:
            self.problem = self.problem or problem
            self.left -= 1
            if not self.left or self.problem:
                self.ready.set()


@dataclass
class Job:
    """What one row group gives to the batches of a group: to which, to which of their rows, from which of its."""

    group: Group
    parts: list[tuple[Filling, Rows, Rows]] = field(default_factory=list)


class Filler:
    """Fills groups of batches in threads.

    Args:
        skip: a row group that cannot be read costs the samples in it, which are counted, and not the stream.
    """

    def __init__(
        self, samples: Samples, reader: Reader, buffers: Buffers, threads: int, pad: int | float | None, skip: bool
    ) -> None:
        self.samples, self.reader, self.pad, self.skip = samples, reader, pad, skip
        self.buffers = buffers
        self.skipped: dict[str, int] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="mmu-stream")

    def start(self, batches: Iterable[Planned]) -> deque[Filling]:
        """Begin to fill batches; those that come first are ready first."""
        fillings, jobs = deque[Filling](), dict[Group, Job]()
        for planned in batches:
            filling = self._filling(planned)
            fillings.append(filling)
            for group, slots, local in self._places(filling):
                jobs.setdefault(group, Job(group)).parts.append((filling, slots, local))
                filling.left += 1
            if not filling.left:
                filling.ready.set()
        for job in jobs.values():
            self._pool.submit(self._do, job)
        return fillings

    def _places(self, filling: Filling) -> Iterator[tuple[Group, Rows, Rows]]:
        """The row groups that a batch needs: to which of its rows each gives something, and from which of its own."""
        for side in range(len(self.samples.sides)):
            leaf, row = self.samples.leaf[side, filling.planned.rows], self.samples.row[side, filling.planned.rows]
            for one in np.unique(leaf[leaf >= 0]).tolist():
                at = np.flatnonzero(leaf == one)
                try:
                    found = list(self.reader.where(side, one, row[at]))
                except MmuError as problem:
                    if not self.skip:
                        raise
                    self._lose(filling, at, problem)
                    continue
                yield from ((group, at[mine], local) for group, mine, local in found)

    def _filling(self, planned: Planned) -> Filling:
        columns, texts, rows = [], [], planned.rows
        for side, arrays in enumerate(self.reader.arrays):
            absent = np.flatnonzero(self.samples.leaf[side, rows] < 0)
            numbers = [array for array in arrays if array.dtype != "text"]
            columns.append(
                {array.name: column_for(array, len(rows), absent, self.buffers, self.pad) for array in numbers}
            )
            texts.append({array.name: Text(len(rows)) for array in (*arrays, ID) if array.dtype == "text"})
        return Filling(planned, columns, texts)

    def _do(self, job: Job) -> None:
        try:
            blocks = self.reader.blocks(job.group)
            for name, block in blocks.items():
                if block.text is None:
                    for filling, slots, rows in job.parts:
                        filling.columns[job.group.side][name].take(slots, block, rows)
                else:
                    self._put(job, name, block.text)
        except BaseException as problem:  # noqa: BLE001  the consumer raises it, or counts what it cost
            self._failed(job, problem)
            return
        for filling, _, _ in job.parts:
            filling.settle()

    def _put(self, job: Job, name: str, text: pa.Array) -> None:
        """Strings, taken for all batches at once."""
        taken, first = text.take(pa.array(np.concatenate([rows for _, _, rows in job.parts]))), 0
        for filling, slots, _ in job.parts:
            filling.texts[job.group.side][name].put(slots, taken.slice(first, len(slots)))
            first += len(slots)

    def _failed(self, job: Job, problem: BaseException) -> None:
        skip = self.skip and isinstance(problem, MmuError)
        for filling, slots, _ in job.parts:
            if skip:
                self._lose(filling, slots, problem)
            filling.settle(None if skip else problem)

    def _lose(self, filling: Filling, slots: Rows, problem: BaseException) -> None:
        """Count the samples that a row group cost, those of them that no other cost before."""
        with self._lock:
            new = set(slots.tolist()) - filling.lost
            filling.lost |= new
            self.skipped[str(problem)] = self.skipped.get(str(problem), 0) + len(new)

    def wait(self, filling: Filling) -> Batch:
        """A batch, when all its row groups are done.

        Raises:
            FormatError: one cannot be read.
        """
        filling.ready.wait()
        if filling.problem is not None:
            raise filling.problem
        return self._batch(filling)

    def _batch(self, filling: Filling) -> Batch:
        samples, rows = self.samples, filling.planned.rows
        names = [side.name for side in samples.sides]
        keep: Any = slice(None)
        padding = filling.planned.padding
        if filling.lost:
            keep = np.setdiff1d(np.arange(len(rows)), np.array(sorted(filling.lost)))
            padding = int(np.count_nonzero(keep >= len(rows) - padding))
        sides: dict[str, dict[str, Any]] = {}
        ids, bands = {}, {}
        for name, arrays, columns, texts in zip(names, self.reader.arrays, filling.columns, filling.texts, strict=True):
            sides[name] = {}
            for array in arrays:
                column = columns.get(array.name) or texts[array.name]
                for key, value in column.finished().items():
                    sides[name][array.name + key] = _kept(value, keep)
            identity = texts[ID.name].arrow()
            ids[name] = identity if isinstance(keep, slice) else identity.take(pa.array(keep))
            bands[name] = {array.name: array.bands for array in arrays if array.bands}
        return Batch(
            filling.planned.index,
            sides,
            {name: samples.leaf[side, rows][keep] >= 0 for side, name in enumerate(names)},
            {name: samples.separation[side, rows][keep] for side, name in enumerate(names)},
            bands,
            padding,
            ids,
        )

    def close(self) -> None:
        """Leave what is not begun; wait for what is."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _kept(value: Any, keep: Any) -> Any:
    """The rows of an array, or of ragged ones, that were not lost."""
    if isinstance(keep, slice):
        return value
    if not isinstance(value, tuple):
        return value[keep]
    values, offsets = value
    pieces = [values[offsets[row] : offsets[row + 1]] for row in keep]
    lengths = np.diff(offsets)[keep]
    return np.concatenate([*pieces, values[:0]]), np.r_[0, np.cumsum(lengths)]


def run(filler: Filler, groups: Iterator[list[Planned]], waited: Callable[[float], None]) -> Iterator[Batch]:
    """Batches in order; while those of one group are taken, the next group is filled."""
    ahead: deque[deque[Filling]] = deque()
    try:
        for group in groups:
            ahead.append(filler.start(group))
            if len(ahead) > 1:
                break
        while ahead:
            current = ahead.popleft()
            while current:
                started = time.perf_counter()
                batch = filler.wait(current.popleft())
                waited(time.perf_counter() - started)
                yield batch
                del batch
            for group in groups:
                ahead.append(filler.start(group))
                break
    finally:
        filler.close()
