"""Whether our model and the published package's, of the same weights, answer the same: `polymathic-aion` is needed.

Reference are its training forward (`FourM.forward` with an explicit descriptor of who sees whom) and its sampler; its
`AION.forward` does something else for targets of more than one token, which `compat="aion-0.0.2"` reproduces.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from training.codecs.agreement import installed
from training.modalities import MODALITIES, PUBLISHED, Modality
from training.model import files
from training.model.anytoany import AnyToAny
from training.ragged import Batch, Cells, batch

CLOSE = 1e-4
"""Largest difference of two logits that agree."""
KEYS = [key for key, row in MODALITIES.items() if row.id < PUBLISHED]
OBJECTS = 2
_FEW = ("tok_z", "tok_spectrum_desi", "tok_segmap", "tok_image")


@dataclass(frozen=True)
class Question:
    """Ids of some modalities, which of them are given and which are asked for; (objects, tokens) of each.

    Attributes:
        ids: in a sequence that is asked for, its first token is only given.
    """

    ids: dict[str, Tensor]
    given: dict[str, Tensor]
    asked: dict[str, Tensor]

    @classmethod
    def whole(cls, given: list[str], asked: list[str], seed: int = 0, objects: int = OBJECTS) -> Question:
        """All tokens of some modalities, for all of others."""
        return cls.drawn(seed, given, asked, lambda shape, _: np.ones(shape, bool), objects)

    @classmethod
    def drawn(cls, seed: int, given: list[str], asked: list[str], choose: Any, objects: int = OBJECTS) -> Question:
        """Random ids; `choose` says which tokens."""
        random = np.random.default_rng(seed)
        ids, taken, wanted = {}, {}, {}
        for key in dict.fromkeys([*given, *asked]):
            row = MODALITIES[key]
            shape = (objects, row.tokens)
            ids[key] = torch.from_numpy(random.integers(row.offset + (row.offset > 0), row.vocabulary, shape))
            one = choose(shape, random) if key in given else np.zeros(shape, bool)
            other = choose(shape, random) if key in asked else np.zeros(shape, bool)
            if row.kind == "sequence":  # which is asked for whole, from its beginning: theirs takes no other
                other = (np.arange(row.tokens) < other.sum(1)[:, None]) & (not one.any())
            taken[key], wanted[key] = torch.from_numpy(one), torch.from_numpy(other & ~one)
        return cls(ids, taken, wanted)

    def mods(self) -> dict[str, dict[str, Tensor]]:
        """As `FourM.forward` takes it; its masks are True where there is nothing."""
        return {
            key: {
                "tensor": ids,
                "input_mask": ~self.given[key],
                "target_mask": ~self.asked[key],
                "decoder_attention_mask": self._visible(MODALITIES[key], self.asked[key]),
            }
            for key, ids in self.ids.items()
        }

    def theirs(self, model: Any) -> dict[str, list[Tensor]]:
        """Key -> logits of each object's tokens, of `FourM.forward`."""
        from aion.fourm.fm import FourM

        inputs = max(1, int(sum(mask.sum(1) for mask in self.given.values()).max()))  # type: ignore[union-attr]
        counts = {key: _predicted(MODALITIES[key], mask) for key, mask in self.asked.items()}
        outputs = int(sum(counts.values()).max())  # type: ignore[union-attr]
        random.seed(0)
        with torch.no_grad():
            logits = FourM.forward(model, self.mods(), inputs, outputs, return_logits=True)
        random.seed(0)
        order = random.sample(list(self.ids), len(self.ids))
        found: dict[str, list[Tensor]] = {key: [] for key in self.ids if counts[key].any()}
        for index in range(len(next(iter(self.ids.values())))):
            start = 0
            for key in order:
                count = int(counts[key][index])
                if key in found:
                    found[key].append(logits[key][index, start : start + count])
                start += count
        return found

    @staticmethod
    def _visible(row: Modality, mask: Tensor) -> Tensor:
        """The published descriptor of who sees whom: a grid's count at its first token, ones in a sequence."""
        if row.kind == "sequence":
            return mask.long()
        first = torch.zeros_like(mask, dtype=torch.long)
        for index, own in enumerate(mask):
            if own.any():
                first[index, int(own.nonzero()[0])] = int(own.sum())
        return first

    def ours(self, model: AnyToAny) -> dict[str, list[Tensor]]:
        """The same of ours."""
        made = self.batch()
        with torch.no_grad():
            hidden = model.decode(model.encode(made.inputs), made.inputs, made.targets)
            logits = model.logits(hidden, made.targets)
        found = {}
        for key, values in logits.items():
            found[key] = list(torch.split(values, _predicted(MODALITIES[key], self.asked[key]).tolist()))
        return found

    def batch(self) -> Batch:
        """As ragged tokens."""
        objects = len(next(iter(self.ids.values())))
        given, asked, labels = [], [], []
        for key, ids in self.ids.items():
            row = MODALITIES[key]
            given.append(_cells(row, ids, self.given[key]))
            if row.kind == "grid":
                asked.append(_cells(row, ids, self.asked[key]))
                labels.append(asked[-1].id)
            else:
                whole = _cells(row, ids, self.asked[key])
                last = np.diff(whole.object, append=-1) != 0
                first = np.diff(whole.object, prepend=-1) != 0
                asked.append(Cells(*(values[~last] for values in whole)))
                labels.append(whole.id[~first])
        return batch(objects, _joined(given), _joined(asked), np.concatenate(labels))


