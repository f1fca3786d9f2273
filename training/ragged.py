"""Batches of objects with different numbers of tokens, end to end: nothing is padded, nothing needs a mask matrix.

    cells = Cells(object, row, place, id)              one entry a token, in any order
    made = batch(objects, inputs, targets, labels)     sorted, counted on the host, as tensors
    made.to("cuda")

A `row` is `Modality.id`; a `place` is where the token is in its grid, or its number in its sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.modalities import MODALITIES

Integers = NDArray[np.int64]
_ROWS = list(MODALITIES.values())
_SEQUENCE = np.array([row.kind == "sequence" for row in _ROWS])
_PLACES = 1 + max(row.tokens for row in _ROWS)


class Cells(NamedTuple):
    """Tokens as arrays of one length: of which object (0 to objects - 1), which row of the table, where, which id."""

    object: Integers
    row: Integers
    place: Integers
    id: Integers


@dataclass(frozen=True)
class _Movable:
    """Tensors that go to a device together."""

    def to(self, device: str | torch.device) -> Self:
        """The same, there; copies from pinned memory do not wait."""
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                moved[field.name] = value.to(device, non_blocking=True)
            elif isinstance(value, _Movable):
                moved[field.name] = value.to(device)
        return replace(self, **moved)

    def pin(self) -> Self:
        """The same in memory that a GPU copies from without waiting; as it is where there is no GPU."""
        if not torch.cuda.is_available():
            return self
        pinned: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                pinned[field.name] = value.pin_memory()
            elif isinstance(value, _Movable):
                pinned[field.name] = value.pin()
        return replace(self, **pinned)


@dataclass(frozen=True)
class Segments(_Movable):
    """Stretches of a ragged array, one after another.

    Attributes:
        offsets: (segments + 1,) int32; where each begins, and the end.
        longest: tokens; no segment has more.
        equal: all segments have `longest` tokens.
    """

    offsets: Tensor
    longest: int
    equal: bool

    @property
    def count(self) -> int:
        """Segments."""
        return len(self.offsets) - 1


@dataclass(frozen=True)
class Ragged(_Movable):
    """Tokens of objects: by object, then row, then place.

    Attributes:
        ids, rows, places: (tokens,) int64.
        objects: where each object's tokens are.
    """

    ids: Tensor
    rows: Tensor
    places: Tensor
    objects: Segments


@dataclass(frozen=True)
class Targets(Ragged):
    """Tokens to be predicted. `ids` are what the decoder is given: the token before, in a sequence; else unused.

    Attributes:
        labels: (tokens,) the ids to predict.
        groups: where the tokens of one object and one row are; they see each other.
        causal: (tokens,) True in a sequence, where a token sees only those before it; None if there is none.
        order: (predicted,) which tokens are predicted, grouped by row.
        counts: key -> how many; in the order of `order`.
    """

    labels: Tensor
    groups: Segments
    causal: Tensor | None
    order: Tensor
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Batch(_Movable):
    """What a step of training, or one pass of a model, is about."""

    inputs: Ragged
    targets: Targets

    @property
    def tokens(self) -> int:
        """Given and predicted; padding does not count."""
        return len(self.inputs.ids) + sum(self.targets.counts.values())


def _sorted(cells: Cells) -> tuple[Cells, Integers]:
    """By object, row and place, and the permutation; they often are already."""
    key = (cells.object * len(_ROWS) + cells.row) * _PLACES + cells.place
    if (key[1:] >= key[:-1]).all():
        return cells, np.arange(len(key))
    order = np.argsort(key, kind="stable")
    return Cells(*(np.asarray(values)[order] for values in cells)), order


def _segments(lengths: Integers, longest: int | None) -> Segments:
    most = int(lengths.max(initial=0))
    offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    return Segments(offsets, max(most, longest or 0, 1), bool((lengths == max(most, longest or 0, 1)).all()))


def ragged(objects: int, cells: Cells, longest: int | None = None) -> Ragged:
    """Tokens that are given.

    Args:
        longest: a bound on the tokens of an object, where shapes are to be the same for all batches.
    """
    ordered, _ = _sorted(cells)
    numbers = (ordered.id, ordered.row, ordered.place)
    ids, rows, places = (torch.from_numpy(np.ascontiguousarray(values, np.int64)) for values in numbers)
    return Ragged(ids, rows, places, _segments(np.bincount(ordered.object, minlength=objects), longest))


def targets(objects: int, cells: Cells, labels: Integers, longest: int | None = None) -> Targets:
    """Tokens that are asked for; `labels` in the order of `cells`."""
    ordered, order = _sorted(cells)
    own = ragged(objects, cells, longest)
    wanted = np.asarray(labels)[order]
    key = ordered.object * len(_ROWS) + ordered.row
    begins = np.flatnonzero(np.diff(key, prepend=-1))
    lengths = np.diff(np.append(begins, len(key)))
    causal = _SEQUENCE[ordered.row]
    by_row = np.argsort(ordered.row.astype(np.uint8), kind="stable")  # which is then a radix sort
    counts = np.bincount(ordered.row, minlength=len(_ROWS))
    return Targets(
        own.ids,
        own.rows,
        own.places,
        own.objects,
        labels=torch.from_numpy(np.ascontiguousarray(wanted, np.int64)),
        groups=_segments(lengths, longest),
        causal=torch.from_numpy(causal) if causal.any() else None,
        order=torch.from_numpy(by_row.astype(np.int64)),
        counts={row.key: int(n) for row, n in zip(_ROWS, counts, strict=True) if n},
    )


def batch(objects: int, inputs: Cells, asked: Cells, labels: Integers, budgets: tuple[int, int] | None = None) -> Batch:
    """A batch of both.

    Args:
        objects: how many there are; each must have a token on both sides.
        labels: ids to predict, in the order of `asked`.
        budgets: bounds on an object's inputs and targets.
    """
    most_in, most_out = budgets or (None, None)
    return Batch(ragged(objects, inputs, most_in), targets(objects, asked, labels, most_out))
