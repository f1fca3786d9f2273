"""The surroundings of a partition: a ring of finer pixels just outside it, wide enough for a radius."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mmu.sky.healpix import MAX_ORDER, neighbours
from mmu.sky.partition import Partition

Pixels = NDArray[np.int64]

_NARROWEST_ORDER_13_ARCSEC = 16.1
_CELLS_A_SIDE = 32


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
    return np.unique((partition.pixel << (2 * depth)) + (_spread(x) | (_spread(y) << 1)))


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
    """A partition and what may lie within a radius of it: a superset, told row by row from `_healpix_29`."""

    partition: Partition
    radius_arcsec: float

    @cached_property
    def order(self) -> int:
        """Order of the ring's pixels: as fine as the radius allows and a ring of some hundred pixels can be."""
        return min(ring_order(self.radius_arcsec), self.partition.order + _CELLS_A_SIDE.bit_length() - 1)

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

    def meets(self, low: int, high: int) -> bool:
        """True if any of the order-29 pixels low..high (both included) is covered."""
        at = int(np.searchsorted(self.spans[:, 1], low, side="right"))
        return at < len(self.spans) and int(self.spans[at, 0]) <= high

    def inside(self, healpix_29: Pixels) -> NDArray[np.bool_]:
        """True for positions in the partition itself."""
        low, high = self.partition.span
        return np.asarray((healpix_29 >= low) & (healpix_29 < high))

    def covers(self, healpix_29: Pixels) -> NDArray[np.bool_]:
        """True for positions in the partition or its ring."""
        at = np.searchsorted(self.spans[:, 1], healpix_29, side="right")
        starts = np.r_[self.spans[:, 0], np.iinfo(np.int64).max]
        return np.asarray(starts[at] <= healpix_29)


def _spread(values: Pixels) -> Pixels:
    """Every bit moved to twice its place: half of a nested pixel number."""
    out = np.zeros_like(values)
    for bit in range(int(values.max(initial=0)).bit_length()):
        out |= ((values >> bit) & 1) << (2 * bit)
    return out
