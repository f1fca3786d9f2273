"""Batches for a trainer: which objects, in which order, masked; made ahead in a thread.

    sources = [Shards(folder, split="train") for folder in folders]
    loader = Loader(sources, Masking(), batch_size=8192, seed=0, rank=rank, world=world, slices=4, device="cuda")
    for step in loader:                      endless; step.batches are the 4 slices of this rank
        ...
    loader.state_dict()                      how many samples were delivered: nothing else is to be known

Sample n is the same object with the same masks for every number of ranks, slices and threads. Slice i of a step is the
i-th stretch of its global batch; a rank has those of its samples whose number in it is the rank modulo the ranks.
"""

from __future__ import annotations

import itertools
import time
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmu.errors import UsageError, unknown
from training.masking import Masking
from training.modalities import MODALITIES
from training.ragged import Batch
from training.shuffle import Mixture, Shuffled, shares
from training.sources import Kept, Source, same_codecs
from training.token_shards import ABSENT

Numbers = NDArray[np.int64]
Tokens = dict[str, NDArray[np.int16]]
WINDOW = 1 << 17
"""Objects of a source that are shuffled among themselves; of smaller sources, all."""
CACHE_BYTES = 4 << 30


@dataclass(frozen=True)
class Step:
    """One global batch, as a rank has it.

    Attributes:
        first: number of its first sample; samples: how many it has, on all ranks together.
        batches: its slices, one after another.
        skipped: samples of this rank that have not enough tokens to mask.
        seconds: it took to make, in the background.
    """

    first: int
    samples: int
    batches: tuple[Batch, ...]
    skipped: int
    seconds: float


