"""One dataset against the objects that are there before it: who is whose, and the counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from crossmatch.matcher import Errors, Floats, Matches, Points, Rows, neighbours
from crossmatch.motion import moved
from crossmatch.places import SKY
from crossmatch.rule import Rule
from mmu.sky.halo import Cover, ring_order
from mmu.sky.healpix import MAX_ORDER

AMBIGUOUS, SHARED, TIED = 1, 2, 4
"""Flags of a match: several candidates lay within the radius; the record is another object's match too; another
candidate lies exactly as far, and the smaller id won."""

BINS = 40
_CELL_ORDER = 10
_CELL_RADII = 20.0
_SPHERE_ARCSEC2 = 4 * np.pi * (np.degrees(1) * 3600) ** 2

_ALL = slice(None)

Flags = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass
class Objects:
    """The objects so far: each is a record of the dataset that made it."""

    maker: Rows
    row: Rows

    def plus(self, maker: int, rows: Rows) -> Objects:
        return Objects(np.r_[self.maker, np.full(len(rows), maker)], np.r_[self.row, rows])

    def made_by(self, maker: int) -> Rows | slice:
        """Rows of the dataset that made them; the anchor's records are objects all."""
        return self.row[self.maker == maker] if maker else _ALL


@dataclass
class Found:
    """What one dataset has for each object: a row of it or -1, arcsec, candidates within the radius, flags.

    `of` is the object of each entry: an object has several where it has several neighbours.
    """

    row: Rows
    sep: Floats
    candidates: Rows
    flags: Rows
    of: Rows

    def extended(self, count: int) -> Found:
        """For `count` more objects, made later, which this dataset does not have."""
        none, last = np.zeros(count, dtype=np.int64), int(self.of[-1]) + 1 if len(self.of) else 0
        return Found(
            np.r_[self.row, none - 1],
            np.r_[self.sep, none + np.nan],
            np.r_[self.candidates, none],
            np.r_[self.flags, none],
            np.r_[self.of, last + np.arange(count)],
        )


