"""Which samples are in which batch: a pure function of seed, epoch and rank, so any batch can be made alone.

    samples (in the order of the sky) -> chunks, shuffled -> a share for each rank -> groups of batches, shuffled inside

Chunks are what row groups hold of one dataset; they are shuffled within some blocks at a time, each as long as the
longest row groups, so that none of these is decoded for every chunk anew. A group is what is in memory at once. Inside
a batch, samples keep the order of the sky: both sides of pairs are then read and copied in runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mmu.errors import UsageError, unknown

TAILS = ("drop", "pad", "exact")
"""What happens to samples that do not fill a batch on every rank: left out; made up for by others taken twice; or
batches are made a little smaller, so that every sample comes exactly once."""

Samples = NDArray[np.int64]


@dataclass(frozen=True)
class Planned:
    """A batch to be: its number in the epoch, its samples, and how many of them at the end only fill it up."""

    index: int
    rows: Samples
    padding: int


@dataclass(frozen=True)
class Order:
    """The batches of one epoch on one rank.

    Args:
        samples: row numbers of the samples, in the order of the sky; a row may come several times.
        batch_size: samples of a batch, at most.
        group: batches of a group.
        chunks: where each run of samples begins that stays together when the order is shuffled.
        blocks: where each of the longer runs begins, of which `open_blocks` at a time have their chunks shuffled.
        seed: of the shuffle; None for the order of the sky.

    Raises:
        UsageError: the samples are too few for one batch on every rank.
    """

    samples: Samples
    batch_size: int
    group: int = 1
    chunks: Samples | None = None
    blocks: Samples | None = None
    open_blocks: int = 8
    seed: int | None = None
    epoch: int = 0
    rank: int = 0
    world_size: int = 1
    tail: str = "drop"

    def __post_init__(self) -> None:
        if self.tail not in TAILS:
            raise unknown("tail", self.tail, TAILS)
        if not 0 <= self.rank < self.world_size:
            raise UsageError(f"Rank {self.rank} of {self.world_size}: give a rank from 0 to {self.world_size - 1}.")
        if self.tail == "drop" and 0 < len(self.samples) < self.batch_size * self.world_size:
            raise UsageError(
                f"{len(self.samples)} samples do not give {self.world_size} ranks a batch of {self.batch_size} each; "
                "take a smaller batch_size, fewer ranks, or tail='pad' or 'exact'."
            )

    def __len__(self) -> int:
        """Batches, the same on every rank."""
        whole = self.batch_size * self.world_size
        return len(self.samples) // whole if self.tail == "drop" else -(-len(self.samples) // whole)

    @property
    def groups(self) -> int:
        return -(-len(self) // self.group)

    @property
    def dropped(self) -> int:
        """Samples left out, on all ranks together."""
        return len(self.samples) - len(self) * self.batch_size * self.world_size if self.tail == "drop" else 0

    def batches(self, group: int) -> list[Samples]:
        """The samples of the batches of a group, each in the order of the sky."""
        return [self._samples(places) for places in self._places(group)]

    def left(self, done: Done, worker: int = 0, workers: int = 1) -> Iterator[list[Planned]]:
        """For each group of one of several workers, the batches that were not delivered before."""
        for group in range(worker, self.groups, workers):
            numbered = enumerate(self._places(group), start=group * self.group)
            planned = [
                Planned(index, self._samples(places), int(np.count_nonzero(places >= len(self.samples))))
                for index, places in numbered
                if index not in done
            ]
            if planned:
                yield planned

    def _places(self, group: int) -> list[Samples]:
        """Where in the shuffled order the samples of each batch stand."""
        first, last = group * self.group, min((group + 1) * self.group, len(self))
        edges = self._edges(first, last)
        at = np.arange(edges[0], edges[-1])
        if self.seed is not None:
            at = _random(self.seed, self.epoch, self.rank, group).permutation(at)
        return [np.sort(piece) for piece in np.split(at, (edges - edges[0])[1:-1])]

    def _edges(self, first: int, last: int) -> Samples:
        """Where the batches first..last of this rank begin and end, counted over all ranks' batches."""
        number = self.rank * len(self) + np.arange(first, last + 1)
        if self.tail != "exact":
            return number * self.batch_size
        return (number * len(self.samples)) // (len(self) * self.world_size)

    def _samples(self, at: Samples) -> Samples:
        """What stands at some places once the chunks are shuffled; from the start again beyond the end."""
        at = at % len(self.samples)
        if self.seed is None:
            return self.samples[at]
        starts, first = self._shuffled
        place = np.searchsorted(first, at, side="right") - 1
        rows: Samples = self.samples[starts[place] + at - first[place]]
        return rows

    @cached_property
    def _shuffled(self) -> tuple[Samples, Samples]:
        """Where the chunks begin, in their shuffled order: among the samples, and in that order."""
        assert self.seed is not None
        random = _random(self.seed, self.epoch)
        starts = np.arange(len(self.samples)) if self.chunks is None else self.chunks
        sizes = np.diff(np.r_[starts, len(self.samples)])
        blocks = starts[:1] if self.blocks is None else self.blocks
        turn = random.permutation(len(blocks)) // self.open_blocks
        by = np.lexsort((random.random(len(starts)), turn[np.searchsorted(blocks, starts, side="right") - 1]))
        return starts[by], np.cumsum(sizes[by]) - sizes[by]


def _random(*seeds: int) -> np.random.Generator:
    return np.random.default_rng(seeds)


class Done:
    """Numbers of batches that were delivered, as few stretches; what a checkpoint keeps."""

    def __init__(self, stretches: Iterable[Sequence[int]] = ()) -> None:
        self.stretches = [(int(first), int(last)) for first, last in stretches]

    def __contains__(self, number: int) -> bool:
        return any(first <= number < last for first, last in self.stretches)

    def __len__(self) -> int:
        return sum(last - first for first, last in self.stretches)

    def __iter__(self) -> Iterator[list[int]]:
        return ([first, last] for first, last in self.stretches)

    def add(self, number: int) -> None:
        if number not in self:
            merged: list[tuple[int, int]] = []
            for first, last in sorted([*self.stretches, (number, number + 1)]):
                if merged and merged[-1][1] == first:
                    merged[-1] = (merged[-1][0], last)
                else:
                    merged.append((first, last))
            self.stretches = merged
