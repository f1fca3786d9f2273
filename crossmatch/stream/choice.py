"""Which samples an epoch goes over: those of one split of the sky, drawn by weight where weights are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmatch.stream.samples import Rows, Samples
from mmu.errors import UsageError, unknown
from mmu.sky.healpix import MAX_ORDER

SPLITS = {"train": 0.8, "validation": 0.1, "test": 0.1}
CELL_ORDER = 5
"""Cells of the sky that are given to a split as a whole: 1.8 degrees wide."""

_DRAW = 0x5EED


@dataclass(frozen=True)
class Choice:
    """The samples of an epoch, in the order of the sky; drawn with replacement, as many as there are, if weighted.

    Attributes:
        rows: those that may be chosen; straddling: how many were left out as they touch two splits.
    """

    rows: Rows
    weights: NDArray[np.float64] | None = None
    seed: int = 0
    straddling: int = 0

    def __call__(self, epoch: int) -> Rows:
        if self.weights is None or not len(self.rows):
            return self.rows
        random = np.random.default_rng((self.seed, epoch, _DRAW))
        drawn = np.searchsorted(np.cumsum(self.weights), random.random(len(self.rows)) * self.weights.sum(), "right")
        return np.asarray(self.rows[np.sort(np.minimum(drawn, len(self.rows) - 1))])


def split_of(sky: Rows, splits: Mapping[str, float], order: int = CELL_ORDER, seed: int = 0) -> NDArray[np.int8]:
    """The number of the split of each position (order-29 pixels): its cell's, whatever else is in the dataset."""
    cells = sky.astype(np.uint64) >> np.uint64(2 * (MAX_ORDER - order))
    edges = np.cumsum(list(splits.values()))
    return np.minimum(np.searchsorted(edges / edges[-1], _uniform(cells, seed), "right"), len(edges) - 1).astype(
        np.int8
    )


def number_of(split: str, splits: Mapping[str, float]) -> int:
    """The number of a split.

    Raises:
        UsageError: there is no such split, or their shares are none.
    """
    if split not in splits:
        raise unknown("split", split, splits)
    if any(share < 0 for share in splits.values()) or sum(splits.values()) <= 0:
        raise UsageError(f"The shares of the splits {dict(splits)} must be positive numbers.")
    return list(splits).index(split)


def in_split(
    samples: Samples, sky: list[Rows], split: str, splits: Mapping[str, float], order: int = CELL_ORDER, seed: int = 0
) -> tuple[Rows, int]:
    """The samples of a split, and how many are left out because their group touches two.

    A group is what is connected by records that several objects share: it goes as a whole.

    Args:
        sky: of each dataset's records, order-29 pixels, (N,); -1 where there is none.

    Raises:
        UsageError: there is no such split.
    """
    mine = number_of(split, splits)
    of = [split_of(samples.sky, splits, order, seed)]
    of += [np.where(one < 0, of[0], split_of(np.maximum(one, 0), splits, order, seed)) for one in sky]
    low, high = _extents(samples, of)
    touches = (low <= mine) & (high >= mine) & np.any([one == mine for one in of], axis=0)
    whole = low == high
    return np.flatnonzero(whole & (low == mine)), int(np.count_nonzero(touches & ~whole))


def straddling(samples: Samples, sky: list[Rows], order: int = CELL_ORDER) -> NDArray[np.bool_]:
    """True for samples whose group touches two cells, so that some split of the cells may leave it out.

    Args:
        sky: of each dataset's records, order-29 pixels, (N,); -1 where there is none.
    """
    shift = 2 * (MAX_ORDER - order)
    low, high = _extents(
        samples, [samples.sky >> shift, *(np.where(one < 0, samples.sky, one) >> shift for one in sky)]
    )
    return np.asarray(low != high)


def _extents(samples: Samples, of: list[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The least and the largest number of each sample's group."""
    group = _connected(samples)
    low, high = of[0].copy(), of[0].copy()
    for one in of:
        np.minimum.at(low, group, one)
        np.maximum.at(high, group, one)
    return low[group], high[group]


def _connected(samples: Samples) -> Rows:
    """A number for each sample, the same for those that share records, directly or through others."""
    label = np.arange(len(samples))
    records = []
    for leaf, row in zip(samples.leaf, samples.row, strict=True):
        has = np.flatnonzero(leaf >= 0)
        same = np.unique(np.stack([leaf[has], row[has]]), axis=1, return_inverse=True)[1].reshape(-1)
        if len(has) and same.max() + 1 < len(has):
            records.append((has, same))
    while True:
        before = label.copy()
        for has, same in records:
            least = np.full(int(same.max()) + 1, len(label))
            np.minimum.at(least, same, label[has])
            label[has] = np.minimum(label[has], least[same])
        if np.array_equal(before, label):
            return label


def weights_of(samples: Samples, weights: Any) -> NDArray[np.float64]:
    """The weight of each sample: what a HEALPix map (nested) has there, or the product over the datasets it is in.

    Raises:
        UsageError: a map that is none, an unknown dataset, a weight that is none.
    """
    if isinstance(weights, Mapping):
        names = [side.name for side in samples.sides]
        out = np.ones(len(samples))
        for name, weight in weights.items():
            if name not in names:
                raise unknown("dataset of the stream", name, names)
            out[samples.present[names.index(name)]] *= weight
    else:
        whole = np.asarray(weights, dtype=np.float64)
        order = int(np.log2(max(len(whole), 1) / 12) / 2)
        if whole.ndim != 1 or len(whole) != 12 * 4**order:
            raise UsageError(f"weights of shape {whole.shape}: a HEALPix map has 12 x 4^order pixels, nested.")
        out = whole[samples.sky >> (2 * (MAX_ORDER - order))]
    if not np.isfinite(out).all() or (out < 0).any() or (len(out) and not out.any()):
        raise UsageError("weights must be finite, not negative, and not zero everywhere there are samples.")
    return out


def _uniform(cells: NDArray[np.uint64], seed: int) -> NDArray[np.float64]:
    """A number from 0 to 1 for each cell: splitmix64 (Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        z = (cells + np.uint64(seed) * np.uint64(0xD1B54A32D192ED03) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
