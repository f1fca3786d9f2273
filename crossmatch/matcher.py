"""Which positions of two lists lie within a radius of one another: exact anywhere on the sphere, on plain arrays.

Zones of declination propose pairs for small radii, a k-d tree for all others; both propose too many, and the angle
between the two unit vectors decides (accurate to 1e-10 arcsec at any separation). No scheduler and no files here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from crossmatch.tree import Tree
from crossmatch.zones import Zones, suit
from mmu.errors import UsageError, unknown

MODES = ("nearest", "mutual", "all", "knn")
"""For each position of the first list: the nearest of the second; that, where it is nearest the other way too; all
within the radius; the k nearest."""

ARCSEC = np.degrees(1.0) * 3600.0
_BLOCK = 1 << 18
_CROWDED = 16

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Ids = Any
"""Identifiers that break ties: a NumPy or Arrow array; None for the row numbers."""


class Matches(NamedTuple):
    """Pairs, sorted by (i, separation, id): rows of the first list, rows of the second, arcsec between them."""

    i: Rows
    j: Rows
    sep_arcsec: Floats


@dataclass(frozen=True)
class Errors:
    """Positional errors (1 sigma, arcsec) of both lists: a pair must lie within n_sigma of their sum in quadrature."""

    first: Floats
    second: Floats
    n_sigma: float = 3.0

    def allow(self, i: Rows, j: Rows, sep_arcsec: Floats) -> NDArray[np.bool_]:
        return np.asarray(sep_arcsec <= self.n_sigma * np.hypot(self.first[i], self.second[j]))

    def turned(self, chosen: Rows) -> Errors:
        """For matching some rows of the second list with the first."""
        return Errors(self.second[chosen], self.first, self.n_sigma)


def match(
    ra1: ArrayLike,
    dec1: ArrayLike,
    ra2: ArrayLike,
    dec2: ArrayLike,
    radius_arcsec: float,
    mode: str = "nearest",
    k: int = 1,
    *,
    id1: Ids = None,
    id2: Ids = None,
    errors: Errors | None = None,
    threads: int = 1,
) -> Matches:
    """Pairs of positions (ICRS degrees) whose great-circle distance is at most `radius_arcsec`.

    Args:
        mode: one of `MODES`; "knn" gives the `k` nearest.
        id1, id2: what breaks ties in distance, smallest first; the row numbers if left out, or the same.
        errors: positional errors, where a pair must agree within them too.
        threads: of the search; -1 for all cores. The result does not depend on it.

    Raises:
        UsageError: a position that is none (NaN, |dec| > 90), a radius outside 0..648000 arcsec, an unknown mode.
    """
    if mode not in MODES:
        raise unknown("mode of a match", mode, MODES)
    if not 0 <= radius_arcsec <= 180 * 3600:
        raise UsageError(f"A radius of {radius_arcsec} arcsec: it must be a number from 0 to 648000 (half the sky).")
    if k < 1:
        raise UsageError(f"k = {k}: the number of neighbours must be at least 1.")
    first, second = Points(ra1, dec1, id1, "first"), Points(ra2, dec2, id2, "second")
    limit = {"nearest": 1, "mutual": 1, "all": None, "knn": k}[mode]
    found = _joined(neighbours(first, second, radius_arcsec, limit, errors, threads))
    if mode == "mutual":
        found = _mutual(found, first, second, radius_arcsec, errors, threads)
    return found


class Points:
    """Positions to match, in degrees; what is made of them is made when it is needed.

    Raises:
        UsageError: a position is none; `name` says of which list.
    """

    def __init__(self, ra: ArrayLike, dec: ArrayLike, ids: Ids = None, name: str = "") -> None:
        self.ra, self.dec, self.ids = np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64), ids
        if self.ra.ndim != 1 or self.ra.shape != self.dec.shape or (ids is not None and len(ids) != len(self.ra)):
            raise UsageError(f"The {name} list: RA, Dec and ids must be one-dimensional and equally long.")
        _refuse_bad(self.ra, self.dec, name)

    def __len__(self) -> int:
        return len(self.ra)

    def subset(self, rows: Rows) -> Points:
        """Some of the positions, as a list of their own, without ids."""
        return Points(self.ra[rows], self.dec[rows])

    def vectors(self, rows: Rows) -> Floats:
        return unit_vectors(self.ra[rows], self.dec[rows])

    @cached_property
    def walk(self) -> Rows:
        """Rows in an order that goes from neighbour to neighbour."""
        return _walk(self.ra, self.dec)

    @cached_property
    def tree(self) -> Tree:
        return Tree(self.vectors(self.walk), self.walk)

    def rank(self, rows: Rows) -> Rows:
        """Where some rows come when ordered by id."""
        if self.ids is None:
            return rows
        arrow = isinstance(self.ids, (pa.Array, pa.ChunkedArray))
        ids = np.asarray(self.ids.take(pa.array(rows))).astype(str) if arrow else np.asarray(self.ids)[rows]
        return np.asarray(np.unique(ids, return_inverse=True)[1])


def neighbours(
    first: Points,
    second: Points,
    radius_arcsec: float,
    limit: int | None,
    errors: Errors | None = None,
    threads: int = 1,
) -> Iterator[Matches]:
    """Blocks of matches; all those of one row of `first` are in one block, nearest first, at most `limit` of them."""
    if not len(first) or not len(second):
        return
    search = Search(first, second, radius_arcsec, None if errors else limit, errors)

    def decided(block: Rows) -> list[Matches]:
        found = (search.matches(i, j) for i, j in search.candidates(block))
        return [_nearest_first(*matches, second, limit) for matches in found]

    if threads == 1:
        for block in search.blocks():
            yield from decided(block)
        return
    with ThreadPoolExecutor(threads if threads > 0 else os.cpu_count() or 1) as pool:
        ready, blocks = pool.submit(search.prepare), search.blocks()
        ready.result()
        for found in pool.map(decided, blocks):
            yield from found


class Search:
    """Where candidates come from, zones where they can tell, else the tree; and which of them are matches."""

    def __init__(
        self, first: Points, second: Points, radius_arcsec: float, limit: int | None, errors: Errors | None
    ) -> None:
        self.first, self.second, self.radius_arcsec, self.limit, self.errors = (
            first,
            second,
            radius_arcsec,
            limit,
            errors,
        )
        self.radius_deg = radius_arcsec / 3600.0

    @cached_property
    def zones(self) -> Zones | None:
        suits = suit(self.first.dec, self.radius_deg)
        return Zones(self.second.ra, self.second.dec, self.radius_deg) if suits else None

    def prepare(self) -> None:
        """Make what all blocks need."""
        if self.zones is None:
            _ = self.second.tree

    def blocks(self) -> list[Rows]:
        """The first list's rows, neighbours together."""
        walk = self.first.walk
        return [walk[start : start + _BLOCK] for start in range(0, len(walk), _BLOCK)]

    def candidates(self, rows: Rows) -> Iterator[tuple[Rows, Rows]]:
        """Pairs that may lie within the radius, for some rows of the first list."""
        ra, dec = self.first.ra[rows], self.first.dec[rows]
        found = None if self.zones is None else self.zones.near(ra, dec, _CROWDED * _BLOCK)
        if found is not None:
            yield rows[found[0]], found[1]
            return
        for i, j in self.second.tree.near(unit_vectors(ra, dec), self.radius_deg, self.limit):
            yield rows[i], j

    def matches(self, i: Rows, j: Rows) -> Matches:
        """Those of the candidates that are within the radius, and within their errors."""
        sep = separation_arcsec(self.first.vectors(i), self.second.vectors(j))
        keep = sep <= self.radius_arcsec
        if self.errors is not None:
            keep &= self.errors.allow(i, j, sep)
        return Matches(i, j, sep) if keep.all() else Matches(i[keep], j[keep], sep[keep])


