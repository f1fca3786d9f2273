"""Proper motion against astropy, on great circles, everywhere."""

from __future__ import annotations

import astropy.units as u
import numpy as np
from astropy.coordinates import Distance, SkyCoord
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmatch.motion import moved
from mmu.sky.healpix import separation_deg
from tests.crossmatch.catalogues import Floats


def by_astropy(ra: Floats, dec: Floats, pmra: Floats, pmdec: Floats, years: float) -> SkyCoord:
    """Stars with no radial velocity, so near that their speed is nothing to that of light.

    astropy moves them in space: after an angle a along the tangent a star stands at arctan(a).
    """
    start = Time(2016.0, format="jyear", scale="tdb")
    stars = SkyCoord(
        ra=ra * u.deg,
        dec=dec * u.deg,
        distance=Distance(np.full(len(ra), 0.01) * u.pc),
        pm_ra_cosdec=pmra * u.mas / u.yr,
        pm_dec=pmdec * u.mas / u.yr,
        radial_velocity=np.zeros(len(ra)) * u.km / u.s,
        obstime=start,
        frame="icrs",
    )
    return stars.apply_space_motion(Time(2016.0 + years, format="jyear", scale="tdb"))


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), years=st.sampled_from([-30.0, -0.5, 0.5, 15.5, 100.0]), pole=st.booleans())
def test_stars_move_as_astropy_moves_them(seed: int, years: float, pole: bool) -> None:
    random = np.random.default_rng(seed)
    ra, dec = random.uniform(0, 360, 5), random.uniform(-89, 89, 5)
    if pole:
        dec = random.choice([-1.0, 1.0], 5) * (90.0 - 10.0 ** random.uniform(-4, 0, 5))
    pmra, pmdec = random.normal(0, 10.0 ** random.uniform(0, 3.5), (2, 5))
    there = by_astropy(ra, dec, pmra, pmdec, years)
    found = moved(ra, dec, pmra, pmdec, years)
    angle = np.hypot(pmra, pmdec) * abs(years) * np.radians(1 / 3.6e6)
    bent = (angle - np.arctan(angle)) * np.degrees(1) * 3600  # the tangent against the circle
    away = separation_deg(*found, there.ra.deg, there.dec.deg) * 3600
    assert (np.abs(away - bent) < 1e-6).all()
    assert (away < 1e-6 + 1.01 * bent).all()
    assert ((found[0] >= 0) & (found[0] <= 360)).all()


@given(seed=st.integers(0, 10_000))
def test_there_and_back_is_no_way(seed: int) -> None:
    random = np.random.default_rng(seed)
    ra, dec, north = random.uniform(0, 360, 20), random.uniform(-80, 80, 20), random.normal(0, 5000, 20)
    there = moved(ra, dec, np.zeros(20), north, 40.0)
    back = moved(*there, np.zeros(20), north, -40.0)
    assert (separation_deg(*back, ra, dec) * 3600 < 1e-9).all()
    assert np.allclose(separation_deg(*there, ra, dec) * 3600, np.abs(north) * 0.04, rtol=1e-9)


def test_a_star_goes_over_the_pole() -> None:
    ra, dec = moved([10.0], [90.0 - 1 / 3600], [0.0], [2000.0], 1.0)
    assert np.allclose([ra[0], dec[0]], [190.0, 90.0 - 1 / 3600], rtol=0, atol=1e-6)


def test_what_does_not_move_stays_to_the_bit() -> None:
    random = np.random.default_rng(1)
    ra, dec = random.uniform(0, 360, 100), random.uniform(-90, 90, 100)
    for pm, years in [(np.full(100, np.nan), 10.0), (np.zeros(100), 10.0), (random.normal(0, 100, 100), 0.0)]:
        there = moved(ra, dec, pm, pm, years)
        assert np.array_equal(there[0], ra)
        assert np.array_equal(there[1], dec)


def test_one_unknown_component_is_none_of_that_component() -> None:
    found = moved([10.0], [0.0], [np.nan], [1000.0], 1.0)
    assert np.allclose(found, [[10.0], [1 / 3600]], rtol=0, atol=1e-12)
