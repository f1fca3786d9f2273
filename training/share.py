"""Which objects are in a split of the sky: those that `mmu.stream` has in a split of that name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmu.dataset import Dataset
from mmu.errors import UsageError
from mmu.schema.column import HEALPIX

SKY = HEALPIX.name
Chosen = NDArray[np.bool_]


def told(split: str | None, splits: Mapping[str, float] | None) -> list[Any] | None:
    """A split and the shares of all, as a record of what was trained on; None for the whole sky."""
    from crossmatch.stream.choice import SPLITS

    return None if split is None else [split, dict(SPLITS if splits is None else splits)]


def chooser(split: str | None, splits: Mapping[str, float] | None = None) -> Callable[..., Chosen] | None:
    """Which objects count, of their order-29 pixels and whether they touch two cells; None if all do.

    Raises:
        UsageError: there is no such split.
    """
    from crossmatch.stream.choice import number_of, split_of

    known = told(split, splits)
    if known is None:
        return None
    shares = known[1]
    mine = number_of(known[0], shares)
    return lambda sky, straddles=False: (split_of(sky, shares) == mine) & ~np.asarray(straddles, bool)


def chosen(dataset: Dataset, split: str | None, splits: Mapping[str, float] | None = None) -> Chosen:
    """True for the rows of a dataset that are in a split, in the order of its shards.

    Raises:
        UsageError: there is no such split, or nothing in it.
    """
    chooses = chooser(split, splits)
    found = np.ones(len(dataset), bool) if chooses is None else chooses(_sky(dataset))
    if not found.any():
        of = "" if split is None else f" of the split {split!r}"
        raise UsageError(f"{dataset.address} has no objects{of}.")
    return found


def rows_of(dataset: Dataset, split: str | None, splits: Mapping[str, float] | None = None) -> Chosen | None:
    """As `chosen`, None for all."""
    return None if split is None else chosen(dataset, split, splits)


def _sky(dataset: Dataset) -> NDArray[Any]:
    """Order-29 pixels of all rows; catalogues of others may have only positions."""
    if SKY in dataset.columns:
        return np.asarray(dataset.table([SKY])[SKY].to_numpy())
    from mmu.sky import healpix

    names = list(dataset.keys[1:])
    ra, dec = (np.nan_to_num(column.to_numpy()) for column in dataset.table(names).columns)
    return healpix.pixel(ra, dec)
