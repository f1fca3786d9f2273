"""The sky on a plane: all of it (Mollweide), or a field (gnomonic: as seen from Earth)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EDGE = 179.9999
"""Degrees from the middle: as far as a map of the whole sky goes on either side."""
_NEWTON = 40


def gnomonic(ra: Any, dec: Any, ra0: float, dec0: float) -> tuple[Floats, Floats]:
    """Degrees east and north on the plane that touches the sphere at a centre; NaN on the far side."""
    lon, lat = np.radians(np.asarray(ra, dtype=float) - ra0), np.radians(np.asarray(dec, dtype=float))
    middle = np.radians(dec0)
    cosine = np.sin(middle) * np.sin(lat) + np.cos(middle) * np.cos(lat) * np.cos(lon)
    near = np.where(cosine > 1e-3, cosine, np.nan)
    east = np.cos(lat) * np.sin(lon) / near
    north = (np.cos(middle) * np.sin(lat) - np.sin(middle) * np.cos(lat) * np.cos(lon)) / near
    return np.degrees(east), np.degrees(north)


def mollweide(ra: Any, dec: Any, ra0: float) -> tuple[Floats, Floats]:
    """The whole sky in an ellipse with half axes 2 sqrt(2) and sqrt(2), areas kept, the middle at ra0, east left."""
    lon = np.radians((np.asarray(ra, dtype=float) - ra0 + 180.0) % 360.0 - 180.0)
    lat = np.radians(np.asarray(dec, dtype=float))
    angle = lat.copy()
    for _ in range(_NEWTON):  # 2 a + sin 2 a = pi sin dec
        slope = np.maximum(2 + 2 * np.cos(2 * angle), 1e-9)
        angle = np.clip(angle - (2 * angle + np.sin(2 * angle) - np.pi * np.sin(lat)) / slope, -np.pi / 2, np.pi / 2)
    return -np.sqrt(8) / np.pi * lon * np.cos(angle), np.sqrt(2) * np.sin(angle)
