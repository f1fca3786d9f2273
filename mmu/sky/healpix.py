"""HEALPix, nested ordering throughout: the one place that knows which library computes it."""

from __future__ import annotations

from typing import Any

import healpy
import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_ORDER = 29


def pixel(ra: ArrayLike, dec: ArrayLike, order: int = MAX_ORDER) -> NDArray[np.int64]:
    """The nested pixel of each position (ICRS degrees) at `order`.

    Raises:
        ValueError: a position is not finite, or |dec| > 90.
    """
    return np.asarray(healpy.ang2pix(1 << order, ra, dec, nest=True, lonlat=True), dtype=np.int64)


def at_order(pixels: ArrayLike, order: int, wanted: int) -> NDArray[np.int64]:
    """The same area at another order: the parents, or all the children, sorted and distinct."""
    values = np.asarray(pixels, dtype=np.int64)
    if wanted <= order:
        return np.unique(values >> (2 * (order - wanted)))
    shift = 2 * (wanted - order)
    return np.asarray(((values[:, None] << shift) + np.arange(1 << shift)).reshape(-1))


def centres(order: int, pixels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """RA and Dec (degrees) of pixel centres."""
    values = np.asarray(pixels, dtype=np.int64)
    if values.size == 0:
        return np.empty(0), np.empty(0)
    ra, dec = healpy.pix2ang(1 << order, values, nest=True, lonlat=True)
    return np.asarray(ra), np.asarray(dec)


def neighbours(order: int, pixels: ArrayLike) -> NDArray[np.int64]:
    """The 8 neighbours of each pixel, (8, N); -1 where a corner has none."""
    return np.asarray(
        healpy.get_all_neighbours(1 << order, np.asarray(pixels, dtype=np.int64), nest=True), dtype=np.int64
    )


def max_radius_deg(order: int) -> float:
    """The largest distance from a pixel's centre to its corners, degrees."""
    return float(np.degrees(healpy.max_pixrad(1 << order)))


def disc_pixels(order: int, ra: float, dec: float, radius_deg: float) -> NDArray[np.int64]:
    """Pixels that may touch a disc: a superset, sorted."""
    found = healpy.query_disc(
        1 << order, healpy.ang2vec(ra, dec, lonlat=True), np.radians(radius_deg), inclusive=True, fact=4, nest=True
    )
    return np.sort(np.asarray(found, dtype=np.int64))


def band_pixels(order: int, dec1: float, dec2: float) -> NDArray[np.int64]:
    """Pixels whose centre lies between two declinations, sorted."""
    low, high = np.radians(90.0 - np.clip([dec2, dec1], -90, 90))
    found: Any = healpy.query_strip(1 << order, low, high, inclusive=True, nest=False)
    return np.sort(np.asarray(healpy.ring2nest(1 << order, found), dtype=np.int64))


def unit_vectors(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.float64]:
    """Cartesian unit vectors, (N, 3)."""
    lon, lat = np.radians(np.asarray(ra, dtype=float)), np.radians(np.asarray(dec, dtype=float))
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def separation_deg(ra1: ArrayLike, dec1: ArrayLike, ra2: ArrayLike, dec2: ArrayLike) -> NDArray[np.float64]:
    """Great-circle distance in degrees, accurate at all distances (haversine and its complement)."""
    a, b = unit_vectors(ra1, dec1), unit_vectors(ra2, dec2)
    cross = np.linalg.norm(a - b, axis=-1)
    return np.asarray(np.degrees(2 * np.arctan2(cross, np.linalg.norm(a + b, axis=-1))))
