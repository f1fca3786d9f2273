"""Which object is which sample: every one as often, in an order of its own each time, from one window at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from training.shuffle import BLOCK, Mixture, Shuffled, shares


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=12).filter(lambda w: sum(w) > 0))
def test_shares_keep_to_the_weights(weights: list[float]) -> None:
    got = shares(weights)
    exact = np.array(weights) / sum(weights) * BLOCK
    assert got.sum() == BLOCK
    assert ((got > 0) == (exact > 0)).all()
    assert (np.abs(got - exact) <= len(weights)).all()


def test_every_block_has_each_source_its_number_of_times() -> None:
    mixture = Mixture(shares([1, 2, 0, 5], 80), 3)
    source, draw = mixture.draws(np.arange(8000))
    assert (np.stack([np.bincount(part, minlength=4) for part in source.reshape(-1, 80)]) == [10, 20, 0, 50]).all()
    for number in (0, 1, 3):
        assert draw[source == number].tolist() == list(range((source == number).sum()))
    assert len({tuple(part) for part in source.reshape(-1, 80).tolist()}) == 100
    again = mixture.draws(np.array([4321, 7, 7999]))
    assert [again[0].tolist(), again[1].tolist()] == [source[[4321, 7, 7999]].tolist(), draw[[4321, 7, 7999]].tolist()]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=20).filter(any), st.integers(1, 100), st.integers(0, 9))
def test_an_epoch_has_every_row_once(sizes: list[int], window: int, seed: int) -> None:
    order = Shuffled(sizes, seed, window)
    places = order.places(np.arange(3 * order.count))
    every = sorted((group, row) for group, size in enumerate(sizes) for row in range(size))
    found = list(zip(places.group.tolist(), places.row.tolist(), strict=True))
    for epoch in range(3):
        mine = slice(epoch * order.count, (epoch + 1) * order.count)
        assert (places.epoch[mine] == epoch).all()
        assert sorted(found[mine]) == every
    one = order.places(np.array([order.count + 1, 0]))
    assert (one.group[0], one.row[0]) == found[order.count + 1]


def test_few_groups_are_in_use_at_a_time() -> None:
    order = Shuffled([100] * 50, 1, 500)
    places = order.places(np.arange(10_000))
    for part in places.group.reshape(-1, 500):
        assert len(set(part.tolist())) == 5
    assert places.group[:5000].tolist() != places.group[5000:].tolist()


def test_any_row_comes_at_any_time() -> None:
    rows = np.array([Shuffled([8, 8], seed, 16).places(np.arange(16)) for seed in range(600)])
    number = rows[:, 1] * 8 + rows[:, 2]
    for time in (0, 7, 15):
        assert stats.chisquare(np.bincount(number[:, time], minlength=16)).pvalue > 1e-3


@pytest.mark.parametrize("count", [1, 3])
def test_small_sources_come_again(count: int) -> None:
    places = Shuffled([count], 0, 1 << 17).places(np.arange(4 * count))
    assert np.bincount(places.row).tolist() == [4] * count
