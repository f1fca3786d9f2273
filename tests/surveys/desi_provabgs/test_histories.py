"""The derived labels against a slow, literal computation, and in cases whose answer is known."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.cosmology import Planck13

from surveys.desi_provabgs import BASIS_SFH, BASIS_TIME, BASIS_ZH
from surveys.desi_provabgs.histories import Basis, derive, load_basis, universe_age_gyr
from surveys.desi_provabgs.simulate import write_basis


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_basis(tmp_path_factory.mktemp("basis"))


@pytest.fixture(scope="module")
def basis(folder: Path) -> Basis:
    return load_basis(folder / BASIS_TIME, folder / BASIS_SFH, folder / BASIS_ZH)


def _thetas(count: int, seed: int = 1) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    theta = np.zeros((count, 13))
    theta[:, 0] = rng.uniform(8, 11.5, count)
    theta[:, 1:5] = rng.dirichlet(np.ones(4), count)
    theta[:, 5] = rng.uniform(0, 1, count) * (rng.random(count) < 0.6)
    theta[:, 6] = np.where(rng.random(count) < 0.3, rng.uniform(0.01, 1.2, count), rng.uniform(0.01, 13.27, count))
    theta[:, 7:9] = 10 ** rng.uniform(-5.5, -1.5, (count, 2))
    return theta, rng.uniform(0.001, 0.6, count)


def _line(times: Any, values: Any, at: float) -> float:
    """Straight lines between the table's points, and beyond its ends."""
    index = min(max(int(np.searchsorted(times, at)) - 1, 0), len(times) - 2)
    part = (at - times[index]) / (times[index + 1] - times[index])
    return float(values[index] + part * (values[index + 1] - values[index]))


def _literal(folder: Path, theta: Any, z: float) -> tuple[float, float, float]:
    """One galaxy, bin by bin, as the formulas are written (specification, appendix E)."""
    times = np.loadtxt(folder / BASIS_TIME)[::-1]
    rates = np.loadtxt(folder / BASIS_SFH)[:, ::-1][[2, 0, 1, 3]]
    metals = np.loadtxt(folder / BASIS_ZH)[:, ::-1]
    age = float(Planck13.age(z).value)
    edges = [edge for edge in [0.0, *(10 ** (6.05 + 0.1 * k - 9) for k in range(41))] if edge < age] + [age]
    fine = np.linspace(0, 13.8, 50_000)
    tabulated = [np.array([_line(times, rate, float(at)) for at in fine]) for rate in rates]
    rate = []
    for low, high in pairwise(edges):
        at = np.concatenate([[low], fine[(fine > low) & (fine < high)], [high]])
        total = 0.0
        for share, values in zip(theta[1:5], tabulated, strict=True):
            y = np.interp(at, fine, values)
            total += share * float(np.sum(0.5 * (y[1:] + y[:-1]) * np.diff(at)))
        rate.append(total / (high - low))
    widths = np.diff(edges)
    norm = sum(1e9 * width * one for width, one in zip(widths, rate, strict=True))
    steady = [one / norm for one in rate]
    fraction, when = (theta[5], theta[6]) if theta[6] <= age else (0.0, theta[6])
    z_mw = t_mw = recent = 0.0
    for low, high, one in zip(edges[:-1], edges[1:], steady, strict=True):
        sfh = one * (1 - fraction) + (fraction / (1e9 * (high - low)) if low <= when < high else 0.0)
        middle = 0.5 * (low + high)
        enriched = sum(theta[7 + k] * _line(times, metals[k], middle) for k in range(2))
        z_mw += 1e9 * (high - low) * sfh * min(max(enriched, 4.49043431e-05), 4.49043431e-02)
        t_mw += 1e9 * (high - low) * sfh * middle
        if low < 1.0:
            recent += 1e9 * (min(high, 1.0) - low) * one * (1 - fraction)
    recent += fraction if when < 1.0 else 0.0
    return z_mw, t_mw, recent * 10 ** theta[0] / 1e9


def test_many_at_once_are_as_each_literally(folder: Path, basis: Basis) -> None:
    theta, z = _thetas(8)
    got = derive(basis, theta, z)
    for index in range(len(theta)):
        expected = _literal(folder, theta[index], float(z[index]))
        assert [float(got[name][index]) for name in ("Z_MW", "TAGE_MW", "AVG_SFR")] == pytest.approx(expected, rel=1e-8)


def test_a_galaxy_does_not_depend_on_its_company(basis: Basis) -> None:
    theta, z = _thetas(50)
    together = derive(basis, theta, z)
    alone = derive(basis, theta[17:18], z[17:18])
    assert all(together[name][17] == pytest.approx(alone[name][0], rel=1e-13) for name in alone)


def test_a_lone_burst(basis: Basis) -> None:
    """Everything formed at one time: its bin's middle is the age, and it is recent or not."""
    theta, _ = _thetas(3)
    theta[:, 5], theta[:, 6], theta[:, 0] = 1.0, [0.5, 5.0, 13.0], 10.0
    got = derive(basis, theta, np.full(3, 0.3))
    edges = 10 ** (6.05 + 0.1 * np.arange(41) - 9)
    for index, when in enumerate((0.5, 5.0)):
        place = int(np.searchsorted(edges, when))
        assert got["TAGE_MW"][index] == pytest.approx((edges[place - 1] + edges[place]) / 2)
    assert got["AVG_SFR"][0] == pytest.approx(10.0)
    assert got["AVG_SFR"][1] == 0.0
    without = derive(basis, np.where(np.arange(13) == 5, 0.0, theta[2:]), np.array([0.3]))
    assert got["TAGE_MW"][2] == pytest.approx(without["TAGE_MW"][0]), "a burst before the Universe began is none"


def test_metallicity_is_bounded_by_the_isochrones(basis: Basis) -> None:
    theta, z = _thetas(2)
    theta[:, 7:9] = [[1e-9, 1e-9], [1.0, 1.0]]
    assert derive(basis, theta, z)["Z_MW"] == pytest.approx([4.49043431e-05, 4.49043431e-02])


def test_what_has_no_redshift_has_no_labels(basis: Basis) -> None:
    theta, _ = _thetas(4)
    got = derive(basis, theta, np.array([np.nan, -0.1, 5.0, 0.2]))
    for name in ("Z_MW", "TAGE_MW"):
        assert np.isnan(got[name][:3]).all(), name
        assert np.isfinite(got[name][3])
    assert np.isnan(got["AVG_SFR"][:3]).all()


def test_nobody_at_all(basis: Basis) -> None:
    assert all(len(values) == 0 for values in derive(basis, np.empty((0, 13)), np.empty(0)).values())


def test_age_of_the_universe() -> None:
    z = np.array([0.0, 0.0123, 0.3, 0.6, 1.99])
    assert universe_age_gyr(z) == pytest.approx(Planck13.age(z).value, rel=1e-7)
    assert math.isnan(universe_age_gyr(np.array([2.1]))[0])