@dataclass
class Tally:
    """Counts of one dataset against the objects before it, in one part of the sky.

    `pairs` are all within the radius, by separation in `histogram`; `chance` is how many there would be if the
    dataset's records stood anywhere else nearby.
    """

    records: int = 0
    matched: int = 0
    ambiguous: int = 0
    shared: int = 0
    pairs: int = 0
    chance: float = 0.0
    histogram: list[int] = field(default_factory=lambda: [0] * BINS)

    def add(self, other: Tally) -> None:
        for name in ("records", "matched", "ambiguous", "shared", "pairs", "chance"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.histogram = [a + b for a, b in zip(self.histogram, other.histogram, strict=True)]


class Level:
    """One dataset and the objects before it.

    Args:
        homes: of each dataset, True for the records that stand in the part of the sky that is counted.
    """

    def __init__(
        self,
        rule: Rule,
        index: int,
        places: Sequence[pa.Table],
        homes: Sequence[Flags],
        objects: Objects,
        threads: int,
    ) -> None:
        self.rule, self.objects, self.threads = rule, objects, threads
        self.places, self.records, self.here = places, places[index], homes[index]
        self.time = rule.meeting_epoch(index)
        made = [(m, objects.made_by(m)) for m in range(index)]
        ra, dec = (_joined(axis) for axis in zip(*(self._positions(*one) for one in made), strict=True))
        ids = [ids_of(places[m], rows) for m, rows in made]
        self.first = Points(ra, dec, ids[0] if len(ids) == 1 else pa.concat_arrays(ids), "objects'")
        self.second = Points(*self._positions(index, _ALL), ids_of(self.records, _ALL), rule.names[index])
        self.sky = _joined([places[m][SKY].to_numpy()[rows] for m, rows in made])
        self.at_home = _joined([homes[m][rows] for m, rows in made])
        self.errors = None
        if rule.n_sigma is not None:
            first = _joined([_errors(places[m], rows) for m, rows in made])
            self.errors = Errors(first, _errors(self.records, _ALL), rule.n_sigma)

    def _positions(self, index: int, rows: Rows | slice) -> tuple[Floats, Floats]:
        """Where some records of a dataset are when this level's positions are compared."""
        table = self.places[index]
        ra, dec = table["ra"].to_numpy()[rows], table["dec"].to_numpy()[rows]
        epoch = self.rule.epochs[index] if self.rule.moves and self.rule.moves[index] else None
        if self.time is None or epoch is None or self.time == epoch:
            return ra, dec
        pmra, pmdec = (table[name].to_numpy()[rows] for name in ("pmra", "pmdec"))
        return moved(ra, dec, pmra, pmdec, self.time - epoch)

    def match(self) -> tuple[Found, Tally]:
        """The record, or records, of each object; and the counts of those at home."""
        count = len(self.objects.row)
        found = Found(
            np.full(count, -1, np.int64),
            np.full(count, np.nan),
            np.zeros(count, np.int64),
            np.zeros(count, np.int64),
            np.arange(count),
        )
        tally, several = Tally(records=int(self.here.sum())), []
        for block in neighbours(
            self.first, self.second, self.rule.radius_arcsec, None, self.errors, self.threads
        ):  # each object's candidates are in one block
            self._take(found, block)
            self._count(tally, block)
            several.append(block)
            if not self.rule.several:
                several.clear()
        if self.rule.several:
            found = self._neighbours(found, several)
        elif self.rule.mode == "mutual":
            alone = self._not_mutual(found.row)
            found.row[alone], found.sep[alone] = -1, np.nan
        found.flags |= _shared(found.row)
        self._finish(tally, found)
        return found, tally

    def _take(self, found: Found, block: Matches) -> None:
        """Each object's nearest record, and how many there are."""
        i, j, sep = block
        start, size = runs(i)
        at = i[start]
        found.row[at], found.sep[at], found.candidates[at] = j[start], sep[start], size
        more = start[size > 1]
        found.flags[i[more]] = AMBIGUOUS
        found.flags[i[more[sep[more + 1] == sep[more]]]] |= TIED

    def _count(self, tally: Tally, block: Matches) -> None:
        """Pairs by separation."""
        sep = block.sep_arcsec[self.at_home[block.i]]
        tally.pairs += len(sep)
        edges = np.linspace(0.0, self.rule.radius_arcsec, BINS + 1)
        counts = np.histogram(sep, edges)[0].tolist()
        tally.histogram = [a + b for a, b in zip(tally.histogram, counts, strict=True)]

    def _neighbours(self, found: Found, blocks: list[Matches]) -> Found:
        """An entry for each neighbour, and one for each object that has none; by object, then nearest first."""
        i, j, sep = (
            (np.concatenate([found.of[:0], *part]) for part in zip(*blocks, strict=True))
            if blocks
            else (found.of[:0],) * 3
        )
        start, size = runs(i)
        place = np.arange(len(i)) - np.repeat(start, size)
        keep = place < (self.rule.k if self.rule.mode == "knn" else len(i))
        alone = np.flatnonzero(found.candidates == 0)
        of, rank = np.r_[i[keep], alone], np.r_[place[keep], np.zeros(len(alone), np.int64)]
        row, best = np.r_[j[keep], np.full(len(alone), -1)], np.r_[sep[keep], np.full(len(alone), np.nan)]
        order = np.lexsort((rank, of))
        of = of[order]
        return Found(row[order], best[order], found.candidates[of], found.flags[of], of)

    def _not_mutual(self, row: Rows) -> Rows:
        """Objects whose nearest record is nearer to another object."""
        matched = np.flatnonzero(row >= 0)
        chosen = np.unique(row[matched])
        nearest = np.full(len(self.records), -1, np.int64)
        errors = None if self.errors is None else self.errors.turned(chosen)
        back = self.second.subset(chosen)
        for block in neighbours(back, self.first, self.rule.radius_arcsec, 1, errors, self.threads):
            nearest[chosen[block.i]] = block.j
        return np.asarray(matched[nearest[row[matched]] != matched])

    def _finish(self, tally: Tally, found: Found) -> None:
        mine = np.flatnonzero(self.at_home[found.of] & (found.row >= 0))
        flags = found.flags[mine]
        start = runs(found.of[mine])[0]  # an object may have several entries, one after the other
        flags = np.bitwise_or.reduceat(flags, start) if len(start) < len(flags) else flags
        tally.matched = len(start)
        tally.ambiguous = int(np.count_nonzero(flags & AMBIGUOUS))
        tally.shared = int(np.count_nonzero(flags & SHARED))

    def chance(self, found: Found, cover: Cover) -> float:
        """Pairs to expect from the densities alone: per cell of the sky, objects times records over its area.

        An object's own match is no chance, so one record of each object that has any does not count.
        """
        order = min(_CELL_ORDER, ring_order(_CELL_RADII * self.rule.radius_arcsec))
        order = max(order, cover.partition.order)
        shift = 2 * (MAX_ORDER - order)
        low, high = (edge >> shift for edge in cover.partition.span)
        has = np.zeros(len(self.at_home), bool)
        has[found.of] = found.candidates > 0

        def cells(sky: Rows, keep: Flags) -> Floats:
            return np.bincount((sky[keep] >> shift) - low, minlength=high - low).astype(np.float64)

        records = cells(self.records[SKY].to_numpy(), self.here)
        pairs = cells(self.sky, self.at_home) * records - cells(self.sky, self.at_home & has)
        density = np.maximum(pairs, 0.0).sum() * 12 * 4.0**order / _SPHERE_ARCSEC2
        return float(density * np.pi * self.rule.radius_arcsec**2)


def runs(values: Rows) -> tuple[Rows, Rows]:
    """Where each run of equal values starts, and how long it is."""
    start = np.flatnonzero(np.r_[True, values[1:] != values[:-1]]) if len(values) else values[:0]
    return start, np.diff(np.r_[start, len(values)])


def ids_of(places: pa.Table, rows: Rows | slice) -> pa.Array:
    """Ids of some rows, in one array."""
    column = places["object_id"] if isinstance(rows, slice) else places["object_id"].take(pa.array(rows))
    return pa.concat_arrays([*column.chunks, pa.array([], column.type)]) if column.num_chunks != 1 else column.chunk(0)


def _errors(places: pa.Table, rows: Rows | slice) -> Floats:
    """Positional errors; a dataset without them has none."""
    errors = places["error"].to_numpy() if "error" in places.column_names else np.zeros(len(places))
    return np.asarray(errors[rows])


def _joined(pieces: Sequence[Any]) -> Any:
    """One array of several; not copied if it is the only one."""
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _shared(row: Rows) -> Rows:
    """The flag of records that are the match of more than one entry."""
    matched = row >= 0
    uses = np.bincount(row[matched], minlength=1)
    return np.where(matched & (uses[np.maximum(row, 0)] > 1), SHARED, 0)
