"""Proper motion: where a star stands at another epoch, moving along a great circle."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

FASTEST_ARCSEC_PER_YEAR = 10.4
"""Barnard's star; nothing known is faster."""

_MAS = np.radians(1.0) / 3.6e6


def moved(ra: ArrayLike, dec: ArrayLike, pmra: ArrayLike, pmdec: ArrayLike, years: float) -> tuple[Floats, Floats]:
    """Positions (ICRS degrees) after some years.

    Args:
        pmra: motion in right ascension times cos(dec), as Gaia gives it, mas/yr; NaN (none known) is no motion.
        pmdec: motion in declination, mas/yr.
    """
    east, north = (np.nan_to_num(np.asarray(pm, dtype=np.float64)) * _MAS * years for pm in (pmra, pmdec))
    lon, lat = np.radians(np.asarray(ra, dtype=np.float64)), np.radians(np.asarray(dec, dtype=np.float64))
    speed = np.hypot(east, north)
    along, across = np.cos(speed), np.sinc(speed / np.pi)
    radial = along * np.cos(lat) - across * north * np.sin(lat)
    z = along * np.sin(lat) + across * north * np.cos(lat)
    turned = np.degrees(lon + np.arctan2(across * east, radial)) % 360.0
    still = speed == 0
    place = (
        np.where(still, ra, turned),
        np.where(still, dec, np.degrees(np.arctan2(z, np.hypot(radial, across * east)))),
    )
    return np.asarray(place[0], dtype=np.float64), np.asarray(place[1], dtype=np.float64)
