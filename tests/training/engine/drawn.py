"""Batches of random tokens, a function of the seed and the object's number: what the tests of the trainer train on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.modalities import MODALITIES
from training.ragged import Batch, Cells, batch
from training.recipes import ModelRecipe

KEYS = ("tok_z", "tok_ebv", "tok_xp_bp", "tok_segmap")


@dataclass
class Drawn:
    """Objects whose tokens all say the same few numbers, so that there is something to learn.

    Attributes:
        rank, size: of processes. accumulate: parts of a step.
        lonely: process 0 alone is asked for this modality; None for no such thing.
        same: every step has the objects of the first.
    """

    recipe: ModelRecipe
    rank: int = 0
    size: int = 1
    accumulate: int = 1
    lonely: str | None = None
    same: bool = False
    ids: int = 7
    keys: tuple[str, ...] = KEYS

    @property
    def facts(self) -> Mapping[str, Any]:
        return {"rows": {"drawn": self.ids}, "codecs": {}}

    def __call__(self, step: int) -> Sequence[Batch]:
        first = 0 if self.same else step * self.recipe.batch_size
        own = np.array_split(np.arange(first, first + self.recipe.batch_size), self.size)[self.rank]
        return [self._batch(part) for part in np.array_split(own, self.accumulate)]

    def _batch(self, numbers: Any) -> Batch:
        given, asked, labels = [], [], []
        for index, number in enumerate(numbers):
            random = np.random.default_rng((self.recipe.seed, int(number)))
            value = int(random.integers(self.ids))
            for key in self.keys:
                row = MODALITIES[key]
                places = random.permutation(row.tokens)
                cut = int(random.integers(0, min(row.tokens, 6)))
                if row.tokens == 1:
                    cut = int(random.integers(2))
                rows = [(index, row.id, int(place), (value + row.id) % row.vocabulary) for place in places[:10]]
                given += rows[: cut or (key == self.keys[-1])]
                asked += rows[cut or (key == self.keys[-1]) :][:5]
            if self.lonely is not None and self.rank == 0:
                row = MODALITIES[self.lonely]
                asked += [(index, row.id, place, 204 + value + place) for place in range(4)]
        labels = [one[3] for one in asked]
        return batch(len(numbers), _cells(given), _cells(asked), np.array(labels, np.int64))


def _cells(rows: list[tuple[int, int, int, int]]) -> Cells:
    return Cells(*np.array(rows, np.int64).reshape(-1, 4).T)
