"""Which positions of two lists lie within a radius of one another: exact anywhere on the sphere, on plain arrays.

A k-d tree over unit vectors proposes pairs within a slightly larger chord; the angle between their vectors decides
(accurate to 1e-10 arcsec at any separation). Both sides are walked in sky order, which makes the tree several times
faster. No scheduler and no files here.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from mmu.errors import UsageError, unknown

MODES = ("nearest", "mutual", "all", "knn")
"""For each position of the first list: the nearest of the second; that, where it is nearest the other way too; all
within the radius; the k nearest."""

ARCSEC = np.degrees(1.0) * 3600.0
_SLACK = 1.0 + 1e-9
_ROUNDING = 4e-16
_BLOCK = 1 << 22

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
    """Positions as unit vectors in the order in which to walk them, and a tree over them, made when needed.

    Attributes:
        vectors: unit vectors in walking order, (N, 3).
        order: row of each; None if the rows stand in such an order already.

    Raises:
        UsageError: a position is none; `name` says of which list.
    """

    def __init__(self, ra: ArrayLike, dec: ArrayLike, ids: Ids = None, name: str = "") -> None:
        lon, lat = np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64)
        if lon.ndim != 1 or lon.shape != lat.shape or (ids is not None and len(ids) != len(lon)):
            raise UsageError(f"The {name} list: RA, Dec and ids must be one-dimensional and equally long.")
        _refuse_bad(lon, lat, name)
        self.ids, self.order = ids, _walk(lon, lat)
        if self.order is not None:
            lon, lat = lon[self.order], lat[self.order]
        self.vectors = unit_vectors(lon, lat)
        self._tree: Any = None

    def __len__(self) -> int:
        return len(self.vectors)

    def rows(self, walked: Rows) -> Rows:
        """Row numbers of places in the walk."""
        return walked if self.order is None else self.order[walked]

    def subset(self, rows: Rows) -> Points:
        """Some of the positions, as a list of their own, without ids."""
        some = copy(self)
        some.ids, some._tree, place = None, None, rows
        if self.order is not None:
            place = np.empty_like(self.order)
            place[self.order] = np.arange(len(self.order))
            some.order = np.argsort(place[rows])
            place = place[rows][some.order]
        some.vectors = self.vectors[place]
        return some

    def tree(self) -> Any:
        """A k-d tree over `vectors`."""
        if self._tree is None:
            from scipy.spatial import cKDTree

            self._tree = cKDTree(self.vectors, balanced_tree=False, compact_nodes=False)
        return self._tree

    def rank(self, walked: Rows) -> Rows:
        """Where places in the walk come when ordered by id."""
        rows = self.rows(walked)
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
    chord = 2.0 * np.sin(np.radians(radius_arcsec / 3600.0) / 2.0) * _SLACK + _ROUNDING
    for i, j in _proposed(first.vectors, second.tree(), chord, None if errors else limit, threads):
        sep = separation_arcsec(first.vectors[i], second.vectors[j])
        keep = sep <= radius_arcsec
        if errors is not None:
            keep &= errors.allow(first.rows(i), second.rows(j), sep)
        if not keep.all():
            i, j, sep = i[keep], j[keep], sep[keep]
        i, j, sep = _nearest_first(i, j, sep, second, limit)
        yield Matches(first.rows(i), second.rows(j), sep)


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


def _walk(ra: Floats, dec: Floats) -> Rows | None:
    """The order that visits positions zone by zone of the sky; None if they stand in such an order already."""
    count = len(ra)
    if count < 1024:
        return None
    at = np.linspace(0, count - 2, 1024).astype(np.int64)
    here, then = unit_vectors(ra[at], dec[at]), unit_vectors(ra[at + 1], dec[at + 1])
    if np.median(_length(then - here)) * np.sqrt(count) < 32.0 * np.median(_length(here - here[512])):
        return None
    east = ra % 360.0
    cell = np.clip(np.sqrt(np.ptp(dec) * np.ptp(east) * 16.0 / count), 1e-4, 10.0)
    zone, along = np.floor((dec + 90.0) / cell).astype(np.int64), np.floor(east / cell).astype(np.int64)
    return np.argsort((zone << 32) | np.where(zone & 1, along, (1 << 31) - along))


def _proposed(points: Floats, tree: Any, chord: float, limit: int | None, threads: int) -> Iterator[tuple[Rows, Rows]]:
    """Rows of `points` and of the tree's that are nearer than a chord; with a limit, its ties included.

    The number of neighbours asked for grows for those rows only that may have more.
    """
    k, rows = 2 if limit is None else limit + 1, np.arange(len(points))
    while len(rows):
        k, again = min(k, tree.n), []
        size = max(1, _BLOCK // k)
        for start in range(0, len(rows), size):
            block = rows[start : start + size]
            distance, near = tree.query(points[block], k=k, distance_upper_bound=chord, workers=threads)
            distance, near = distance.reshape(len(block), k), near.reshape(len(block), k)
            found = np.isfinite(distance)
            more = found[:, -1] & (k < tree.n)
            if limit is not None and limit < k:
                more &= distance[:, -1] <= distance[:, limit - 1] * _SLACK + _ROUNDING
            if more.any():
                again.append(block[more])
                found[more] = False
            yield block.repeat(found.sum(axis=1)), near[found]
        rows, k = np.concatenate(again) if again else rows[:0], 4 * k


def _nearest_first(i: Rows, j: Rows, sep: Floats, second: Points, limit: int | None) -> Matches:
    """The matches of each row by (separation, id, row), cut to `limit`; those of one row stand together already."""
    same = i[1:] == i[:-1]
    if not same.any():
        return Matches(i, j, sep)
    tied = np.flatnonzero(same & (sep[1:] <= sep[:-1]))
    if len(tied):
        at = np.flatnonzero(np.isin(i, i[tied]))
        group = np.unique(i[at], return_inverse=True)[1]
        by = at[np.lexsort((second.rows(j[at]), second.rank(j[at]), sep[at], group))]
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
