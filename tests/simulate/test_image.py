"""Images: light in the right place, of the right amount and shape."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter
from scipy.special import gammaincinv

from mmu.simulate import Sky
from mmu.simulate.bricks import PIXELS, SCALE, around, brick_at
from mmu.simulate.image import psf_norm, psf_sigmas, render
from mmu.simulate.photometry import nanomaggies
from mmu.simulate.truth import noiseless_image

OBJECTS = Sky().in_cone(185.625, 0.0, 0.05)
STAR = OBJECTS[OBJECTS["kind"] == "star"][:1]
GALAXY = OBJECTS[OBJECTS["kind"] == "galaxy"][:1]
Objects = npt.NDArray[np.void]


def _one(objects: Objects, x: float, y: float, fwhm: float = 4.6, size: int = 401) -> npt.NDArray[np.float32]:
    return render((size, size), np.array([x]), np.array([y]), objects, "r", fwhm, SCALE)


def _galaxy(n: float, radius: float, ratio: float, angle: float) -> Objects:
    galaxy: Objects = GALAXY.copy()
    galaxy["sersic_n"], galaxy["r_half_arcsec"], galaxy["axis_ratio"], galaxy["position_angle"] = (
        n,
        radius,
        ratio,
        angle,
    )
    galaxy["mag_r"] = 15.0
    return galaxy


def _moments(plane: npt.NDArray[np.float32]) -> tuple[float, float, float, float, float]:
    y, x = np.indices(plane.shape)
    total = plane.sum(dtype=float)
    cx, cy = (x * plane).sum(dtype=float) / total, (y * plane).sum(dtype=float) / total
    xx, yy = ((x - cx) ** 2 * plane).sum() / total, ((y - cy) ** 2 * plane).sum() / total
    return cx, cy, xx, yy, ((x - cx) * (y - cy) * plane).sum() / total


@pytest.mark.parametrize(("x", "y"), [(200.0, 200.0), (200.37, 199.81), (150.5, 240.25)])
def test_a_star_is_centred_to_a_fiftieth_of_a_pixel_and_keeps_its_flux(x: float, y: float) -> None:
    plane = _one(STAR, x, y)
    cx, cy, *_ = _moments(plane)
    assert abs(cx - x) < 0.02
    assert abs(cy - y) < 0.02
    assert plane.sum() == pytest.approx(float(nanomaggies(STAR["mag_r"])[0]), rel=2e-3)


def test_the_psf_has_the_width_it_says() -> None:
    plane = _one(STAR, 200.0, 200.0, fwhm=8.0)
    half = plane[200] >= plane.max() / 2
    assert half.sum() in (8, 9)
    normal = plane / plane.sum()
    assert (normal**2).sum() == pytest.approx(psf_norm(8.0), rel=5e-3)
    assert psf_sigmas(8.0)[0] < 8.0 / 2.35


@pytest.mark.parametrize("n", [1.0, 2.3, 4.0])
def test_half_the_light_lies_within_the_half_light_radius(n: float) -> None:
    plane = _one(_galaxy(n, 6.0, 1.0, 0.0), 400.0, 400.0, fwhm=2.0, size=801)
    y, x = np.indices(plane.shape)
    inside = plane[np.hypot(x - 400, y - 400) <= 6.0 / SCALE].sum()
    assert inside / float(nanomaggies(15.0)) == pytest.approx(0.5, abs=0.04)


def test_a_sersic_profile_is_what_the_formula_says() -> None:
    radius = 4.0 / SCALE
    plane = _one(_galaxy(2.0, 4.0, 1.0, 0.0), 200.0, 200.0, fwhm=3.0)
    y, x = np.indices(plane.shape)
    profile = np.exp(-gammaincinv(4.0, 0.5) * ((np.hypot(x - 200, y - 200) / radius) ** 0.5 - 1))
    core, halo = psf_sigmas(3.0)
    blurred = 0.88 * gaussian_filter(profile, core) + 0.12 * gaussian_filter(profile, halo)
    ring = (np.hypot(x - 200, y - 200) > 3) & (np.hypot(x - 200, y - 200) < 3 * radius)
    ratio = (plane[ring] / plane.sum()) / (blurred[ring] / blurred.sum())
    assert np.all(np.abs(ratio - np.median(ratio)) < 0.08)


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 135.0])
def test_position_angle_turns_from_north_to_east(angle: float) -> None:
    _, _, xx, yy, xy = _moments(_one(_galaxy(1.0, 3.0, 0.4, angle), 200.0, 200.0))
    found = np.rad2deg(0.5 * np.arctan2(-2 * xy, yy - xx)) % 180  # east is at smaller x
    assert min(abs(found - angle), 180 - abs(found - angle)) < 1.0


def test_objects_off_the_edge_leave_only_their_light() -> None:
    whole = _one(STAR, 200.0, 200.0)
    cut = render((401, 401), np.array([-1.0]), np.array([200.0]), STAR, "r", 4.6, SCALE)
    np.testing.assert_allclose(cut[:, 0], whole[:, 201], rtol=1e-5)
    assert render((50, 50), np.array([900.0]), np.array([0.0]), STAR, "r", 4.6, SCALE).sum() == 0


def test_a_brick_has_the_light_of_its_objects() -> None:
    objects, x, y = around(Sky(), brick_at(185.625, 0.0))
    plane = render((PIXELS, PIXELS), x, y, objects, "z", 4.4, SCALE)
    inside = (x > 0) & (x < PIXELS) & (y > 0) & (y < PIXELS)
    assert plane.sum(dtype=float) == pytest.approx(nanomaggies(objects["mag_z"][inside]).sum(), rel=0.02)


def test_noiseless_stamp_is_centred_on_its_position() -> None:
    star = STAR[0]
    stamp = noiseless_image(Sky(), float(star["ra"]), float(star["dec"]), 81, "r", 1.2, SCALE)
    peak = np.unravel_index(np.argmax(stamp[30:51, 30:51]), (21, 21))
    assert [int(index) for index in peak] == [10, 10]
