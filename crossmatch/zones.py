"""Candidates for small radii: positions sorted by zone of declination and right ascension, searched as plain integers.

One sorted array of 64-bit keys answers for all positions at once which of the other list lie in a narrow window of
right ascension in the same zone, or in the next where the radius reaches across. Four times faster than a tree where
windows are nearly empty; a superset, like the tree's. Zones: Gray, Nieto-Santisteban and Szalay (2006), MSR-TR-2006-52.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

LARGEST_RADIUS_DEG = 0.25
NEAREST_TO_POLE_DEG = 0.5
"""So near a pole, or for larger radii, windows of right ascension are too wide."""

_RA_BITS = 42
_PER_DEGREE = 2.0 ** (_RA_BITS - 1) / 720.0
_SLACK = 1.0 + 1e-9
_ROUNDING_DEG = 1e-12
_CANDIDATES = 0.1


class Zones:
    """A list of positions (degrees), to be asked for those near others.

    Every position asked about must have |dec| + radius below 90 - `NEAREST_TO_POLE_DEG`.
    """

    def __init__(self, ra: Floats, dec: Floats, radius_deg: float) -> None:
        self.radius = radius_deg
        self.height = _height(ra, dec, radius_deg)
        ra = ra % 360.0
        keys = self.keys(ra, dec)
        wide = self._window(np.array([min(np.abs(dec).max(initial=0.0) + radius_deg, 90 - NEAREST_TO_POLE_DEG)]))[0]
        west, east = np.flatnonzero(ra <= wide), np.flatnonzero(ra >= 360.0 - wide)
        if len(west) or len(east):  # again on the other side of RA 0
            copies = self.keys(ra[west] + 360.0, dec[west]), self.keys(ra[east] - 360.0, dec[east])
            keys = np.concatenate([keys, *copies])
            self.order = np.argsort(keys)
            self.rows: Rows = np.concatenate([np.arange(len(ra)), west, east])[self.order]
        else:
            self.order = self.rows = np.argsort(keys)
        self.sorted = np.append(keys[self.order], np.iinfo(np.int64).max)

    def keys(self, ra: Floats, dec: Floats) -> Rows:
        """Zone, then right ascension (-180 to 540), as one integer."""
        zone = self._zone(dec) << _RA_BITS
        zone += ((ra + 180.0) * _PER_DEGREE).astype(np.int64)
        return np.asarray(zone)

    def _zone(self, dec: Floats) -> Rows:
        return np.asarray(((dec + 90.0) / self.height).astype(np.int64))

    def near(self, ra: Floats, dec: Floats, most: int) -> tuple[Rows, Rows] | None:
        """Rows of the positions asked about, ascending, and of the list: all pairs within the radius, and some more.

        None if there would be more than `most`.
        """
        ra, wide = ra % 360.0, self._window(dec)
        south = np.maximum(dec - self.radius * _SLACK - _ROUNDING_DEG, -90.0)
        north = dec + self.radius * _SLACK + _ROUNDING_DEG
        first, last = self.keys(ra - wide, south), self.keys(ra + wide, south)
        asked = np.arange(len(ra))
        across = np.flatnonzero(
            ((south + 90.0) / self.height).astype(np.int64) != ((north + 90.0) / self.height).astype(np.int64)
        )
        if len(across):
            asked = np.concatenate([asked, across])
            first = np.concatenate([first, self.keys((ra - wide)[across], north[across])])
            last = np.concatenate([last, self.keys((ra + wide)[across], north[across])])
        start = np.searchsorted(self.sorted, first)
        hit = np.flatnonzero(self.sorted[start] <= last)
        start = start[hit]
        count = np.searchsorted(self.sorted, last[hit], side="right") - start
        total = int(count.sum())
        if total > most:
            return None
        i = asked[hit].repeat(count)
        place = np.arange(total) - (count.cumsum() - count - start).repeat(count)
        if len(across):
            order = np.argsort(i, kind="stable")
            i, place = i[order], place[order]
        return i, self.rows[place]

    def _window(self, dec: Floats) -> Floats:
        """How far in right ascension a position within the radius can be, at these declinations."""
        sine = np.sin(np.radians(self.radius)) / np.cos(np.radians(dec))
        return np.asarray(np.degrees(np.arcsin(sine)) * _SLACK + _ROUNDING_DEG)


def _height(ra: Floats, dec: Floats, radius_deg: float) -> float:
    """Zones so high that a window is nearly empty, and so that few positions reach across into the next."""
    if not len(ra):
        return 1.0
    east = (ra - ra[0] + 180.0) % 360.0
    area = max(np.ptp(east) * np.ptp(dec) * np.cos(np.radians(dec.mean())), 1e-12)
    return (
        float(np.clip(_CANDIDATES * area / (len(ra) * 2 * max(radius_deg, 1e-9)), max(2 * radius_deg, 1e-4), 10.0))
        * _SLACK
    )


def suit(dec: Any, radius_deg: float) -> bool:
    """True if zones can answer for positions of these declinations."""
    return bool(
        radius_deg <= LARGEST_RADIUS_DEG and np.abs(dec).max(initial=0.0) + radius_deg < 90 - NEAREST_TO_POLE_DEG
    )
