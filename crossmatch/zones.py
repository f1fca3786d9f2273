"""Candidates for small radii: positions sorted by zone of declination and right ascension, searched as plain integers.

One sorted array of 64-bit keys, which hold the row too, answers for all positions at once which of the other list lie
in a narrow window of right ascension in the same zone, or in the next where the radius reaches across. Several times as
fast as a tree where windows are nearly empty; a superset, like the tree's. Zones: Gray, Nieto-Santisteban and Szalay
(2006), MSR-TR-2006-52.
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
"""At most; where more bits are needed for zones and rows, windows are a little coarser."""

_TURNS_DEG = 720.0
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
        self.south = dec.min(initial=90.0)
        self.top = int((dec.max(initial=self.south) - self.south) / self.height)
        self.row_bits = len(ra).bit_length()
        self.ra_bits = min(_RA_BITS, 63 - self.row_bits - self.top.bit_length())
        ra, rows = _turned(ra), np.arange(len(ra))
        wide = self._window(np.array([min(np.abs(dec).max(initial=0.0) + radius_deg, 90 - NEAREST_TO_POLE_DEG)]))
        west, east = np.flatnonzero(ra <= wide), np.flatnonzero(ra >= 360.0 - wide)
        if len(west) or len(east):  # again on the other side of RA 0
            ra = np.concatenate([ra, ra[west] + 360.0, ra[east] - 360.0])
            rows = np.concatenate([rows, west, east])
            dec = dec[rows]
        keys = ((self._zone(dec) << self.ra_bits) | self._along(ra).astype(np.int64)) << self.row_bits
        keys |= rows
        keys.sort()
        self.sorted = np.append(keys, np.iinfo(np.int64).max)

    def _zone(self, dec: Floats) -> Rows:
        """Zones are counted from the southernmost position; those of positions beyond the list's are its outermost."""
        return np.asarray(np.clip(((dec - self.south) / self.height).astype(np.int64), 0, self.top))

    def _along(self, ra: Floats) -> Floats:
        """Right ascension (-180 to 540) in the units of the keys."""
        return (ra + 180.0) * (2.0**self.ra_bits / _TURNS_DEG)

    def near(self, ra: Floats, dec: Floats, most: int) -> tuple[Rows, Rows] | None:
        """Rows of the positions asked about, ascending, and of the list: all pairs within the radius, and some more.

        None if there would be more than `most`.
        """
        reach = self.radius * _SLACK + _ROUNDING_DEG
        south, north = self._zone(dec - reach), self._zone(dec + reach)
        along, wide = self._along(_turned(ra)), self._window(dec) * (2.0**self.ra_bits / _TURNS_DEG)
        first, last = (along - wide).astype(np.int64), (along + wide).astype(np.int64) + 1
        asked, across = np.arange(len(ra)), np.flatnonzero(south != north)
        if len(across):
            asked, south = np.concatenate([asked, across]), np.concatenate([south, north[across]])
            first, last = (np.concatenate([edge, edge[across]]) for edge in (first, last))
        south <<= self.ra_bits
        first, last = (first + south) << self.row_bits, (last + south) << self.row_bits
        start = np.searchsorted(self.sorted, first)
        hit = np.flatnonzero(self.sorted[start] < last)
        start, last, count = start[hit], last[hit], np.ones(len(hit), dtype=np.int64)
        more = np.flatnonzero(self.sorted[start + 1] < last)  # most windows hold one
        count[more] = np.searchsorted(self.sorted, last[more]) - start[more]
        total = int(count.sum())
        if total > most:
            return None
        i = asked[hit].repeat(count)
        place = np.arange(total) - (count.cumsum() - count - start).repeat(count)
        if len(across):
            order = np.argsort(i, kind="stable")
            i, place = i[order], place[order]
        return i, self.sorted[place] & ((1 << self.row_bits) - 1)

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
