"""Lines stand where physics puts them, and their names do not overlap."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmu.look.lines import LINES, air, observed, running_mean, tiers


@pytest.mark.parametrize(
    ("name", "in_air"),  # NIST's wavelengths in standard air
    [
        ("Hα", [6562.79]), ("Hβ", [4861.35]), ("Hγ", [4340.47]), ("Hδ", [4101.73]), ("[O III]", [4958.91, 5006.84]),
        ("Ca K", [3933.66]), ("Ca H", [3968.47]), ("Na D", [5889.95, 5895.92]), ("Mg b", [5167.32, 5172.68, 5183.60]),
        ("[O II]", [3726.03, 3728.82]), ("Ca II", [8498.02, 8542.09, 8662.14]), ("[S II]", [6716.44, 6730.82]),
        ("[N II]", [6548.05, 6583.45]), ("He I", [5875.62]), ("[O I]", [6300.30]), ("G", [4304.4]),
        ("Paβ", [12818.1]), ("Paα", [18751.0]), ("[Ne III]", [3868.76]),
    ],
)  # fmt: skip
def test_wavelengths_are_those_of_the_vacuum(name: str, in_air: list[float]) -> None:
    line = next(line for line in LINES if line.name == name)
    np.testing.assert_allclose([air(one) for one in line.vacuum], in_air, atol=0.12)


def test_lines_are_observed_at_one_plus_z() -> None:
    found = {line.name: at for line, at in observed(0.5, 3600, 9800)}
    assert found["Hβ"] == [4862.69 * 1.5]
    assert found["[O III]"] == [4960.30 * 1.5, 5008.24 * 1.5]
    assert "Hα" not in found  # at 9847
    in_air = {line.name: at for line, at in observed(0.5, 3600, 9800, in_air=True)}
    assert in_air["Hβ"][0] == pytest.approx(4862.69 * 1.5 - 2.0, abs=0.1)


def test_stars_have_no_forbidden_lines() -> None:
    names = {line.name for line, _ in observed(0.0, 3600, 9800, star=True)}
    assert {"Hα", "Ca K", "Na D"} <= names
    assert not {name for name in names if name.startswith("[")}


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 30), st.integers(0, 2)), max_size=30),
    st.integers(1, 3),
)
def test_names_on_one_line_of_text_never_overlap(names: list[tuple[float, float, int]], most: int) -> None:
    at, widths, ranks = ([one[part] for one in names] for part in range(3))
    placed = tiers(at, widths, [int(rank) for rank in ranks], most)
    for row in range(most):
        here = sorted((at[i] - widths[i] / 2, at[i] + widths[i] / 2) for i, one in enumerate(placed) if one == row)
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(here))
    alone = [i for i in range(len(at)) if all(i == j or abs(at[i] - at[j]) > 31 for j in range(len(at)))]
    assert all(placed[i] == 0 for i in alone)


def test_a_running_mean_is_weighted_and_knows_nothing_where_nothing_has_weight() -> None:
    flux, weight = np.array([1.0, 3.0, 99.0, 5.0, 7.0, 9.0]), np.array([1.0, 3.0, 0.0, 1.0, 0.0, 0.0])
    mean = running_mean(flux, weight, 3)
    np.testing.assert_allclose(mean, [2.5, 2.5, 3.5, 5.0, 5.0, np.nan])