def separation_arcsec(first: Floats, second: Floats) -> Floats:
    """Angle between unit vectors, (N, 3) each, row by row; accurate from zero to the antipode."""
    difference, total = first - second, first + second
    return np.asarray(2.0 * ARCSEC * np.arctan2(_length(difference), _length(total)))


def _length(vectors: Floats) -> Floats:
    x, y, z = vectors[:, 0], vectors[:, 1], vectors[:, 2]
    return np.asarray(np.sqrt(x * x + y * y + z * z))


def unit_vectors(ra: Floats, dec: Floats) -> Floats:
    """Unit vectors (N, 3) of positions in degrees."""
    lon, lat = np.radians(ra), np.radians(dec)
    out = np.empty((len(lon), 3))
    out[:, 2] = np.sin(lat)
    np.cos(lat, out=lat)
    np.multiply(lat, np.cos(lon), out=out[:, 0])
    np.multiply(lat, np.sin(lon), out=out[:, 1])
    return out


def _refuse_bad(ra: Floats, dec: Floats, name: str) -> None:
    bad = np.flatnonzero(~(np.isfinite(ra) & (np.abs(dec) <= 90.0)))
    if len(bad):
        row = int(bad[0])
        raise UsageError(
            f"The {name} list has {len(bad)} of {len(ra)} rows without a position (the first is row {row}: "
            f"RA {ra[row]}, Dec {dec[row]}); leave them out, or mend them."
        )


