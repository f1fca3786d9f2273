"""Tokens of objects that do not exist, as arrays; batches taken apart again."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.modalities import MODALITIES
from training.ragged import Batch, Ragged
from training.spans import END, SENTINEL

Tokens = dict[str, NDArray[np.int16]]
TABLE = list(MODALITIES)


def tokens(objects: int, keys: str, seed: int = 0, there: float = 1.0) -> Tokens:
    """Random ids of some modalities, each there for a share of the objects; sequences of any length."""
    random = np.random.default_rng(seed)
    made = {}
    for key in keys.split():
        row = MODALITIES[key]
        ids = random.integers(row.offset, row.vocabulary, (objects, row.tokens)).astype(np.int16)
        if row.kind == "sequence":
            ids[np.arange(row.tokens) >= random.integers(1, row.tokens + 1, objects)[:, None]] = -1
        ids[random.random(objects) >= there] = -1
        made[key] = ids
    return made


def taken(tokens: Mapping[str, NDArray[np.int16]], rows: Any) -> Tokens:
    """Some of the objects."""
    return {key: ids[rows] for key, ids in tokens.items()}


def apart(side: Ragged, values: Any) -> list[dict[tuple[str, int], int]]:
    """For each object, (key, place) -> value."""
    offsets = side.objects.offsets.tolist()
    keys = [TABLE[row] for row in side.rows.tolist()]
    every = list(zip(zip(keys, side.places.tolist(), strict=True), values.tolist(), strict=True))
    return [dict(every[first:last]) for first, last in itertools.pairwise(offsets)]


def sides(batch: Batch) -> list[tuple[Any, Any, Any]]:
    """For each object, what is given, what the decoder is given, what it is asked for; (key, place) -> id."""
    inputs, before = apart(batch.inputs, batch.inputs.ids), apart(batch.targets, batch.targets.ids)
    return list(zip(inputs, before, apart(batch.targets, batch.targets.labels), strict=True))


def sequence(side: Mapping[tuple[str, int], int], key: str) -> list[int]:
    """Ids of one modality, in the order of their places, which have no gaps."""
    own = {place: value for (name, place), value in side.items() if name == key}
    assert sorted(own) == list(range(len(own)))
    return [own[place] for place in range(len(own))]


def rebuilt(given: list[int], target: list[int]) -> list[int]:
    """The sequence, of what is left of it and what was taken out."""
    spans: dict[int, list[int]] = {}
    for token in target[:-1]:
        if SENTINEL <= token < SENTINEL + 200:
            spans[token] = []
        else:
            spans[next(reversed(spans))].append(token)
    assert not target or target[-1] == END
    assert given[-1] == END
    return [part for token in given[:-1] for part in spans.get(token, [token])]
