"""The stream: an iterable of batches that knows where it is, and can be taken up there again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from crossmatch.stream.arrays import Array
from crossmatch.stream.batch import Batch, Buffers
from crossmatch.stream.cache import Cache
from crossmatch.stream.choice import Choice
from crossmatch.stream.delivery import Delivery, Stats
from crossmatch.stream.filling import Filler, run
from crossmatch.stream.order import Done, Order
from crossmatch.stream.reading import Reader
from crossmatch.stream.runs import CHUNKS, OPEN, group_rows, runs
from crossmatch.stream.samples import Samples
from mmu.errors import MmuError, UsageError
from mmu.remote.ranges import fetched

_IN_ORDER = 4
"""Batches that are read at once where nothing is shuffled."""


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
        self._ordered: Order | None = None

    @cached_property
    def _buffers(self) -> Buffers:
        """Used again from epoch to epoch; workers have none to begin with."""
        device = self.delivery.device
        return Buffers(pinned=device is not None and device.startswith("cuda"))

    def __getstate__(self) -> dict[str, Any]:
        own = {name: value for name, value in self.__dict__.items() if name != "_buffers"}
        return own | {"_ordered": None}

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
        epoch = self.epoch if epoch is None else epoch
        if self._ordered is None or self._ordered.epoch != epoch:
            self._ordered = self._order(epoch)
        return self._ordered

    def _order(self, epoch: int) -> Order:
        d, batch = self.delivery, max(1, self.bytes_per_row * self.delivery.batch_size)
        group = max(1, d.pool_bytes // (2 * batch))
        group = group if d.seed is not None else min(group, _IN_ORDER)
        rows = self.choice(epoch)
        chunks, blocks = None, None
        if d.seed is not None:
            least = group * d.batch_size // CHUNKS
            chunks, blocks = runs(self.samples, self.arrays, self._group_rows, rows, least)
        return Order(rows, d.batch_size, group, chunks, blocks, OPEN, d.seed, epoch, d.rank, d.world_size, d.tail)

    @cached_property
    def _group_rows(self) -> list[int]:
        return [group_rows(side) for side in self.samples.sides]

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
            self.set_epoch(self.epoch + 1)

    def _made(self, order: Order, worker: int, workers: int) -> Iterator[Batch]:
        """The batches of this worker's groups that were not delivered before."""
        d = self.delivery
        chunk = order.group * d.batch_size // CHUNKS
        recent = [2 + (OPEN if rows > chunk else 0) for rows in self._group_rows]
        reader = Reader(self.samples.sides, self.arrays, self._cache, recent)
        threads = d.threads or _cores()
        filler = Filler(self.samples, reader, self._buffers, threads, d.pad, d.on_error == "skip")
        before = fetched() - self.stats.fetched
        for batch in run(filler, order.left(self._done, worker, workers), self._waited):
            self.stats.fetched = fetched() - before
            if d.most_fetched is not None and self.stats.fetched > d.most_fetched:
                raise MmuError(f"{self.stats.fetched:,} bytes were fetched, more than the {d.most_fetched:,} allowed.")
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
        self.set_epoch(self.epoch + 1)

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

    def set_epoch(self, epoch: int) -> None:
        """Which epoch is next, from its start; for a DataLoader of one's own, whose workers do not count them."""
        self.epoch, self._done = epoch, Done()

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