class Loader:
    """Endless steps over a mixture of sources.

    Args:
        batch_size: samples of a step, over all ranks and slices.
        weights: source -> how often its objects come, in proportion, never if it is not named; by default as many as
            it has.
        slices: of a step, whose gradients are summed.
        device: where batches go; from pinned memory to a GPU.
        ahead: steps that are made before they are asked for.
        window: objects of a source that are shuffled among themselves.
        cache_bytes: of row groups that are kept in memory; if that is all of them, each is read once.

    Raises:
        UsageError: no objects; unknown weights; sources of different codecs; a batch that does not divide.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        masking: Masking,
        *,
        batch_size: int,
        seed: int,
        weights: Mapping[str, float] | None = None,
        rank: int = 0,
        world: int = 1,
        slices: int = 1,
        device: str | None = None,
        ahead: int = 2,
        window: int = WINDOW,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        if batch_size < 1 or batch_size % (world * slices):
            raise UsageError(f"batch_size={batch_size}: give a multiple of {world} ranks x {slices} slices.")
        self.sources = [source for source in sources if sum(source.sizes)]
        self.weights = _weights(self.sources, weights)
        self.codecs = same_codecs(self.sources)
        self.masking, self.seed, self.batch_size = masking, seed, batch_size
        self.rank, self.world, self.slices, self.device, self.ahead = rank, world, slices, device, ahead
        self.keys = tuple(key for key in MODALITIES if any(key in source.keys for source in self.sources))
        self.samples = 0
        self.waited = 0.0
        self._mixture = Mixture(shares(list(self.weights.values())), seed)
        self.window = window
        windows = [min(source.window or window, window) for source in self.sources]
        self._orders = [Shuffled(s.sizes, _seed(seed, s.name), w) for s, w in zip(self.sources, windows, strict=True)]
        self._kept = Kept(_enough(self.sources, window, cache_bytes))

    @property
    def objects(self) -> dict[str, int]:
        """Source -> its objects."""
        return {source.name: sum(source.sizes) for source in self.sources}

    def tokens(self, numbers: Numbers) -> Tokens:
        """Tokens of samples by their global numbers: key -> ids (samples, tokens), `ABSENT` where there are none."""
        out = {key: np.full((len(numbers), MODALITIES[key].tokens), ABSENT, np.int16) for key in self.keys}
        which, draws = self._mixture.draws(np.asarray(numbers, np.int64))
        for number in np.unique(which).tolist():
            mine = np.flatnonzero(which == number)
            source = self.sources[number]
            block = source.take(self._orders[number].places(draws[mine]), self._kept)
            ends = np.cumsum([MODALITIES[key].tokens for key in source.keys]).tolist()
            for key, first, last in zip(source.keys, [0, *ends], ends, strict=False):
                out[key][mine] = block[:, first:last]
        return out

    def step(self, first: int) -> Step:
        """The step that begins with a sample, on this rank; a pure function of it."""
        started = time.perf_counter()
        length = self.batch_size // self.slices
        made, skipped = [], 0
        for begin in range(first, first + self.batch_size, length):
            numbers = np.arange(begin, begin + length)
            numbers = numbers[(numbers - begin) % self.world == self.rank]
            masked = self.masking.masked(self.tokens(numbers), numbers, self.seed)
            made.append(masked.batch if self.device is None or self.device == "cpu" else masked.batch.pin())
            skipped += masked.skipped
        return Step(first, self.batch_size, tuple(made), skipped, time.perf_counter() - started)

    def __iter__(self) -> Iterator[Step]:
        """Steps from where the loader is, without end."""
        pool = ThreadPoolExecutor(1, thread_name_prefix="loader")
        coming: deque[Future[Step]] = deque()
        firsts = itertools.count(self.samples, self.batch_size)
        try:
            while True:
                while len(coming) <= self.ahead:
                    coming.append(pool.submit(self.step, next(firsts)))
                started = time.perf_counter()
                step = coming.popleft().result()
                self.waited += time.perf_counter() - started
                self.samples = step.first + step.samples
                yield self._handed(step)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _handed(self, step: Step) -> Step:
        if self.device is None:
            return step
        moved = tuple(batch.to(self.device) for batch in step.batches)
        return Step(step.first, step.samples, moved, step.skipped, step.seconds)

    def wait(self) -> float:
        """Seconds that steps were waited for."""
        return self.waited

    def passes(self) -> dict[str, float]:
        """Source -> how often it was gone over, up to here."""
        blocks, rest = divmod(self.samples, self._mixture.block)
        which, _ = self._mixture.draws(np.arange(self.samples - rest, self.samples))
        drawn = blocks * self._mixture.counts + np.bincount(which, minlength=len(self.sources))
        return {s.name: float(n) / sum(s.sizes) for s, n in zip(self.sources, drawn, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is, and of what; plain numbers and texts."""
        return {"samples": self.samples, "identity": self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there; the batch size, ranks and slices may be others.

        Raises:
            UsageError: it is of other sources, or another order.
        """
        mine, other = self._identity(), state["identity"]
        for name, value in mine.items():
            if other.get(name) != value:
                raise UsageError(
                    f"This checkpoint is of other samples: {name} was {other.get(name)!r}, and is {value!r}; give what "
                    "it was trained on, or begin anew."
                )
        self.samples = int(state["samples"])

    def _identity(self) -> dict[str, Any]:
        return {"seed": self.seed, "objects": self.objects, "weights": dict(self.weights), "window": self.window}


def _seed(seed: int, name: str) -> int:
    """Of a source's order, which does not change as others come or go."""
    return seed ^ zlib.crc32(name.encode()) << 32


def _weights(sources: Sequence[Source], weights: Mapping[str, float] | None) -> dict[str, float]:
    """Of each source, its weight."""
    names = [source.name for source in sources]
    if not names:
        raise UsageError("There are no objects to train on: no tokens, or none in this split of the sky.")
    if len(set(names)) < len(names):
        raise UsageError(f"Two sources have one name ({', '.join(sorted(names))}); rename a folder.")
    for name in weights or ():
        if name not in names:
            raise unknown("source of tokens", name, names)
    asked = weights or {source.name: sum(source.sizes) for source in sources}
    found = {name: float(asked.get(name, 0)) for name in names}
    if any(value < 0 for value in found.values()) or not sum(found.values()):
        raise UsageError(f"weights={dict(weights or {})}: give positive numbers.")
    return found


def _enough(sources: Sequence[Source], window: int, cache_bytes: int) -> int:
    """The bytes that may be kept, if a window of each source fits in them."""
    need = sum(min(sum(s.sizes), window + max(s.sizes)) * s.kept_bytes for s in sources)
    if need > cache_bytes:
        raise UsageError(
            f"{window:,} objects of each source in memory take {need / 2**30:.1f} GiB, more than the "
            f"{cache_bytes / 2**30:.1f} GiB allowed; give a smaller window, or more cache_bytes."
        )
    return cache_bytes
