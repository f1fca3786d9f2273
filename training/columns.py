"""Tokens of several modalities side by side: one column a place, modalities in the order of the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from mmu.errors import UsageError, unknown
from training.modalities import MODALITIES
from training.ragged import Cells

Tokens = Mapping[str, NDArray[np.int16]]
Grid = NDArray[np.bool_]
Numbers = NDArray[np.int64]
_PLACES = 1024
"""More than the tokens of any modality."""


@dataclass(frozen=True)
class Columns:
    """Where in the columns which modality is; a sequence has one more than tokens, for its end."""

    keys: tuple[str, ...]

    @classmethod
    def of(cls, keys: Iterable[str], tokens: Tokens) -> Self:
        """Of some modalities.

        Raises:
            UsageError: one is unknown, or not among the tokens, or of another number of tokens than the table says.
        """
        wanted = list(dict.fromkeys(keys))
        for key in wanted:
            if key not in MODALITIES:
                raise unknown("modality", key, MODALITIES)
            if key not in tokens:
                raise unknown("modality of these tokens", key, tokens)
            if tokens[key].ndim != 2 or tokens[key].shape[1] != MODALITIES[key].tokens:
                raise UsageError(f"{key}: ids of shape {tokens[key].shape}; it has {MODALITIES[key].tokens} an object.")
        if len({len(tokens[key]) for key in wanted}) != 1:
            raise UsageError("Give the tokens of at least one modality, and of the same objects for all of them.")
        return cls(tuple(key for key in MODALITIES if key in wanted))

    @cached_property
    def blocks(self) -> dict[str, slice]:
        """The columns of each modality."""
        rows = [MODALITIES[key] for key in self.keys]
        ends = np.cumsum([row.tokens + (row.kind == "sequence") for row in rows]).tolist()
        return {key: slice(first, last) for key, first, last in zip(self.keys, [0, *ends], ends, strict=False)}

    @property
    def width(self) -> int:
        """How many there are."""
        return len(self.modality)

    @cached_property
    def modality(self) -> Numbers:
        """(width,) which of the keys each is of."""
        return np.repeat(np.arange(len(self.keys)), [block.stop - block.start for block in self.blocks.values()])

    @cached_property
    def row(self) -> Numbers:
        """(width,) id of its modality."""
        return np.array([MODALITIES[key].id for key in self.keys])[self.modality]

    @cached_property
    def place(self) -> Numbers:
        """(width,) its place in the modality."""
        return np.concatenate([np.arange(block.stop - block.start) for block in self.blocks.values()])

    @cached_property
    def number(self) -> NDArray[np.uint64]:
        """(width,) of a place among all of the table's."""
        return (self.row * _PLACES + self.place).astype(np.uint64)

    @cached_property
    def sequence(self) -> Grid:
        """(keys,) whether it is one."""
        return np.array([MODALITIES[key].kind == "sequence" for key in self.keys])

    def sequences(self) -> Iterator[tuple[str, slice]]:
        """Those that are, and their columns."""
        return ((key, self.blocks[key]) for key in self.keys if MODALITIES[key].kind == "sequence")

    def counts(self, there: Grid) -> Numbers:
        """(objects, keys) how many tokens are there of each modality."""
        starts = [block.start for block in self.blocks.values()]
        return np.add.reduceat(there.view(np.uint8), starts, axis=1, dtype=np.uint16).astype(np.int64)


class LaidOut(NamedTuple):
    """Ids (objects, width), and where there are any; of a sequence there is one more than its tokens."""

    columns: Columns
    ids: NDArray[np.int16]
    there: Grid


def lay_out(columns: Columns, tokens: Tokens, some: slice) -> LaidOut:
    """Some objects side by side; without the modalities that none of them has, if one has any."""
    parts = {key: tokens[key][some] for key in columns.keys}
    has = tuple(key for key, part in parts.items() if (part >= 0).any())
    columns = columns if has in (columns.keys, ()) else Columns(has)
    first = parts[columns.keys[0]]
    ids = np.full((len(first), columns.width), -1, np.int16)
    for key, block in columns.blocks.items():
        ids[:, block.start : block.start + parts[key].shape[1]] = parts[key]
    there = ids >= 0
    for _, block in columns.sequences():
        lengths = there[:, block].sum(1)
        there[:, block] = np.arange(block.stop - block.start) < np.where(lengths > 0, lengths + 1, 0)[:, None]
    return LaidOut(columns, ids, there)


class Selected(NamedTuple):
    """Of some objects, (objects, width) each.

    Attributes:
        inputs: ids that are given, where `given` says so.
        before, labels: ids that the decoder is given and asked for, where `wanted` says so.
    """

    columns: Columns
    inputs: NDArray[np.int16]
    given: Grid
    before: NDArray[np.int16]
    labels: NDArray[np.int16]
    wanted: Grid


def cells(parts: Sequence[Selected], both: Sequence[Grid]) -> tuple[Cells, Cells, Numbers]:
    """The tokens that are given and asked for, and the labels of these.

    Args:
        both: of each part, the objects that are meant; they are numbered anew.
    """
    inputs: list[Cells] = []
    targets: list[Cells] = []
    labels: list[Numbers] = []
    first = 0
    for part, meant in zip(parts, both, strict=True):
        number = first + np.cumsum(meant) - 1
        first += int(np.count_nonzero(meant))
        inputs.append(_cells(part.columns, part.given & meant[:, None], number, part.inputs)[0])
        wanted, flat = _cells(part.columns, part.wanted & meant[:, None], number, part.before)
        targets.append(wanted)
        labels.append(part.labels.reshape(-1)[flat].astype(np.int64))
    return _joined(inputs), _joined(targets), np.concatenate([np.zeros(0, np.int64), *labels])


def _cells(columns: Columns, where: Grid, number: Numbers, ids: NDArray[np.int16]) -> tuple[Cells, Numbers]:
    flat = np.flatnonzero(where)
    object_ = flat // columns.width
    column = flat - object_ * columns.width
    own = Cells(number[object_], columns.row[column], columns.place[column], ids.reshape(-1)[flat].astype(np.int64))
    return own, flat


def _joined(parts: Sequence[Cells]) -> Cells:
    empty = np.zeros(0, np.int64)
    none = Cells(empty, empty, empty, empty)
    return Cells(*(np.concatenate(values) for values in zip(none, *parts, strict=True)))