def _joined(parts: list[Cells]) -> Cells:
    return Cells(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _predicted(row: Modality, mask: Tensor) -> Tensor:
    """Tokens that are predicted of each object."""
    return mask.sum(1) if row.kind == "grid" else (mask.sum(1) - 1).clamp(min=0)


def _cells(row: Modality, ids: Tensor, mask: Tensor) -> Cells:
    objects, places = (part.numpy() for part in mask.nonzero(as_tuple=True))
    if row.kind == "sequence":
        places = (mask.long().cumsum(1) - 1)[mask].numpy()
    return Cells(objects, np.full(len(objects), row.id), places, ids[mask].numpy())


def farthest(one: dict[str, list[Tensor]], other: dict[str, list[Tensor]]) -> float:
    """The largest difference of any logit; both must have the same ones."""
    assert set(one) == set(other)
    worst = 0.0
    for key, parts in one.items():
        for mine, theirs in zip(parts, other[key], strict=True):
            assert mine.shape == theirs.shape
            worst = max(worst, float(_most(mine - theirs)))
    return worst


def _most(values: Tensor) -> Tensor:
    return values.abs().max() if values.numel() else torch.zeros(())


class Compared(NamedTuple):
    """What was asked, and the largest difference of any logit."""

    question: str
    difference: float


def questions(keys: Sequence[str], subsets: int) -> Iterator[tuple[str, Question]]:
    """Each modality as the only input, each as the only target, and random subsets with random masks."""
    for key in keys:
        others = [other for other in dict.fromkeys((*_FEW, *keys)) if other in keys and other != key][:3]
        yield f"given only {key}", Question.whole([key], others)
        yield f"asked only {key}", Question.whole(others, [key])
    for seed in range(subsets):
        yield f"random subset {seed}", subset(seed, keys)


def subset(seed: int, keys: Sequence[str] = KEYS) -> Question:
    """A random question of up to six modalities a side; some may have no token at all."""
    random = np.random.default_rng(seed)
    most = min(7, len(keys) + 1)
    given, asked = ([str(key) for key in random.choice(keys, random.integers(1, most), False)] for _ in range(2))

    def choose(shape: tuple[int, int], random: np.random.Generator) -> Any:
        return random.random(shape) < random.choice([0.0, 0.1, 0.5, 1.0])

    question = Question.drawn(seed, given, asked, choose, objects=3)
    enough = [
        torch.stack([mask.sum(1) for mask in masks.values()]).sum(0) for masks in (question.given, question.asked)
    ]
    return question if all(bool((count > 1).all()) for count in enough) else subset(seed + 10_000, keys)


def agree(
    weights: str | Path, subsets: int = 200, told: Callable[[Compared], None] = lambda compared: None
) -> list[Compared]:
    """Put the same questions to both, of weights in the published layout or ours.

    Args:
        told: called for each question.

    Raises:
        UsageError: the published package is not installed.
    """
    installed()
    import tempfile

    from aion.model import AION

    own = files.load(weights)
    with tempfile.TemporaryDirectory() as folder:
        files.save(own, Path(folder), published=True)
        theirs = AION.from_pretrained(folder).eval()
    found = []
    for name, question in questions(own.config.modalities, subsets):
        found.append(Compared(name, farthest(question.ours(own), question.theirs(theirs))))
        told(found[-1])
    return found
