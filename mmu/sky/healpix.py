"""HEALPix, nested ordering throughout: the one place that knows which library computes it (`neighbours` aside)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_ORDER = 29


def _healpy() -> Any:
    """The library, imported when first needed: it takes a second."""
    import healpy

    return healpy


def pixel(ra: ArrayLike, dec: ArrayLike, order: int = MAX_ORDER) -> NDArray[np.int64]:
    """The nested pixel of each position (ICRS degrees) at `order`.

    Raises:
        ValueError: a position is not finite, or |dec| > 90.
    """
    if not np.all(valid(ra, dec)):
        raise ValueError("positions need finite RA and Dec in degrees, with |Dec| <= 90")
    return np.asarray(_healpy().ang2pix(1 << order, ra, dec, nest=True, lonlat=True), dtype=np.int64)


def valid(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.bool_]:
    """True where a position (degrees) is one: finite, and |Dec| <= 90."""
    return np.asarray(np.isfinite(ra) & (np.abs(np.asarray(dec, dtype=float)) <= 90.0))


def at_order(pixels: ArrayLike, order: int, wanted: int) -> NDArray[np.int64]:
    """The same area at another order: the parents, or all the children, sorted and distinct."""
    values = np.asarray(pixels, dtype=np.int64)
    if wanted <= order:
        return np.unique(values >> (2 * (order - wanted)))
    shift = 2 * (wanted - order)
    return np.asarray(((np.unique(values)[:, None] << shift) + np.arange(1 << shift)).reshape(-1))


def centres(order: int, pixels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """RA and Dec (degrees) of pixel centres."""
    values = np.asarray(pixels, dtype=np.int64)
    if values.size == 0:
        return np.empty(0), np.empty(0)
    ra, dec = _healpy().pix2ang(1 << order, values, nest=True, lonlat=True)
    return np.asarray(ra), np.asarray(dec)


def corners(order: int, pixels: ArrayLike, step: int = 1) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """RA and Dec (degrees) of points round each pixel's border, (N, 4 * step)."""
    values = np.asarray(pixels, dtype=np.int64)
    if values.size == 0:
        return np.empty((0, 4 * step)), np.empty((0, 4 * step))
    x, y, z = np.moveaxis(_healpy().boundaries(1 << order, values, step=step, nest=True), 1, 0)
    return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arcsin(np.clip(z, -1.0, 1.0)))


def max_radius_deg(order: int) -> float:
    """The largest distance from a pixel's centre to its corners, degrees."""
    return float(np.degrees(_healpy().max_pixrad(1 << order)))


def disc_pixels(order: int, ra: float, dec: float, radius_deg: float) -> NDArray[np.int64]:
    """Pixels that may touch a disc: a superset, sorted.

    healpy answers at orders up to 12 only, with the radius a little larger: finer orders and tiny discs are where its
    inclusive query finds nothing, or ends the process. From there on pixels are split and those too far left out.
    """
    start = min(order, 12)
    vector, wider = _healpy().ang2vec(ra, dec, lonlat=True), np.radians(min(radius_deg + 1e-6, 180.0))
    found = np.asarray(
        _healpy().query_disc(1 << start, vector, wider, inclusive=True, fact=4, nest=True), dtype=np.int64
    )
    for finer in range(start + 1, order + 1):
        found = at_order(found, finer - 1, finer)
        reach = radius_deg + max_radius_deg(finer) + 1e-11
        found = found[separation_deg(*centres(finer, found), ra, dec) <= reach]
    return np.sort(found)


def band_pixels(order: int, dec1: float, dec2: float) -> NDArray[np.int64]:
    """Pixels that may have their centre between two declinations: a superset, sorted."""
    low, high = np.radians(90.0 - np.clip([dec2, dec1], -90, 90))
    found: Any = _healpy().query_strip(1 << order, low, high, inclusive=True, nest=False)
    return np.sort(np.asarray(_healpy().ring2nest(1 << order, found), dtype=np.int64))


def unit_vectors(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.float64]:
    """Cartesian unit vectors, (N, 3)."""
    lon, lat = np.radians(np.asarray(ra, dtype=float)), np.radians(np.asarray(dec, dtype=float))
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def separation_deg(ra1: ArrayLike, dec1: ArrayLike, ra2: ArrayLike, dec2: ArrayLike) -> NDArray[np.float64]:
    """Great-circle distance in degrees, accurate at all distances (haversine and its complement)."""
    a, b = unit_vectors(ra1, dec1), unit_vectors(ra2, dec2)
    cross = np.linalg.norm(a - b, axis=-1)
    return np.asarray(np.degrees(2 * np.arctan2(cross, np.linalg.norm(a + b, axis=-1))))
