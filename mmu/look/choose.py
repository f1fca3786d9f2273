"""Which objects are looked at: the first, some at random, or those named."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
import pyarrow as pa

from mmu.dataset import Dataset
from mmu.errors import UsageError

_ALL_IDS = 5_000_000
_PLACES = 64
_NEIGHBOURS = 200


def first_ids(dataset: Dataset, count: int) -> list[str]:
    """The ids of the first `count` objects, in the order of the sky."""
    found: dict[str, None] = {}
    for batch in dataset.batches([dataset.id_column], batch_rows=4096):
        found |= dict.fromkeys(str(name) for name in batch[dataset.id_column])
        if len(found) >= count:
            break
    return list(found)[:count]


def random_ids(dataset: Dataset, count: int, seed: int = 0) -> list[str]:
    """The ids of `count` objects at random; of a large dataset, from some of its partitions, chosen at random too."""
    draw = np.random.default_rng(seed)
    ids = np.array(sorted(set(_some_ids(dataset, draw))), dtype=object)
    return [str(one) for one in draw.choice(ids, min(count, len(ids)), replace=False)]


def _some_ids(dataset: Dataset, draw: np.random.Generator) -> list[str]:
    if len(dataset) <= _ALL_IDS:
        return dataset.ids()
    leaves = dataset.partitions
    chosen = [leaves[one] for one in draw.choice(len(leaves), min(_PLACES, len(leaves)), replace=False)]
    found: list[str] = []
    for leaf in chosen:
        found += dataset.ids(f"healpix:{leaf}")
        if len(found) > _ALL_IDS:
            break
    return found


def known(dataset: Dataset, ids: Sequence[str], columns: list[str]) -> pa.Table:
    """These objects' rows.

    Raises:
        UsageError: an id is not in the dataset; the message names those that are most like it.
    """
    try:
        return dataset.table(columns, ids=ids)
    except UsageError as problem:
        there = dataset.ids()
        missing = sorted({str(one) for one in ids} - set(there))
        if not missing:
            raise
        raise no_such(dataset.release, missing[0], there) from problem


def no_such(where: str, given: str, there: Sequence[str]) -> UsageError:
    """The error for an id that is not among those that are there."""
    near = ", ".join(near_ids(given, there))
    return UsageError(f"{where} has no object {given!r}" + (f"; the ids most like it: {near}." if near else "."))


def near_ids(given: str, there: Sequence[str], most: int = 3) -> list[str]:
    """The ids most like one: of those beside it in the alphabet, as a dataset may have very many."""
    ordered = sorted(set(there))
    place = bisect(ordered, given)
    beside = ordered[max(place - _NEIGHBOURS, 0) : place + _NEIGHBOURS]
    return get_close_matches(given, beside, n=most, cutoff=0.3) or beside[:most]
