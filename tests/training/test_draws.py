"""Random numbers as a function of what they are for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mmu.errors import UsageError
from training.draws import Beta, below, bits, streams, uniform


def test_a_number_depends_on_nothing_but_what_it_is_for() -> None:
    indices = np.array([5, 0, 2**40, 7])
    own = streams(1, 2, indices)
    numbers = bits(own[:, None], np.arange(100, dtype=np.uint64))
    assert np.array_equal(bits(streams(1, 2, indices[2:3])[:, None], np.array([40])), numbers[2:3, 40:41])
    others = [streams(2, 2, indices), streams(1, 3, indices), streams(2, 1, indices), streams(-1, 0, indices)]
    assert len(np.unique([own, *others])) == 20
    assert len(np.unique(numbers)) == numbers.size


def test_every_bit_is_fair_and_independent_of_its_neighbours() -> None:
    numbers = bits(streams(0, 0, np.arange(400))[:, None], np.arange(100, dtype=np.uint64))
    for shift in range(64):
        ones = ((numbers >> np.uint64(shift)) & np.uint64(1)).astype(float)
        assert abs(ones.mean() - 0.5) < 0.0125
        assert abs(np.corrcoef(ones[:, :-1].reshape(-1), ones[:, 1:].reshape(-1))[0, 1]) < 0.025
        assert abs(np.corrcoef(ones[:-1].reshape(-1), ones[1:].reshape(-1))[0, 1]) < 0.025


def test_whole_numbers_are_equally_likely() -> None:
    drawn = below(bits(streams(3, 0, np.arange(21_000)), 0), np.full(21_000, 7))
    assert stats.chisquare(np.bincount(drawn, minlength=7)).pvalue > 1e-3
    assert below(bits(streams(3, 0, np.arange(3)), 0), np.zeros(3, np.int64)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("a", "b"), [(0.1, 1.0), (1.0, 1.0), (0.5, 0.5), (2.0, 5.0), (1.0, 0.3), (8.0, 1.0)])
def test_quantiles_of_a_beta_distribution(a: float, b: float) -> None:
    shares = np.linspace(0, 1, 2001)[1:-1]
    assert np.allclose(Beta(a, b)(shares), stats.beta(a, b).ppf(shares), atol=2e-5, rtol=1e-3)
    drawn = Beta(a, b)(uniform(bits(streams(0, 0, np.arange(50_000)), 0)))
    assert abs(drawn.mean() - a / (a + b)) < 0.01
    assert drawn.min() >= 0
    assert drawn.max() <= 1


def test_a_distribution_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="must be positive"):
        Beta(0.0, 1.0)
