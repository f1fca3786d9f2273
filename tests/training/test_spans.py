"""Stretches taken out of sequences: what is left and what was taken make the sequence again."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.token_sets import rebuilt
from training.draws import bits, streams
from training.spans import END, SENTINEL, spanned


def random(objects: int, longest: int, seed: int) -> Any:
    return bits(streams(seed, 0, np.arange(objects))[:, None], np.arange(longest, dtype=np.uint64))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 14)), min_size=1, max_size=20), st.integers(0, 9))
def test_both_sides_make_the_sequence(asked: list[tuple[int, int]], seed: int) -> None:
    lengths, allowed = np.array(asked).T
    ids = np.where(np.arange(12) < lengths[:, None], 204 + np.arange(12), -1).astype(np.int16)
    made = spanned(ids, lengths, allowed, random(len(asked), 12, seed))
    for row, (length, most) in enumerate(asked):
        inputs = made.inputs[row, : made.given[row]].tolist()
        before, labels = (part[row, : made.asked[row]].tolist() for part in (made.before, made.labels))
        assert len(inputs) <= most
        if length == 0:
            assert not inputs
            assert not labels
            continue
        if most < 2:
            assert not inputs
            inputs = [SENTINEL, END]
        target = [*before, labels[-1]] if labels else []
        assert target[1:] == labels
        assert target[:1] == [SENTINEL][: len(target)]
        assert rebuilt(inputs, target) == ids[row, :length].tolist()
        if most >= length + 1:
            assert inputs == [*ids[row, :length].tolist(), END]
        elif most >= 2:
            assert len(inputs) >= most - 1


def test_every_token_is_as_likely_to_be_kept() -> None:
    ids = np.tile(np.arange(204, 216, dtype=np.int16), (6000, 1))
    made = spanned(ids, np.full(6000, 12), np.full(6000, 9), random(6000, 12, 1))
    kept = np.array([(made.inputs == token).sum() for token in range(204, 216)])
    # The ends of a sequence cost less to keep: a stretch beside them is not split in two.
    assert kept[[0, -1]].min() > kept[1:-1].max() * 0.95
    assert kept[1:-1].std() < 0.05 * kept[1:-1].mean()
