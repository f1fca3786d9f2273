"""Random numbers that are a function of what they are for, never of what was drawn before.

    own = streams(seed, epoch, indices)        one stream for each object, whatever else is in its batch
    numbers = bits(own, what)                  its number `what`, 64 random bits
    uniform(numbers); below(numbers, count); Beta(0.1, 1.0)(uniform(numbers))

splitmix64 (Steele, Lea and Flood 2014): number k of a stream is a hash of where it starts plus k times an odd constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmu.errors import UsageError

Bits = NDArray[np.uint64]
_STEP = np.uint64(0x9E3779B97F4A7C15)
_NODES = 4097
"""Of the table of a Beta distribution, on each side of one half."""


def _hashed(z: Bits) -> Bits:
    """The hash itself, in place."""
    shifted = z >> np.uint64(30)
    z ^= shifted
    z *= np.uint64(0xBF58476D1CE4E5B9)
    np.right_shift(z, np.uint64(27), out=shifted)
    z ^= shifted
    z *= np.uint64(0x94D049BB133111EB)
    np.right_shift(z, np.uint64(31), out=shifted)
    z ^= shifted
    return z


def bits(streams: Bits, what: Any) -> Bits:
    """Number `what` of each stream: 64 random bits, of the shape that both broadcast to."""
    return _hashed(streams + _STEP * (np.atleast_1d(what).astype(np.uint64) + np.uint64(1)))


def streams(seed: int, epoch: int, indices: NDArray[np.int64]) -> Bits:
    """Where the stream of each object starts; (objects,) for their global numbers."""
    start = np.zeros(1, np.uint64)
    for part in (seed, epoch):
        start = bits(start, np.uint64(int(part) % 2**64))
    return bits(start, np.asarray(indices).astype(np.uint64))


def uniform(numbers: Bits) -> NDArray[np.float64]:
    """From 0 to 1, without 1."""
    return (numbers >> np.uint64(11)).astype(np.float64) * 2.0**-53


def below(numbers: Bits, count: NDArray[np.int64]) -> NDArray[np.int64]:
    """One of 0 to count - 1; 0 where the count is 0."""
    return (uniform(numbers) * count).astype(np.int64)


@dataclass(frozen=True)
class Beta:
    """The quantiles of a Beta distribution, from a table: uniform numbers in, its numbers out.

    The density may be infinite at both ends; in s = x^a (and (1 - x)^b from the other end) it is not.

    Raises:
        UsageError: a parameter is not positive.
    """

    a: float
    b: float

    def __post_init__(self) -> None:
        if not (self.a > 0 and self.b > 0):
            raise UsageError(f"Beta({self.a}, {self.b}): both parameters must be positive.")

    def __call__(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        left, right = self._tables
        low, high = left[1][-1], right[1][-1]
        mass = shares * (low + high)
        from_left = np.interp(mass, left[1], left[0]) ** (1 / self.a)
        from_right = 1 - np.interp(low + high - mass, right[1], right[0]) ** (1 / self.b)
        return np.asarray(np.where(mass <= low, from_left, from_right))

    @cached_property
    def _tables(self) -> tuple[Any, Any]:
        return _half(self.a, self.b), _half(self.b, self.a)


def _half(a: float, b: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes s = x^a up to x = 1/2, and the integral of x^(a-1) (1-x)^(b-1) up to each."""
    nodes = np.linspace(0, 0.5**a, _NODES)
    heights = (1 - nodes ** (1 / a)) ** (b - 1) / a
    areas = (heights[1:] + heights[:-1]) / 2 * np.diff(nodes)
    return nodes, np.concatenate([[0.0], np.cumsum(areas)])
