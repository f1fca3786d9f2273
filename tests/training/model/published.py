"""The published model, small and redrawn, and the same question put to it and to ours."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.training.codecs.redraw import redraw
from training.modalities import MODALITIES, PUBLISHED, Modality
from training.model import files
from training.model.anytoany import AnyToAny
from training.ragged import Batch, Cells, batch

ROWS = list(MODALITIES.values())[:PUBLISHED]
KEYS = [row.key for row in ROWS]
OBJECTS = 2


def peer(seed: int = 1, **config: Any) -> Any:
    """A published model of a size that tests can afford; every parameter redrawn."""
    from aion.model import AION

    sizes = {"dim": 32, "encoder_depth": 2, "decoder_depth": 2, "num_heads": 4, "mlp_ratio": 4.0, "qk_norm": True}
    biases = dict.fromkeys(["qkv_bias", "proj_bias", "mlp_bias", "norm_bias"], False)
    kinds = {"act_layer": "SiLU", "gated_mlp": True, "domains_in": KEYS, "domains_out": KEYS}
    model = AION({**sizes, **biases, **kinds, **config})
    redraw(model, seed)
    return model.eval()


def ours(theirs: Any, folder: Path, compat: str | None = None) -> AnyToAny:
    """Ours, from the files that the published package writes."""
    theirs.save_pretrained(folder)
    return files.load(folder, compat)


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

    def theirs(self, model: Any) -> dict[str, list[Tensor]]:
        """Key -> logits of each object's tokens, of `FourM.forward`."""
        from aion.fourm.fm import FourM

        asked = {key: self._visible(MODALITIES[key], mask) for key, mask in self.asked.items()}
        mods = {
            key: {
                "tensor": self.ids[key],
                "input_mask": ~self.given[key],
                "target_mask": ~self.asked[key],
                "decoder_attention_mask": asked[key],
            }
            for key in self.ids
        }
        inputs = max(1, int(sum(mask.sum(1) for mask in self.given.values()).max()))  # type: ignore[union-attr]
        counts = {key: _predicted(MODALITIES[key], mask) for key, mask in self.asked.items()}
        outputs = int(sum(counts.values()).max())  # type: ignore[union-attr]
        random.seed(0)
        with torch.no_grad():
            logits = FourM.forward(model, mods, inputs, outputs, return_logits=True)
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
