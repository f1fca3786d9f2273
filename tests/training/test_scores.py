"""Scores on answers that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from training import scores
from training.baselines import Pca, allotted, images_by_pca, level_only, on_grid, quantised, spectra_by_pca, straight

BANDS = ["des-g", "des-r"]


def galaxies(count: int = 5, side: int = 48, width: float = 3.0, stretch: float = 1.0) -> Any:
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    shape = np.exp(-0.5 * ((x / stretch) ** 2 + (y * stretch) ** 2) / width**2)
    return (np.linspace(1, 9, count)[:, None, None, None] * shape[None, None] * np.ones((1, 2, 1, 1))).astype("f4")


def spectra(count: int = 4, centre: float = 5000.0) -> tuple[Any, Any]:
    wave = np.tile(np.linspace(4000, 6000, 2001), (count, 1))
    flux = 2.0 + np.arange(1, count + 1)[:, None] * np.exp(-0.5 * ((wave - centre) / 3) ** 2)
    return flux, wave


def test_a_perfect_reconstruction_has_no_bias() -> None:
    truth = galaxies()
    told = scores.image_scores(truth, truth, np.full(truth.shape, 100.0), BANDS)
    for measure in (*told["flux"].values(), told["radius"], told["ellipticity"]):
        assert measure["bias"] == measure["scatter"] == 0
        assert measure["number"] > 0
    valid = np.ones(truth.shape, bool)
    assert (scores.chi_square(truth, truth, np.ones(truth.shape), valid) == 0).all()


def test_the_chi_square_of_a_blank_is_that_of_its_signal_to_noise() -> None:
    truth, ivar = galaxies(), np.full((5, 2, 48, 48), 4.0)
    valid = np.ones(truth.shape, bool)
    valid[:, :, :10] = False
    blank = scores.chi_square(np.zeros_like(truth), truth, ivar, valid)
    signal = scores.signal_to_noise("image", truth, ivar, valid)
    np.testing.assert_allclose(blank, signal**2 / valid[0].sum(), rtol=1e-6)
    nothing = scores.chi_square(truth, truth, ivar, np.zeros_like(valid))
    assert np.isnan(nothing).all()


def test_a_flux_that_is_a_tenth_too_large_and_a_rounder_shape_are_found() -> None:
    truth, ivar = galaxies(stretch=1.2), np.full((5, 2, 48, 48), 100.0)
    told = scores.image_scores(1.1 * truth, truth, ivar, BANDS)
    assert told["flux"]["des-r"]["bias"] == pytest.approx(0.1, abs=1e-5)
    assert told["radius"]["bias"] == pytest.approx(0, abs=1e-5)
    redder = scores.image_scores(truth * np.array([1.0, 1.1])[:, None, None], truth, ivar, BANDS)["colour"]
    assert redder["des-g-des-r"]["bias"] == pytest.approx(2.5 * np.log10(1.1), abs=1e-5)
    radius, shape = scores.moments(galaxies(width=3.0))
    window = (1 / 3.0**2 + 1 / scores.WINDOW**2) ** -0.5
    np.testing.assert_allclose(radius, window, rtol=1e-3)
    np.testing.assert_allclose(shape, 0, atol=1e-6)
    assert (scores.moments(truth)[1][..., 0] > 0.2).all()


def test_what_is_too_faint_is_not_measured() -> None:
    truth = galaxies()
    told = scores.image_scores(truth, truth, np.full(truth.shape, 1e-8), BANDS)
    assert told["flux"]["des-g"] == {"bias": None, "scatter": None, "number": 0}


def test_lines_that_are_moved_and_weakened_are_found() -> None:
    truth, wave = spectra()
    ivar, valid = np.full(truth.shape, 100.0), np.ones(truth.shape, bool)
    moved, _ = spectra(centre=5002.0)
    told = scores.spectrum_scores(2.0 + 0.5 * (moved - 2.0), truth, wave, ivar, valid)
    assert told["line_flux"]["bias"] == pytest.approx(-0.5, abs=0.01)
    assert told["line_centroid"]["bias"] == pytest.approx(2.0, abs=0.05)
    assert told["line_flux"]["number"] == 4
    flux, centre = scores.line(truth, wave, np.abs(wave - 5000) <= scores.LINE)
    np.testing.assert_allclose(flux, np.arange(1, 5) * 3 * np.sqrt(2 * np.pi), rtol=0.01)
    np.testing.assert_allclose(centre, 5000, atol=0.01)


def test_bins_count_every_object_once() -> None:
    rows = scores.binned("image", np.arange(6.0), np.array([1, 50, 150, 500, 5000, 1e6]))
    assert [row["objects"] for row in rows] == [2, 1, 1, 2]
    assert rows[-1]["to"] is None
    assert rows[0]["median"] == 0.5


def test_components_with_bits_enough_give_back_what_they_were_fitted_to() -> None:
    truth = galaxies() * np.random.default_rng(1).normal(1, 0.3, (5, 2, 1, 1)).astype("f4")
    back = images_by_pca(truth, truth, [0.1, 0.1], 200)
    assert np.abs(back - truth).max() < 0.01 * truth.max()
    poor = images_by_pca(truth, truth, [0.1, 0.1], 2)
    assert np.abs(poor - truth).max() > np.abs(back - truth).max()
    flux, wave = spectra()
    again = spectra_by_pca((flux, wave), (flux, wave), wave[0], 0.1, 100)
    np.testing.assert_allclose(again, flux, rtol=0.01)


def test_bits_go_where_the_error_is_and_never_beyond_what_there_are() -> None:
    given = allotted(np.array([8.0, 2.0, 0.1]), 7)
    assert given.tolist() == [4, 3, 0] or given.tolist() == [5, 2, 0]
    assert given.sum() == 7
    assert allotted(np.array([1.0]), 1e6).tolist() == [16]
    numbers = np.random.default_rng(0).normal(0, 2, (4000, 1))
    for bits, expected in ((1, 0.3634), (4, 0.01154)):  # mean squared errors of Max 1960, table II
        error = numbers - quantised(numbers, np.array([2.0]), np.array([bits]))
        assert np.mean(error**2) / 4 == pytest.approx(expected, rel=0.1)
    assert (quantised(numbers, np.array([2.0]), np.array([0])) == 0).all()


def test_rows_that_are_all_alike_have_no_components() -> None:
    rows = np.ones((3, 7), np.float32)
    assert np.array_equal(Pca.fit(rows, 10)(rows), rows)


def test_spectra_on_another_grid_and_their_level() -> None:
    flux, wave = spectra(1)
    wave[0, 1500:] = 0
    grid = np.array([3900.0, 4001.5, 5900.0])
    np.testing.assert_allclose(on_grid(flux, wave, grid), [[0, 2, 0]], atol=1e-5)
    assert level_only(np.array([[1.0, 3.0, 9.0]]), np.array([[True, True, False]])).tolist() == [[2, 2, 2]]


def light_curves() -> dict[str, Any]:
    """One that rises in its first band, is level in the second, and has a point of no use; one without points."""
    return {
        "flux": np.array([[1.0, 3.0, 2.0, 7.0, 7.0, 99.0], [np.nan] * 6]),
        "band": np.array([[0, 0, 0, 1, 1, 0], [-1] * 6]),
        "ivar": np.full((2, 6), 4.0),
        "valid": np.array([[True, True, True, True, True, False], [False] * 6]),
    }


def test_what_a_light_curve_varies_by_and_its_simple_models() -> None:
    given = light_curves()
    mean, varies = scores.mean_of_bands(**given), scores.variation(**given)
    assert mean[0].tolist() == [2, 2, 2, 7, 7, 2]
    assert np.isnan(mean[1]).all()
    assert varies[0] == pytest.approx(np.sqrt(4 * 2 / 5))
    assert np.isnan(varies[1])
    time = np.array([[0.0, 2.0, 1.0, 0.0, 3.0, 1.5], [0.0] * 6])
    lines = straight(time, given["flux"], given["band"], given["valid"])
    assert lines[0].tolist() == [1, 3, 2, 7, 7, 2.5]
    assert np.isnan(lines[1]).all()


def test_a_light_curve_too_bright_and_too_flat_is_found() -> None:
    one = {name: values[:1] for name, values in light_curves().items()}
    truth, weights = one.pop("flux"), np.full((1, 6), 400.0)
    flatter = 1.5 * scores.mean_of_bands(truth, **one) + 0.5 * (truth - scores.mean_of_bands(truth, **one))
    told = scores.curve_scores(flatter, truth, one["band"], weights, one["valid"], ["ztf-g", "ztf-r", "ztf-i"])
    assert [told["flux"][name]["bias"] for name in ("ztf-g", "ztf-r", "ztf-i")] == pytest.approx([0.5, 0.5, None])
    assert told["amplitude"]["bias"] == pytest.approx(-0.5)
    faint = scores.curve_scores(flatter, truth, one["band"], weights / 1e6, one["valid"], ["ztf-g", "ztf-r"])
    assert not faint["amplitude"]["number"] + faint["flux"]["ztf-g"]["number"]
