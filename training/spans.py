"""Sequences with stretches taken out, as in T5 (Raffel et al. 2020) and 4M (Mizrahi et al. 2023).

    a b c d e f   ->   given   a S1 d S2 end       what was taken out is S1, S2, ... in what is left
                       asked   b c S2 e f end      after S1 b c S2 e f: each from the token before it

The first sentinel is given to the decoder, not asked of it: it is always the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.draws import Bits

UNKNOWN, START, END, SENTINEL = 1, 2, 3, 4
"""Reserved ids of a sequence's vocabulary, and the first of its sentinels; 0 is padding."""

Ids = NDArray[np.int16]
Counts = NDArray[np.int64]


class Spanned(NamedTuple):
    """Both sides of sequences, (objects, longest + 1) each, of which the first `given` or `asked` count.

    Attributes:
        inputs: what is left, with a sentinel for each stretch, and the end.
        before: what the decoder is given at each place: the token before the one it is asked for.
        labels: the tokens that it is asked for.
    """

    inputs: Ids
    given: Counts
    before: Ids
    labels: Ids
    asked: Counts


def spanned(ids: Ids, lengths: Counts, allowed: Counts, random: Bits) -> Spanned:
    """Take so many random tokens out that the rest, with its sentinels and end, has no more than `allowed` tokens.

    Args:
        ids: (objects, longest); lengths: how many of them there are. allowed: below 2, nothing is given.
        random: (objects, longest), what decides which tokens are kept.
    """
    taken = _taken(lengths, np.where(allowed < 2, 0, allowed), random)
    begins = taken & ~np.pad(taken[:, :-1], ((0, 0), (1, 0)))
    sentinels = (np.cumsum(begins, axis=1) + SENTINEL - 1).astype(np.int16)
    there = np.arange(ids.shape[1]) < lengths[:, None]
    inputs, given = _packed([(begins, sentinels), (there & ~taken, ids)])
    target, asked = _packed([(begins, sentinels), (taken, ids)])
    inputs[np.arange(len(ids)), given] = END
    target[np.arange(len(ids)), asked] = END
    width = ids.shape[1] + 1
    given = np.where((allowed < 2) | (lengths == 0), 0, given + 1)
    return Spanned(inputs[:, :width], given, target[:, :width], target[:, 1 : width + 1], asked)


def _taken(lengths: Counts, allowed: Counts, random: Bits) -> NDArray[np.bool_]:
    """Which tokens are taken out: those of the highest random numbers, as few of them as `allowed` lets be."""
    objects, longest = random.shape
    there = np.arange(longest) < lengths[:, None]
    order = np.argsort(np.where(there, random, np.uint64(2**64 - 1)), axis=1, kind="stable")
    turn = np.empty_like(order)
    np.put_along_axis(turn, order, np.arange(longest)[None], axis=1)
    # A token that is kept splits a stretch, shortens it, or is all of it: its cost is its own and the sentinels'.
    edge = np.full((objects, 1), -1)
    inside = np.where(there, turn, -1)
    left = np.concatenate([edge, inside[:, :-1]], axis=1) > turn
    right = np.concatenate([inside[:, 1:], edge], axis=1) > turn
    costs = np.take_along_axis(left.astype(np.int64) + right, order, axis=1)
    kept = (2 + np.cumsum(costs, axis=1) <= allowed[:, None]).sum(1)
    return np.asarray(there & (turn >= np.minimum(kept, lengths)[:, None]))


def _packed(parts: list[tuple[NDArray[np.bool_], Ids]]) -> tuple[Ids, Counts]:
    """Of each token the parts that are there, one after another, from the left; and how many that makes."""
    there = np.stack([part for part, _ in parts], axis=2).reshape(len(parts[0][0]), -1)
    values = np.stack([value for _, value in parts], axis=2).reshape(there.shape)
    place = np.cumsum(there, axis=1) - 1
    out = np.zeros((len(there), there.shape[1] + 2), np.int16)
    rows: Any = np.nonzero(there)
    out[rows[0], place[rows]] = values[rows]
    return out, there.sum(1)
