"""HEALPix against published reference values, and against its own geometry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmu.sky import healpix

RA = st.floats(0, 360)
DEC = st.floats(-90, 90)
ORDER = st.integers(0, 13)

REFERENCE = [
    # ra, dec, nside 16, nside 64
    (0, 0, 1216, 19456),
    (359.9999, 0, 1173, 18773),
    (180, 0, 1642, 26282),
    (0, 90, 255, 4095),
    (0, -90, 2048, 32768),
    (150.1, 2.2, 1703, 27258),
    (34.4, -5.2, 1105, 17690),
    (214.9, 52.9, 714, 11425),
    (189.2, 62.2, 703, 11252),
    (53.15, -27.8, 2245, 35935),
    (232.5447, 48.690201, 622, 9962),
    (179.6, 0.0, 1685, 26965),
    (42.1, 2.2, 1109, 17759),
]


@pytest.mark.parametrize(("ra", "dec", "nside16", "nside64"), REFERENCE)
def test_reference_positions(ra: float, dec: float, nside16: int, nside64: int) -> None:
    assert healpix.pixel(ra, dec, 4) == nside16
    assert healpix.pixel(ra, dec, 6) == nside64


@given(ra=RA, dec=DEC, order=st.integers(0, 29))
def test_pixels_nest(ra: float, dec: float, order: int) -> None:
    assert healpix.pixel(ra, dec, order) == healpix.pixel(ra, dec) >> 2 * (29 - order)


@given(ra=RA, dec=DEC, order=ORDER)
def test_a_position_is_within_the_largest_radius_of_its_pixels_centre(ra: float, dec: float, order: int) -> None:
    centre = healpix.centres(order, [healpix.pixel(ra, dec, order)])
    assert healpix.separation_deg(ra, dec, *centre) <= healpix.max_radius_deg(order) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("ra", "dec"), [(np.nan, 0), (0, np.nan), (np.inf, 0), (0, 90.1), (0, -999.0), ([1, 2], [3, np.nan])]
)
def test_a_position_that_is_none_is_refused(ra: float, dec: float) -> None:
    with pytest.raises(ValueError, match="finite RA and Dec"):
        healpix.pixel(ra, dec)


def test_orders_are_parents_and_children() -> None:
    assert healpix.at_order([5], 0, 1).tolist() == [20, 21, 22, 23]
    assert healpix.at_order([20, 21, 90], 1, 0).tolist() == [5, 22]
    assert healpix.at_order([7, 3], 2, 2).tolist() == [3, 7]
    assert healpix.at_order([7, 3, 7], 1, 2).tolist() == [12, 13, 14, 15, 28, 29, 30, 31]


@pytest.mark.parametrize("order", [5, 12, 20, 27, 28, 29])
@pytest.mark.parametrize("radius", [1e-10, 1e-7])
def test_tiny_discs_at_fine_orders(order: int, radius: float) -> None:
    for ra, dec in [(10.0, 10.0), (45.0, 0.0), (185.625, 0.0), (213.75, 35.68533471265205), (0.0, 90.0)]:
        found = healpix.disc_pixels(order, ra, dec, radius)
        assert healpix.pixel(ra, dec, order) in found
        assert 1 <= len(found) < 200


def test_no_pixels_have_no_centres() -> None:
    assert [len(part) for part in healpix.centres(3, [])] == [0, 0]


@given(ra=RA, dec=DEC, separation=st.floats(1e-7, 179.9), angle=st.floats(0, 360))
def test_separations_are_right_from_tiny_to_antipodal(ra: float, dec: float, separation: float, angle: float) -> None:
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    here = SkyCoord(ra, dec, unit="deg")
    there = here.directional_offset_by(angle * u.deg, separation * u.deg)
    assert healpix.separation_deg(ra, dec, there.ra.deg, there.dec.deg) == pytest.approx(
        here.separation(there).deg, rel=1e-6, abs=1e-11
    )
