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
        ra = _turned(ra)
        keys = self.keys(ra, dec)
        wide = self._window(np.array([min(np.abs(dec).max(initial=0.0) + radius_deg, 90 - NEAREST_TO_POLE_DEG)]))
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
        reach = self.radius * _SLACK + _ROUNDING_DEG
        south, north = self._zone(np.maximum(dec - reach, -90.0)), self._zone(dec + reach)
        along, wide = (_turned(ra) + 180.0) * _PER_DEGREE, self._window(dec) * _PER_DEGREE
        first, last = (along - wide).astype(np.int64), (along + wide).astype(np.int64)
        asked, across = np.arange(len(ra)), np.flatnonzero(south != north)
        if len(across):
            asked, south = np.concatenate([asked, across]), np.concatenate([south, north[across]])
            first, last = (np.concatenate([edge, edge[across]]) for edge in (first, last))
        south <<= _RA_BITS
        first += south
        start = np.searchsorted(self.sorted, first)
        last += south
        hit = np.flatnonzero(self.sorted[start] <= last)
        start, last, count = start[hit], last[hit], np.ones(len(hit), dtype=np.int64)
        more = np.flatnonzero(self.sorted[start + 1] <= last)  # most windows hold one
        count[more] = np.searchsorted(self.sorted, last[more], side="right") - start[more]
        total = int(count.sum())
        if total > most:
            return None
        i = asked[hit].repeat(count)
        place = np.arange(total) - (count.cumsum() - count - start).repeat(count)
        if len(across):
            order = np.argsort(i, kind="stable")
            i, place = i[order], place[order]
        return i, self.rows[place]

    def _window(self, dec: Floats) -> Any:
        """How far in right ascension a position within the radius can be: one figure if alike for all."""
        away = np.abs(dec)
        nearest, farthest = np.cos(np.radians([away.min(initial=90.0), away.max(initial=0.0)]))
        cosine = farthest if nearest < 1.1 * farthest else np.cos(np.radians(dec))
        return np.degrees(np.arcsin(np.sin(np.radians(self.radius)) / cosine)) * _SLACK + _ROUNDING_DEG


def _turned(ra: Floats) -> Floats:
    """Right ascensions from 0 to 360."""
    return ra if len(ra) and ra.min() >= 0.0 and ra.max() < 360.0 else ra % 360.0


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
