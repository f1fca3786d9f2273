"""Neighbours of HEALPix pixels against healpy's, and against the geometry."""

from __future__ import annotations

import healpy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmu.sky import healpix
from mmu.sky.neighbours import neighbours


@pytest.mark.parametrize("order", range(6))
def test_every_pixel_of_the_coarse_orders(order: int) -> None:
    every = np.arange(12 * 4**order)
    assert np.array_equal(neighbours(order, every), healpy.get_all_neighbours(1 << order, every, nest=True))


@given(order=st.integers(6, 29), seed=st.integers(0, 2**32 - 1))
def test_pixels_of_fine_orders_on_and_off_the_edges_of_faces(order: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    size, odd = 4**order, (4**order - 1) // 3
    within = np.r_[random.integers(0, size, 6), 0, size - 1, odd, 2 * odd, random.integers(0, size, 6) & odd]
    pixels = random.integers(0, 12, len(within)) * size + within
    assert np.array_equal(neighbours(order, pixels), healpy.get_all_neighbours(1 << order, pixels, nest=True))


def test_no_pixels() -> None:
    assert neighbours(3, []).shape == (8, 0)


@given(ra=st.floats(0, 360), dec=st.floats(-90, 90), order=st.integers(0, 10))
def test_neighbours_touch(ra: float, dec: float, order: int) -> None:
    pixel = healpix.pixel(ra, dec, order)
    around = neighbours(order, [pixel])
    assert around.shape == (8, 1)
    found = around[around >= 0]
    assert len(found) >= 6
    here, there = healpix.centres(order, [pixel]), healpix.centres(order, found)
    assert np.all(healpix.separation_deg(*here, *there) <= 2 * healpix.max_radius_deg(order) * (1 + 1e-9))
