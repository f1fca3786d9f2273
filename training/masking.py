"""Which tokens of an object are given to a model, and which are asked of it.

    masking = Masking(inputs=256, targets=128, target_counts=("beta", 0.1, 1))
    made = masking.masked(tokens, indices, seed=0, epoch=3)     a batch of those objects that have tokens for both

As AION-1 has it (paper, section on masking): one modality leads, with a number of its tokens that is uniform from 1 up
to the budget; tokens of the others, all equally likely, fill the rest. The same again for targets, from what was not
given. The masks of an object are a function of the seed, the epoch and its global number: nothing else in its batch,
nor how many processes there are, changes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmu.errors import UsageError
from training.columns import Columns, Selected, cells, lay_out
from training.draws import Beta, Bits, below, bits, streams, uniform
from training.ragged import Batch, batch
from training.recipes import Counts
from training.spans import spanned

Tokens = Mapping[str, NDArray[np.int16]]
"""Key -> ids (objects, tokens), ABSENT (-1) where there are none; sequences have theirs at the end."""
Numbers = NDArray[np.int64]
Grid = NDArray[np.bool_]
Halves = NDArray[np.uint32]

LEAD, LEAD_COUNT, TARGET_LEAD, TARGET_LEAD_COUNT, TARGET_SHARE, INPUT_SHARE = range(6)
CELLS, HIDDEN = 64, 1 << 40
"""Numbers of an object's stream; those of its tokens follow at `CELLS`, by row of the table and place; those of its
modalities at `HIDDEN`, by row."""
_BYTES = 1 << 20
"""Of one array of keys: so many objects at a time stay in a processor's cache."""
_OTHERS = np.uint32(1 << 31)


class Masked(NamedTuple):
    """A batch; the places, among the objects that it was asked of, of those in it; how many others there were."""

    batch: Batch
    kept: Numbers
    skipped: int


class Budgets:
    """Tokens that objects may have: always the same, or a random share of it.

    Args:
        most: tokens. counts: see `Masking`. what: number of an object's stream.

    Raises:
        UsageError: counts that are neither.
    """

    def __init__(self, most: int, counts: Counts, what: int) -> None:
        if counts != "full" and not (len(counts) == 3 and counts[0] == "beta"):
            raise UsageError(f"Counts {counts!r}: give 'full', or ('beta', a, b).")
        self.most, self.what = most, what
        self.share = None if counts == "full" else Beta(*counts[1:])

    def __call__(self, own: Bits) -> Numbers:
        """(objects,), at least 1."""
        if self.share is None:
            return np.full(len(own), self.most)
        shares = self.share(uniform(bits(own, self.what)))
        return np.maximum(1, np.rint(shares * self.most).astype(np.int64))


