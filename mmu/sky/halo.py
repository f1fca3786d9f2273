"""The surroundings of a partition: a ring of finer pixels just outside it, wide enough for a radius."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mmu.sky.healpix import MAX_ORDER
from mmu.sky.neighbours import Pixels, neighbours, spread
from mmu.sky.partition import Partition

_NARROWEST_ORDER_13_ARCSEC = 16.1
_CELLS_A_SIDE = 128
_THIN_DEPTH = 4


def ring_order(radius_arcsec: float) -> int:
    """The finest order whose pixels are nowhere narrower than a radius, so that one ring of them covers it.

    Raises:
        ValueError: the radius is larger than the pixels of order 0.
    """
    if radius_arcsec > _NARROWEST_ORDER_13_ARCSEC * 2**13:
        raise ValueError(f"a ring of HEALPix pixels cannot cover {radius_arcsec} arcsec")
    if radius_arcsec <= _NARROWEST_ORDER_13_ARCSEC * 2.0 ** (13 - MAX_ORDER):
        return MAX_ORDER
    return min(MAX_ORDER, 13 + int(np.floor(np.log2(_NARROWEST_ORDER_13_ARCSEC / radius_arcsec))))


def border(partition: Partition, order: int) -> Pixels:
    """Pixels of an order along the inside of a partition's border (the one it lies in, if it is finer)."""
    depth = order - partition.order
    if depth <= 0:
        return np.array([partition.pixel >> (-2 * depth)])
    edge = np.arange(1 << depth, dtype=np.int64)
    low, high = np.zeros_like(edge), np.full_like(edge, (1 << depth) - 1)
    x, y = np.concatenate([low, high, edge, edge]), np.concatenate([edge, edge, low, high])
    return np.unique((partition.pixel << (2 * depth)) + (spread(x) | (spread(y) << 1)))


def ring(partition: Partition, order: int) -> Pixels:
    """Pixels of an order that touch a partition from outside, sorted.

    A partition finer than that lies inside one; then it is that pixel and its neighbours.
    """
    inside = border(partition, order)
    around = np.unique(neighbours(order, inside))
    around = around[around >= 0]
    if partition.order > order:
        return np.union1d(around, inside)
    return np.asarray(around[around >> (2 * (order - partition.order)) != partition.pixel])


@dataclass(frozen=True)
class Cover:
    """A partition and what may lie within a radius of it: a superset, told row by row from `_healpix_29`.

    `orders` are those of all the partitions that have covers.
    """

    partition: Partition
    radius_arcsec: float
    orders: tuple[int, ...] = ()

    @property
    def order(self) -> int:
        """Order of the ring's pixels."""
        return self._ring_order(self.partition.order)

    def _ring_order(self, order: int) -> int:
        """As fine as the radius allows and a ring of some hundred pixels round a partition can be."""
        return min(ring_order(self.radius_arcsec), order + _CELLS_A_SIDE.bit_length() - 1)

    @cached_property
    def ring(self) -> Pixels:
        return ring(self.partition, self.order)

    @cached_property
    def spans(self) -> Pixels:
        """First and one-past-last order-29 pixels of all that is covered, (N, 2), sorted, disjoint."""
        shift = 2 * (MAX_ORDER - self.order)
        cells = np.stack([self.ring << shift, (self.ring + 1) << shift], axis=1)
        spans = np.concatenate([cells, np.array([self.partition.span], dtype=np.int64)])
        spans = spans[np.argsort(spans[:, 0], kind="stable")]
        reach = np.maximum.accumulate(spans[:, 1])
        first = np.flatnonzero(np.r_[True, spans[1:, 0] > reach[:-1]])
        return np.stack([spans[first, 0], reach[np.r_[first[1:], len(spans)] - 1]], axis=1)

    def meets(self, low: Pixels, high: Pixels) -> NDArray[np.bool_]:
        """True for stretches of order-29 pixels, low..high (both included), of which any is covered."""
        at = np.searchsorted(self.spans[:, 1], low, side="right")
        starts = np.r_[self.spans[:, 0], np.iinfo(np.int64).max]
        return np.asarray((at < len(self.spans)) & (starts[at] <= high))

    def inside(self, healpix_29: Pixels) -> NDArray[np.bool_]:
        """True for positions in the partition itself."""
        low, high = self.partition.span
        return np.asarray((healpix_29 >= low) & (healpix_29 < high))

    def covers(self, healpix_29: Pixels) -> NDArray[np.bool_]:
        """True for positions in the partition or its ring."""
        at = np.searchsorted(self.spans[:, 1], healpix_29, side="right")
        starts = np.r_[self.spans[:, 0], np.iinfo(np.int64).max]
        return np.asarray(starts[at] <= healpix_29)

    def stretches(self, healpix_29: Pixels) -> Pixels:
        """Where the covered ones of sorted positions lie: first and one-past-last row of each stretch, (N, 2)."""
        rows = np.searchsorted(healpix_29, self.spans)
        return rows[rows[:, 0] < rows[:, 1]]

    @property
    def thin(self) -> bool:
        """True if the rings are much narrower than the partitions."""
        return all(self._ring_order(order) - order >= _THIN_DEPTH for order in self.orders)

    def along_borders(self, healpix_29: Pixels) -> NDArray[np.bool_]:
        """True for positions that the ring of a partition of any of the `orders` may hold; for all, if not `thin`."""
        found = np.full(len(healpix_29), not self.thin)
        for order in self.orders if self.thin else ():
            depth = self._ring_order(order) - order
            within = healpix_29 >> (2 * (MAX_ORDER - order - depth))
            last = ((1 << (2 * depth)) - 1) // 3  # every other bit: the largest x, and twice that the largest y
            x, y = within & last, within & (2 * last)
            found |= (x == 0) | (x == last) | (y == 0) | (y == 2 * last)
        return found
