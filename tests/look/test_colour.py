"""Colours: which band is which, and what becomes of noise, of light and of pixels without data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mmu.look import colour
from tests.look.made import spot


@pytest.mark.parametrize(
    ("band", "micron"),
    [
        ("des-g", 0.48), ("hsc_y", 1.0), ("mzls-z", 0.91), ("f090w", 0.9), ("F444W", 4.44), ("acs-f606w", 0.606),
        ("NISP-H", 1.63), ("W1", 3.35), ("VIS", 0.71), ("unheard-of", None),
    ],
)  # fmt: skip
def test_wavelengths_by_name(band: str, micron: float | None) -> None:
    assert colour.wavelength(band) == micron


def test_bands_go_from_blue_to_red_whatever_order_they_are_in() -> None:
    assert colour.order(["z", "g", "r"]) == [1, 2, 0]
    assert colour.order(["first", "second"]) == [0, 1]


@pytest.mark.parametrize("count", range(1, 9))
def test_every_channel_is_fed_in_full(count: int) -> None:
    mix = colour.channels(count)
    np.testing.assert_allclose(mix.sum(axis=1), 1.0)
    if count > 2:
        assert mix[0, -1] == mix[0].max() > 0
        assert mix[2, 0] == mix[2].max() > 0
        assert mix[0, 0] == mix[2, -1] == 0


def pictures(bright: int, bands: int) -> np.ndarray[Any, Any]:
    """The colour of a source that only one of some bands sees."""
    planes = np.stack([spot(16, 16) if index == bright else np.zeros((33, 33)) for index in range(bands)])
    noise = np.full(bands, 0.01)
    picture, seen = colour.rgb(planes, np.ones(planes.shape, dtype=bool), noise, np.ones(bands))
    assert seen.all()
    assert picture.min() >= 0
    assert picture.max() <= 1
    return np.asarray(picture[17, 17])


@pytest.mark.parametrize("bands", [3, 4, 5, 7])
def test_a_source_seen_in_the_reddest_band_is_red_and_in_the_bluest_blue(bands: int) -> None:
    red, _, blue = pictures(bands - 1, bands)
    assert red > blue
    red, _, blue = pictures(0, bands)
    assert blue > red


def test_one_band_is_grey() -> None:
    red, green, blue = pictures(0, 1)
    assert red == green == blue


def test_the_sky_is_dark_and_without_colour() -> None:
    planes = np.random.default_rng(1).normal(0, 0.01, (3, 64, 64))
    picture, _ = colour.rgb(planes, np.ones(planes.shape, dtype=bool), np.full(3, 0.01), np.ones(3))
    assert np.median(picture) < 0.2
    assert np.median(np.ptp(picture, axis=-1)) < 0.05


def test_a_band_without_data_does_not_colour_what_the_others_see() -> None:
    planes, good = np.stack([spot(16, 16)] * 3), np.ones((3, 33, 33), dtype=bool)
    good[0] = False
    picture, seen = colour.rgb(planes, good, np.full(3, 0.01), np.ones(3))
    assert seen.all()
    np.testing.assert_allclose(picture[16, 16], picture[16, 16, 0])
    nothing, seen = colour.rgb(planes, np.zeros_like(good), np.full(3, np.nan), np.ones(3))
    assert not seen.any()
    assert np.isfinite(nothing).all()


def test_calibrated_planes_are_weighed_by_wavelength_others_by_noise() -> None:
    bands, noise = ["g", "r", "z"], np.array([1.0, 2.0, 4.0])
    by_wavelength = colour.brightness(bands, noise, calibrated=True)
    assert (np.diff(by_wavelength) < 0).all()
    np.testing.assert_allclose(colour.brightness(bands, noise, calibrated=False), 1 / noise)
    np.testing.assert_allclose(colour.brightness(["one", "two", "three"], noise, calibrated=True), 1 / noise)
    assert colour.brightness(["f090w", "f444w"], noise[:2], calibrated=True)[0] == pytest.approx(3.0)


def test_noise_with_and_without_an_inverse_variance() -> None:
    plane = np.random.default_rng(2).normal(0, 0.5, (64, 64)) + spot(20, 20, 500.0, 64)
    assert colour.noise_of(plane, np.full(plane.shape, 4.0)) == pytest.approx(0.5)
    assert colour.noise_of(plane, None) == pytest.approx(0.5, rel=0.1)
    assert np.isnan(colour.noise_of(np.full((4, 4), np.nan), None))
