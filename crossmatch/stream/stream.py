"""The stream: an iterable of batches that knows where it is, and can be taken up there again."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmatch.ranges import fetched
from crossmatch.stream.arrays import Array
from crossmatch.stream.batch import Batch, Buffers
from crossmatch.stream.cache import Cache
from crossmatch.stream.choice import Choice
from crossmatch.stream.filling import Filler, run
from crossmatch.stream.order import Done, Order
from crossmatch.stream.reading import Reader, sizes
from crossmatch.stream.samples import Rows, Samples, Side
from mmu.errors import MmuError, UsageError, unknown

POLICIES = ("raise", "skip")
_CHUNKS, _OPEN = 8, 8
"""Chunks of a group of batches, at least; blocks of chunks that are shuffled together."""

_IN_ORDER = 4
"""Batches that are read at once where nothing is shuffled."""


@dataclass(frozen=True)
class Delivery:
    """How batches are made and handed over.

    Args:
        pool_bytes: of the batches that are in memory at once; what is shuffled together.
        threads: that decode; all cores by default.
        pad: fills ragged rows up to the longest of a batch.
        on_error: what a row group that cannot be read does: "raise", or "skip" its samples and count them.
        most_fetched: bytes that may be fetched over the network; more end the stream.
    """

    batch_size: int = 256
    seed: int | None = None
    tail: str = "drop"
    rank: int = 0
    world_size: int = 1
    pool_bytes: int = 1 << 30
    threads: int | None = None
    workers: int = 0
    pad: int | float | None = None
    device: str | None = None
    transform: Callable[[Batch], Any] | None = None
    on_error: str = "raise"
    most_fetched: int | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(f"batch_size={self.batch_size}: a batch has at least one row.")
        if self.on_error not in POLICIES:
            raise unknown("on_error", self.on_error, POLICIES)
        if self.workers < 0 or (self.threads is not None and self.threads < 1):
            raise UsageError(
                f"threads={self.threads}, workers={self.workers}: give 1 or more threads, 0 or more workers."
            )


@dataclass
class Stats:
    """What a stream did so far in this process.

    Attributes:
        bytes: of the arrays delivered; fetched: from elsewhere, over the network.
        waited: seconds for batches that were not ready, and `waits` those of the last ones each.
        skipped: why samples were left out -> how many.
    """

    batches: int = 0
    samples: int = 0
    bytes: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    waits: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))
    fetched: int = 0
    skipped: dict[str, int] = field(default_factory=dict)


class Stream:
    """Batches of matched rows, epoch after epoch; every iteration is one epoch, or what is left of it.

    Attributes:
        samples: what it goes over; choice: which of them an epoch takes.
        stats: what it did so far.
    """

    def __init__(
        self,
        samples: Samples,
        arrays: tuple[tuple[Array, ...], ...],
        delivery: Delivery,
        choice: Choice,
        cache: Cache | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.samples, self.arrays, self.delivery, self.choice = samples, arrays, delivery, choice
        self._cache, self._facts = cache, dict(facts or {})
        self.epoch, self._done, self.stats = 0, Done(), Stats()

    @cached_property
    def _buffers(self) -> Buffers:
        """Used again from epoch to epoch; workers have none to begin with."""
        device = self.delivery.device
        return Buffers(pinned=device is not None and device.startswith("cuda"))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_buffers"}

    @property
    def bytes_per_row(self) -> int:
        """Of all arrays of a sample."""
        return sum(array.bytes_per_row for arrays in self.arrays for array in arrays)

    @property
    def pool(self) -> int:
        """Bytes of the batches that are in memory at once: those being delivered, and those being filled."""
        order = self.order()
        return 2 * min(order.group, max(len(order), 1)) * self.delivery.batch_size * self.bytes_per_row

    def order(self, epoch: int | None = None) -> Order:
        """Which samples are in which batch of an epoch, on this rank."""
        d, batch = self.delivery, max(1, self.bytes_per_row * self.delivery.batch_size)
        group = max(1, d.pool_bytes // (2 * batch))
        group = group if d.seed is not None else min(group, _IN_ORDER)
        epoch = self.epoch if epoch is None else epoch
        rows = self.choice(epoch)
        chunks, blocks = self._runs(rows, group * d.batch_size // _CHUNKS) if d.seed is not None else (None, None)
        return Order(rows, d.batch_size, group, chunks, blocks, _OPEN, d.seed, epoch, d.rank, d.world_size, d.tail)

    def _runs(self, rows: Rows, least: int) -> tuple[Rows, Rows]:
        """Where the runs begin that are shuffled: as the row groups of the heaviest, and of the longest dataset do."""
        begins = [self._begins(side, rows) for side in range(len(self.samples.sides))]
        heaviest = int(np.argmax([sum(array.bytes_per_row for array in arrays) for arrays in self.arrays]))
        longest = int(np.argmin([np.count_nonzero(one) for one in begins]))
        chunks = _spaced(np.flatnonzero(begins[heaviest]), least)
        return chunks, chunks[np.searchsorted(chunks, _spaced(np.flatnonzero(begins[longest]), 8 * least), "right") - 1]

    def _begins(self, side: int, rows: Rows) -> NDArray[np.bool_]:
        """True for samples of another row group than the one before; row groups are taken to be of one size."""
        leaf, group = self.samples.leaf[side, rows], self.samples.row[side, rows] // self.group_rows[side]
        has = np.flatnonzero(leaf >= 0)
        out = np.zeros(len(rows), bool)
        out[has[1:]] = (np.diff(leaf[has]) != 0) | (np.diff(group[has]) != 0)
        out[:1] = True
        return out

    @cached_property
    def group_rows(self) -> list[int]:
        """Rows of each dataset's row groups, by its first file."""
        return [max(1, _group_rows(side)) for side in self.samples.sides]

    def __len__(self) -> int:
        """Batches of an epoch, on every rank."""
        return len(self.order())

    def __iter__(self) -> Iterator[Any]:
        worker, workers = _worker()
        if worker is None and self.delivery.workers:
            yield from self._from_workers()
            return
        order, to_device = self.order(), self._to_device(worker is not None)
        started = time.perf_counter()
        for batch in self._made(order, worker or 0, workers):
            self._count(batch, started)
            yield self._handed(batch, to_device)
            started = time.perf_counter()
        if worker is None:
            self._next_epoch()

    def _made(self, order: Order, worker: int, workers: int) -> Iterator[Batch]:
        """The batches of this worker's groups that were not delivered before."""
        d = self.delivery
        recent = [2 + (_OPEN if rows > order.group * d.batch_size // _CHUNKS else 0) for rows in self.group_rows]
        reader = Reader(self.samples.sides, self.arrays, self._cache, recent)
        threads = d.threads or (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        )
        filler = Filler(self.samples, reader, self._buffers, threads, d.pad, d.on_error == "skip")

        def groups() -> Iterator[list[tuple[int, Rows]]]:
            for number in range(worker, order.groups, workers):
                first = number * order.group
                left = [
                    (first + i, rows) for i, rows in enumerate(order.batches(number)) if first + i not in self._done
                ]
                if left:
                    yield left

        before = fetched() - self.stats.fetched
        for batch in run(filler, groups(), self._waited):
            self.stats.fetched = fetched() - before
            if d.most_fetched is not None and self.stats.fetched > d.most_fetched:
                raise MmuError(f"{self.stats.fetched:,} bytes were fetched, more than the {d.most_fetched:,} allowed.")
            short = order.samples.size - (d.rank * len(order) + batch.index) * d.batch_size
            batch.padding = max(0, min(batch.size, batch.size - short)) if d.tail == "pad" else 0
            self.stats.skipped = filler.skipped
            yield batch

    def _from_workers(self) -> Iterator[Any]:
        from torch.utils.data import DataLoader

        made: Any = self
        loader: Any = DataLoader(made, batch_size=None, num_workers=self.delivery.workers)
        started = time.perf_counter()
        for batch in loader:
            self._count(batch, started)
            yield batch
            started = time.perf_counter()
        self._next_epoch()

    def _waited(self, seconds: float) -> None:
        self.stats.waited += seconds
        self.stats.waits.append(seconds)

    def _count(self, batch: Batch, started: float) -> None:
        self._done.add(batch.index)
        self.stats.batches += 1
        self.stats.samples += batch.size
        self.stats.bytes += batch.size * self.bytes_per_row
        self.stats.seconds += time.perf_counter() - started

    def _handed(self, batch: Batch, to_device: Callable[[Batch], Batch] | None) -> Any:
        batch = batch if to_device is None else to_device(batch)
        return batch if self.delivery.transform is None else self.delivery.transform(batch)

    def _to_device(self, in_worker: bool) -> Callable[[Batch], Batch] | None:
        """Workers hand tensors over in shared memory; the GPU is the main process's."""
        device = "cpu" if in_worker else self.delivery.device
        if device is None:
            return None
        from crossmatch.stream.tensors import Device

        return Device(device, self.arrays, [side.name for side in self.samples.sides])

    def _next_epoch(self) -> None:
        self.epoch, self._done = self.epoch + 1, Done()

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is: which batches of the epoch were delivered. Plain numbers and texts."""
        return {"identity": self._identity(), "epoch": self.epoch, "done": list(self._done)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another stream was, also one with another number of workers or threads.

        Raises:
            UsageError: it went over other samples, or made other batches of them.
        """
        mine, other = self._identity(), state["identity"]
        for name in mine:
            if mine[name] != other.get(name):
                raise UsageError(
                    f"This checkpoint is of another stream: {name} was {other.get(name)!r}, and is {mine[name]!r}; "
                    "make the stream as it was, or begin the epoch anew."
                )
        self.epoch, self._done = int(state["epoch"]), Done(state["done"])

    def _identity(self) -> dict[str, Any]:
        d, order = self.delivery, self.order(0)
        return {
            "datasets": {side.name: side.fingerprint for side in self.samples.sides},
            "samples": len(self.samples),
            **{name: getattr(d, name) for name in ("batch_size", "seed", "tail", "rank", "world_size")},
            "group": order.group,
            **self._facts,
        }

    def __repr__(self) -> str:
        names = " x ".join(side.name for side in self.samples.sides)
        batches = f"{len(self)} batches of {self.delivery.batch_size}"
        return f"<stream of {names}: {len(self.samples):,} samples, {batches}, {self.bytes_per_row:,} bytes a sample>"


def _group_rows(side: Side) -> int:
    """Rows of the largest row group of the first file that can be read."""
    for places in side.files:
        try:
            return int(sizes(places[0]).max(initial=1))
        except MmuError:
            continue  # whoever asks for its rows is told
    return 1


def _spaced(starts: Rows, least: int) -> Rows:
    """Some of the starts, mostly at least so far apart."""
    return starts[np.diff(starts // max(least, 1), prepend=-1) > 0]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _worker() -> tuple[int | None, int]:
    """Which of how many DataLoader workers this process is; None where it is none."""
    import sys

    if "torch" not in sys.modules:
        return None, 1
    from torch.utils.data import get_worker_info

    info = get_worker_info()
    return (None, 1) if info is None else (info.id, info.num_workers)