def _walk(ra: Floats, dec: Floats) -> Rows:
    """The rows zone by zone of the sky; as they stand, if neighbours follow one another already."""
    count = len(ra)
    here = np.linspace(0, count - 2, min(1024, max(count - 1, 0))).astype(np.int64)
    if len(here) < 1024:
        return np.arange(count)
    start, then = unit_vectors(ra[here], dec[here]), unit_vectors(ra[here + 1], dec[here + 1])
    if np.median(_length(then - start)) * np.sqrt(count) < 32.0 * np.median(_length(start - start[512])):
        return np.arange(count)
    east = ra % 360.0
    cell = np.clip(np.sqrt(np.ptp(dec) * np.ptp(east) * 16.0 / count), 1e-4, 10.0)
    zone, along = ((dec - dec.min()) / cell).astype(np.int64), ((east - east.min()) / cell).astype(np.int64)
    last, bits = along.max(), count.bit_length()
    keys = (zone * (last + 1) + np.where(zone & 1, along, last - along)) << bits
    keys |= np.arange(count)
    keys.sort()  # three times as fast as argsort
    return np.asarray(keys & ((1 << bits) - 1))


def _nearest_first(i: Rows, j: Rows, sep: Floats, second: Points, limit: int | None) -> Matches:
    """The matches of each row by (separation, id, row), cut to `limit`; those of one row stand together already."""
    same = i[1:] == i[:-1]
    if not same.any():
        return Matches(i, j, sep)
    tied = np.flatnonzero(same & (sep[1:] <= sep[:-1]))
    if len(tied):
        at = np.flatnonzero(np.isin(i, i[tied]))
        group = np.unique(i[at], return_inverse=True)[1]
        by = at[np.lexsort((j[at], second.rank(j[at]), sep[at], group))]
        to = at[np.argsort(group, kind="stable")]
        j[to], sep[to], i[to] = j[by], sep[by], i[by]
    if limit is None:
        return Matches(i, j, sep)
    start = np.flatnonzero(np.r_[True, i[1:] != i[:-1]])
    place = np.arange(len(i)) - np.repeat(start, np.diff(np.r_[start, len(i)]))
    keep = place < limit
    return Matches(i[keep], j[keep], sep[keep])


def _joined(blocks: Iterator[Matches]) -> Matches:
    """All blocks as one, sorted by i; what is sorted within a row stays so."""
    found = list(blocks)
    if not found:
        return Matches(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    i, j, sep = (np.concatenate(part) for part in zip(*found, strict=True))
    if (i[1:] >= i[:-1]).all():
        return Matches(i, j, sep)
    order = np.argsort(i, kind="stable")
    return Matches(i[order], j[order], sep[order])


def _mutual(
    found: Matches, first: Points, second: Points, radius_arcsec: float, errors: Errors | None, threads: int
) -> Matches:
    """Those nearest neighbours whose own nearest neighbour is the position they are nearest to."""
    chosen = np.unique(found.j)
    if not len(chosen):
        return found
    turned = None if errors is None else errors.turned(chosen)
    back = _joined(neighbours(second.subset(chosen), first, radius_arcsec, 1, turned, threads))
    nearest = np.full(len(second), -1, dtype=np.int64)
    nearest[chosen[back.i]] = back.j
    keep = nearest[found.j] == found.i
    return Matches(found.i[keep], found.j[keep], found.sep_arcsec[keep])
