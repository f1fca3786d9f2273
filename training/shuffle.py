"""Which object is global sample number n: a pure function of the seed and n, of which only a window is in memory.

    Mixture(counts, seed).draws(n)        -> which source, and the how-manieth draw from it
    Shuffled(sizes, seed).places(draws)   -> which time over the source, which of its row groups, which row of that

A source is gone over whole before any of its objects comes again. Its row groups are shuffled each time; so are the
rows of some of them that follow one another, which are in memory together: a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.draws import bits, streams

Numbers = NDArray[np.int64]
BLOCK = 1 << 14
"""Samples that hold each source as often as any other such block: weights are kept to one part in so many."""


def permutation(count: int, *of: int) -> Numbers:
    """An order of so many things, a function of these numbers."""
    start = streams(of[0], of[1] if len(of) > 1 else 0, np.array([of[2] if len(of) > 2 else 0]))
    return np.argsort(bits(start, np.arange(count)), kind="stable")


def shares(weights: Sequence[float], total: int = BLOCK) -> Numbers:
    """Whole numbers in proportion to weights, of the sum `total`; at least one for each weight that is not 0."""
    exact = np.asarray(weights, np.float64) / np.sum(weights) * total
    out = np.where(exact > 0, np.maximum(np.floor(exact), 1), 0).astype(np.int64)
    for _ in range(abs(total - int(out.sum()))):
        step = 1 if out.sum() < total else -1
        free = (exact > 0) & (out + step > 0)
        out[np.argmax(np.where(free, (exact - out) * step, -np.inf))] += step
    return out


class Mixture:
    """Several sources, each a fixed number of times in every block of samples, in an order of the block's own.

    Args:
        counts: of each source in a block.
    """

    def __init__(self, counts: Numbers, seed: int) -> None:
        self.counts, self.seed, self.block = counts, seed, int(counts.sum())
        self._sources = np.repeat(np.arange(len(counts)), counts)
        self._within = np.concatenate([np.arange(count) for count in counts])
        self._mixed = lru_cache(4)(self._of)

    def draws(self, numbers: Numbers) -> tuple[Numbers, Numbers]:
        """The source of each sample, and how many draws from it came before."""
        blocks = numbers // self.block
        source, within = np.empty((2, len(numbers)), np.int64)
        for block in np.unique(blocks).tolist():
            mine = blocks == block
            source[mine], within[mine] = self._mixed(block)[:, numbers[mine] - block * self.block]
        return source, blocks * self.counts[source] + within

    def _of(self, block: int) -> Numbers:
        """(2, samples) of a block: which source, and how many draws from it came before in the block."""
        source = self._sources[permutation(self.block, self.seed, block)]
        within = np.empty_like(source)
        within[np.argsort(source, kind="stable")] = self._within
        return np.stack([source, within])


class Places(NamedTuple):
    """Which time over a source, which row group, which of the rows that count there."""

    epoch: Numbers
    group: Numbers
    row: Numbers


class _Epoch(NamedTuple):
    """Row groups in their order, where each begins in it, where windows begin; and the end."""

    order: Numbers
    begins: Numbers
    windows: Numbers


class Shuffled:
    """The order of a source.

    Args:
        sizes: rows of its row groups.
        window: rows that are shuffled among themselves, but for the last row group of them.
    """

    def __init__(self, sizes: Sequence[int], seed: int, window: int) -> None:
        self.sizes, self.seed, self.window = np.asarray(sizes, np.int64), seed, window
        self.count = int(self.sizes.sum())
        self._epoch = lru_cache(2)(self._begun)
        self._rows = lru_cache(4)(self._shuffled)

    def places(self, draws: Numbers) -> Places:
        """Of the draws of a source."""
        epochs = draws // self.count
        group, row = np.empty(len(draws), np.int64), np.empty(len(draws), np.int64)
        for epoch in np.unique(epochs).tolist():
            mine = epochs == epoch
            group[mine], row[mine] = self._of(epoch, draws[mine] - epoch * self.count)
        return Places(epochs, group, row)

    def _of(self, epoch: int, draws: Numbers) -> tuple[Numbers, Numbers]:
        made = self._epoch(epoch)
        window = np.searchsorted(made.windows, draws, "right") - 1
        at = np.empty(len(draws), np.int64)
        for number in np.unique(window).tolist():
            mine, first = window == number, made.windows[number]
            at[mine] = first + self._rows(epoch, number)[draws[mine] - first]
        group = np.searchsorted(made.begins, at, "right") - 1
        return made.order[group], at - made.begins[group]

    def _begun(self, epoch: int) -> _Epoch:
        order = permutation(len(self.sizes), self.seed, epoch)
        order = order[self.sizes[order] > 0]
        ends = np.cumsum(self.sizes[order])
        begins = ends - self.sizes[order]
        first = np.flatnonzero(np.diff(begins // self.window, prepend=-1))
        return _Epoch(order, begins, np.append(begins[first], self.count))

    def _shuffled(self, epoch: int, window: int) -> Numbers:
        windows = self._epoch(epoch).windows
        return permutation(int(windows[window + 1] - windows[window]), self.seed, epoch, window + 1)