@dataclass(frozen=True)
class Masking:
    """How many tokens of an object are given and asked for.

    An object with fewer tokens than both budgets together has them shared out in the budgets' proportion, so that there
    is something to ask about small objects too.

    Attributes:
        inputs, targets: budgets of an object, in tokens; sentinels and ends of sequences count.
        input_counts, target_counts: "full", as many as the budget lets be; ("beta", a, b), a random share of it, at
            least one.
        hidden: chance of a modality, unless it leads, that nothing of it is given; a model that is to tell of objects
            with an image alone must have seen such.
        keys: modalities that are looked at; all that there are if left out.

    Raises:
        UsageError: a budget below 2, or counts that are none of these.
    """

    inputs: int = 256
    targets: int = 128
    input_counts: Counts = "full"
    target_counts: Counts = "full"
    hidden: float = 0.0
    keys: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if min(self.inputs, self.targets) < 2:
            raise UsageError(f"Budgets of {self.inputs} and {self.targets} tokens: give 2 or more for each.")
        if not 0 <= self.hidden <= 1:
            raise UsageError(f"hidden={self.hidden}: give a chance, from 0 to 1.")
        _ = self._input_budgets, self._target_budgets

    @cached_property
    def _input_budgets(self) -> Budgets:
        return Budgets(self.inputs, self.input_counts, INPUT_SHARE)

    @cached_property
    def _target_budgets(self) -> Budgets:
        return Budgets(self.targets, self.target_counts, TARGET_SHARE)

    def masked(self, tokens: Tokens, indices: Numbers, seed: int, epoch: int = 0) -> Masked:
        """A batch of objects, without those that have nothing to give or nothing to ask for.

        Args:
            indices: (objects,), their global numbers.
        """
        columns = Columns.of(self.keys or tokens, tokens)
        own = streams(seed, epoch, np.asarray(indices))
        step = max(1, _BYTES // (8 * columns.width))
        parts = []
        for first in range(0, len(own), step):
            some = slice(first, first + step)
            parts.append(self._selected(lay_out(columns, tokens, some), own[some]))
        return _batch(parts, (self.inputs, self.targets))

    def _selected(self, laid: Any, own: Bits) -> Selected:
        """What is given and asked of a few objects."""
        columns, ids, there = laid
        random = bits(own[:, None], columns.number + np.uint64(CELLS))
        high, low = (random >> np.uint64(32)).astype(np.uint32), random.astype(np.uint32)
        given = self._inputs(columns, there, own, high)
        inputs, before, labels = ids, np.zeros_like(ids), ids
        left = there & ~given
        for _, block in columns.sequences():
            inputs, labels = (array.copy() if array is ids else array for array in (inputs, labels))
            longest = slice(block.start, block.stop - 1)
            lengths = there[:, block].sum(1) - there[:, block.start]
            made = spanned(ids[:, longest], lengths, given[:, block].sum(1), random[:, longest])
            inputs[:, block], before[:, block], labels[:, block] = made.inputs, made.before, made.labels
            place = np.arange(block.stop - block.start)
            given[:, block], left[:, block] = place < made.given[:, None], place < made.asked[:, None]
        wanted = self._targets(columns, left, own, low)
        return Selected(columns, inputs, given, before, labels, wanted)

    def _inputs(self, columns: Columns, there: Grid, own: Bits, random: Halves) -> Grid:
        """Which of the tokens are given."""
        counts = columns.counts(there)
        total = counts.sum(1)
        fair = np.maximum(1, total * self.inputs // (self.inputs + self.targets))
        budget = np.minimum(self._input_budgets(own), fair)
        lead = _one_of(counts > 0, bits(own, LEAD))
        if self.hidden:
            there = there & self._shown(columns, own, lead)[:, columns.modality]
            total = columns.counts(there).sum(1)
        most = np.take_along_axis(counts, lead[:, None], 1)[:, 0]
        # Of a sequence, a sentinel and its end are the least that says something.
        least = np.where(columns.sequence[lead], 2, 1)
        number = np.minimum(most, np.maximum(budget, least))
        number = np.minimum(number, least) + below(bits(own, LEAD_COUNT), np.maximum(number - least + 1, 0))
        others = np.clip(budget - number, 0, total - most)
        return _smallest(columns, there, random, lead, number, most, others)

    def _shown(self, columns: Columns, own: Bits, lead: Numbers) -> Grid:
        """(objects, keys), which modalities may be given."""
        ids = columns.row[[block.start for block in columns.blocks.values()]].astype(np.uint64)
        shown = uniform(bits(own[:, None], ids + np.uint64(HIDDEN))) >= self.hidden
        shown[np.arange(len(own)), lead] = True
        return np.asarray(shown)

    def _targets(self, columns: Columns, left: Grid, own: Bits, random: Halves) -> Grid:
        """Which of the tokens that are left are asked for: the whole budget, if there are so many."""
        counts = columns.counts(left)
        total = counts.sum(1)
        wanted = np.minimum(self._target_budgets(own), total)
        lead = _one_of(counts > 0, bits(own, TARGET_LEAD))
        most = np.take_along_axis(counts, lead[:, None], 1)[:, 0]
        least = np.maximum(np.minimum(wanted, 1), wanted - (total - most))
        number = least + below(bits(own, TARGET_LEAD_COUNT), np.minimum(most, wanted) - least + 1)
        chosen = _smallest(columns, left, random, lead, number, most, wanted - number)
        for _, block in columns.sequences():
            # Tokens of a sequence are asked for from its start, each after the one before it.
            chosen[:, block] = np.arange(block.stop - block.start) < chosen[:, block].sum(1)[:, None]
        return chosen


def _one_of(there: Grid, random: Bits) -> Numbers:
    """One of the columns that are there in each row, all equally likely; 0 where there is none."""
    wanted = below(random, there.sum(1))
    return np.asarray(np.argmax(np.cumsum(there, axis=1) > wanted[:, None], axis=1))


def _smallest(
    columns: Columns, there: Grid, random: Halves, lead: Numbers, number: Numbers, most: Numbers, others: Numbers
) -> Grid:
    """The tokens of the smallest random numbers: `number` of the leading modality, which has `most`; of the `others`.

    One sort tells both: its keys are random, with the highest bit set for other modalities and all of them where there
    is no token.
    """
    keys = random >> np.uint32(1)
    other = (columns.modality.astype(np.int8) != lead.astype(np.int8)[:, None]).view(np.int8)
    keys |= other.astype(np.uint32) << np.uint32(31)
    # The sign of -1 spreads over the whole key.
    keys |= (there.view(np.int8) - np.int8(1)).astype(np.int32).view(np.uint32)
    order = np.sort(keys, axis=1)
    rows = np.arange(len(keys))
    last = np.where(number > 0, order[rows, number - 1], 0)
    last_other = np.where(others > 0, order[rows, most + others - 1], 0)
    chosen = keys <= last[:, None]
    chosen |= (keys >= _OTHERS) & (keys <= last_other[:, None])
    chosen &= there
    # Once in millions of objects the last one has a twin.
    for row in np.flatnonzero(np.count_nonzero(chosen, axis=1) != number + others):
        by = np.argsort(keys[row], kind="stable")
        chosen[row] = False
        chosen[row, by[: number[row]]] = True
        chosen[row, by[most[row] : most[row] + others[row]]] = True
    return chosen


def _batch(parts: Sequence[Selected], budgets: tuple[int, int]) -> Masked:
    """Selections of objects, one after another, as a batch of those that have both."""
    both = [np.asarray(part.given.any(1) & part.wanted.any(1)) for part in parts]
    kept = np.flatnonzero(np.concatenate(both)) if both else np.zeros(0, np.int64)
    inputs, targets, labels = cells(parts, both)
    made = batch(len(kept), inputs, targets, labels, budgets)
    return Masked(made, kept, sum(map(len, both)) - len(kept))
