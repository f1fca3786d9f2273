"""The plan of a match: into which parts of the sky it is cut, and which partitions of each dataset a part needs.

Parts are HEALPix pixels, as coarse as a bound on the records in them allows; no dataset's own partitions decide them,
so coarse and fine ones meet on equal terms, and no margin is needed: a part's surroundings are read from whichever
partitions hold them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossmatch.rule import Rule
from crossmatch.sources import Part, Source
from crossmatch.work import TILE_ROWS
from mmu.sky.halo import Cover
from mmu.sky.healpix import MAX_ORDER
from mmu.sky.partition import FINEST_ORDER, Partition
from mmu.sky.region import parse_region

Spans = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Task:
    """One part of the sky, and what to read of each dataset for it."""

    cover: Cover
    parts: tuple[Part, ...]


def tiles(rule: Rule, sources: Sequence[Source], most_rows: int = TILE_ROWS) -> list[Partition]:
    """The parts of the sky to match, in its order: those that may hold objects, with at most `most_rows` records.

    Counts of partitions that span several parts are shared out evenly; a part is never smaller than 13 arcsec.
    """
    makers = sources if rule.how == "outer" else sources[:1]
    sums = [np.r_[0, np.cumsum(source.counts)] for source in sources]
    wanted = parse_region(rule.region)
    leaves: list[Partition] = []
    pixels = np.arange(12, dtype=np.int64)
    for order in range(FINEST_ORDER + 1):
        shift = 2 * (MAX_ORDER - order)
        if not wanted.whole and order <= 8:
            pixels = pixels[np.isin(pixels, wanted.pixels(order))]
        spans = np.stack([pixels << shift, (pixels + 1) << shift], axis=1)
        rows = [_rows_in(source, total, spans) for source, total in zip(sources, sums, strict=True)]
        held = sum(rows[index] for index in range(len(makers))) > 0
        full = (sum(rows) > most_rows) & (order < FINEST_ORDER)
        leaves += [Partition(order, int(pixel)) for pixel in pixels[held & ~full]]
        pixels = (4 * pixels[held & full][:, None] + np.arange(4)).reshape(-1)
    return sorted(leaves, key=lambda leaf: leaf.span)


def tasks(
    rule: Rule, sources: Sequence[Source], leaves: Sequence[Partition]
) -> Iterator[tuple[Partition, Task | None]]:
    """Each part with what to read for it; None where a dataset that every object needs has nothing there."""
    orders = tuple(sorted({leaf.order for leaf in leaves}))
    for leaf in leaves:
        cover = Cover(leaf, rule.halo_arcsec, orders)
        found = [overlapping(source.spans, cover.spans) for source in sources]
        if any(not len(at) for at, name in zip(found, rule.names, strict=True) if name in rule.needed):
            yield leaf, None
            continue
        parts = tuple(source.part(at, cover) for source, at in zip(sources, found, strict=True))
        yield leaf, Task(cover, parts)


def overlapping(partitions: Spans, covered: Spans) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Which partitions any of the covered stretches of order-29 pixels touches; both sorted and disjoint."""
    if not len(partitions):
        return np.empty(0, np.int64)
    first = np.searchsorted(partitions[:, 1], covered[:, 0], side="right")
    last = np.searchsorted(partitions[:, 0], covered[:, 1], side="left")
    size = np.maximum(last - first, 0)
    found = np.arange(size.sum()) + np.repeat(first - np.cumsum(size) + size, size)
    return np.asarray(found[np.diff(found, prepend=-1) > 0])  # a partition touched by several stretches comes once


def _rows_in(source: Source, total: Spans, spans: Spans) -> np.ndarray[Any, Any]:
    """Records of a source in each stretch; at least one where a partition touches it."""
    if not len(source.spans):
        return np.zeros(len(spans))
    first = np.searchsorted(source.spans[:, 1], spans[:, 0], side="right")
    last = np.searchsorted(source.spans[:, 0], spans[:, 1], side="left")
    rows = (total[last] - total[np.minimum(first, last)]).astype(np.float64)
    at = np.minimum(first, len(source.spans) - 1)
    size = source.spans[at, 1] - source.spans[at, 0]
    share = (spans[:, 1] - spans[:, 0]) / size
    inside = (last > first) & (share < 1.0)
    return np.where(last > first, np.maximum(np.where(inside, source.counts[at] * share, rows), 1.0), 0.0)
