"""Generation: the tokens of a modality, a few at a time, each few given those before.

roar            random positions of a grid, some more at each step (4M; the published demonstrations)
maskgit         the positions that the model is surest of (Chang et al. 2022)
autoregressive  one after another: sequences, always

The log-likelihood of what was drawn is the sum over its tokens, each given what was known when it was drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmu.errors import UsageError, unknown
from training.codecs import ABSENT
from training.modalities import MODALITIES, Modality
from training.model.anytoany import AnyToAny
from training.ragged import Cells, Ragged, Targets, ragged, targets
from training.spans import END, SENTINEL

Tokens = Mapping[str, NDArray[Any]]
"""Key -> ids (objects, tokens), `ABSENT` where there is none."""
SCHEMES = ("roar", "maskgit")


@dataclass(frozen=True)
class Decoding:
    """How tokens are drawn.

    Attributes:
        scheme: which positions come next.
        steps: passes of the model; as many as there are tokens at most.
        schedule: "linear", equally many a step, or "cosine", few at first.
        temperature: of the first step, falling to `last_temperature`; near 0 the likeliest is taken.
        top_p: of the probability, least likely ids are left out beyond it; top_k: ids that are kept, 0 for all.
        guidance: 1 for the model as it is, more to be led more by what is given.
    """

    scheme: Literal["roar", "maskgit"] = "roar"
    steps: int = 12
    schedule: Literal["linear", "cosine"] = "linear"
    temperature: float = 1.0
    last_temperature: float | None = None
    top_p: float = 1.0
    top_k: int = 0
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise unknown("scheme", self.scheme, SCHEMES)
        if self.steps < 1 or self.temperature < 0 or not 0 < self.top_p <= 1 or self.top_k < 0:
            raise UsageError(
                f"steps={self.steps}, temperature={self.temperature}, top_p={self.top_p}, top_k={self.top_k}: give at "
                "least one step, no negative temperature, top_p in (0, 1], and top_k of 0 or more."
            )

    def counts(self, tokens: int) -> list[int]:
        """Tokens of each step; none is 0, and all are drawn."""
        steps = min(self.steps, tokens)
        share = np.arange(1, steps + 1) / steps
        ends = tokens * (share if self.schedule == "linear" else 1 - np.cos(share * math.pi / 2))
        known = np.maximum.accumulate(np.maximum(np.floor(ends + 1e-9), np.arange(1, steps + 1))).astype(int)
        known = np.minimum(known, tokens - steps + np.arange(1, steps + 1))
        return np.diff(known, prepend=0).tolist()  # type: ignore[no-any-return]

    def temperatures(self, steps: int) -> list[float]:
        """Of each step."""
        last = self.temperature if self.last_temperature is None else self.last_temperature
        return np.linspace(self.temperature, last, steps).tolist()  # type: ignore[no-any-return]


class Drawn(NamedTuple):
    """Ids (objects, tokens) and their log-likelihood (objects,), in nats."""

    ids: NDArray[np.int16]
    log_likelihood: NDArray[np.float32]


def cells(tokens: Tokens) -> Cells:
    """All the tokens there are."""
    parts = []
    for key, values in tokens.items():
        row, ids = MODALITIES[key], np.asarray(values)
        if row.kind == "sequence":
            ids = _ended(ids)
        objects, places = np.nonzero(ids != ABSENT)
        parts.append((objects, np.full(len(objects), row.id), places, ids[objects, places]))
    if not parts:
        return Cells(*(np.zeros(0, np.int64) for _ in range(4)))
    return Cells(*(np.concatenate(values).astype(np.int64) for values in zip(*parts, strict=True)))


def _ended(ids: NDArray[Any]) -> NDArray[Any]:
    """Sequences with the end that they are trained with."""
    lengths = (ids != ABSENT).sum(1)
    out = np.pad(ids, ((0, 0), (0, 1)), constant_values=ABSENT)
    there = np.flatnonzero(lengths)
    out[there, lengths[there]] = END
    return out


@torch.inference_mode()
def generate(model: AnyToAny, target: str, given: Tokens, objects: int, how: Decoding, seed: int = 0) -> Drawn:
    """Tokens of a modality for each object, whatever of the others is known of it."""
    random = torch.Generator(model.positions.device).manual_seed(seed)
    row = MODALITIES[target]
    if row.kind == "sequence":
        return _sequence(model, row, given, objects, how, random)
    ids = np.full((objects, row.tokens), ABSENT, np.int16)
    total = np.zeros(objects, np.float32)
    counts = how.counts(row.tokens)
    order = torch.rand(objects, row.tokens, generator=random, device=random.device).argsort(1).cpu().numpy()
    for count, temperature in zip(counts, how.temperatures(len(counts)), strict=True):
        left = (ids == ABSENT).sum(1)[0]
        places = np.sort(order[:, row.tokens - left : row.tokens - left + count], 1)
        if how.scheme == "maskgit":
            places = np.nonzero(ids == ABSENT)[1].reshape(objects, left)
        logits = _guided(model, row, {**given, target: ids}, given, places, how.guidance)
        picked, likelihood = _draw(logits, how, temperature, random)
        if how.scheme == "maskgit":
            sure = np.argsort(-likelihood, 1, kind="stable")[:, :count]
            places, picked, likelihood = (np.take_along_axis(a, sure, 1) for a in (places, picked, likelihood))
        np.put_along_axis(ids, places, picked, 1)
        total += likelihood.sum(1)
    return Drawn(ids, total)


def likelihood(
    model: AnyToAny, target: str, ids: NDArray[Any], given: Tokens, steps: int = 1, seed: int = 0
) -> NDArray[np.float32]:
    """Log-likelihood (objects,) of a grid's tokens, drawn in so many steps of random positions; in nats.

    With one step tokens are independent of each other; with as many as there are tokens it is the chain rule.
    """
    row, objects = MODALITIES[target], len(ids)
    order = np.random.default_rng(seed).random((objects, row.tokens)).argsort(1)
    known = np.full((objects, row.tokens), ABSENT, np.int16)
    total, start = np.zeros(objects, np.float32), 0
    with torch.inference_mode():
        for count in Decoding(steps=steps).counts(row.tokens):
            places = np.sort(order[:, start : start + count], 1)
            logits = _logits(model, row, {**given, target: known}, places)
            wanted = np.take_along_axis(np.asarray(ids), places, 1).astype(np.int64)
            own = logits.log_softmax(-1).gather(-1, torch.from_numpy(wanted).to(logits.device)[..., None])
            total += own.sum((1, 2)).cpu().numpy()
            np.put_along_axis(known, places, wanted.astype(np.int16), 1)
            start += count
    return total


def _guided(model: AnyToAny, row: Modality, known: Tokens, given: Tokens, places: Any, guidance: float) -> Tensor:
    logits = _logits(model, row, known, places)
    if guidance == 1.0:
        return logits
    free = _logits(model, row, {key: ids for key, ids in known.items() if key not in given}, places)
    return free + guidance * (logits - free)


def _logits(model: AnyToAny, row: Modality, known: Tokens, places: NDArray[Any]) -> Tensor:
    """(objects, places, vocabulary) of a grid's positions (objects, places), given what is known."""
    objects, count = places.shape
    asked = Cells(
        np.repeat(np.arange(objects), count),
        np.full(objects * count, row.id),
        places.reshape(-1).astype(np.int64),
        np.zeros(objects * count, np.int64),
    )
    inputs = ragged(objects, cells(known)).to(model.positions.device)
    return _of(model, inputs, targets(objects, asked, asked.id)).view(objects, count, -1)


def _of(model: AnyToAny, inputs: Ragged, asked: Targets, context: Tensor | None = None) -> Tensor:
    asked = asked.to(model.positions.device)
    hidden = model.decode(model.encode(inputs) if context is None else context, inputs, asked)
    return next(iter(model.logits(hidden, asked).values())).float()


def _draw(
    logits: Tensor, how: Decoding, temperature: float, random: torch.Generator
) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Ids, and their log-likelihoods without temperature and cuts; of logits (..., vocabulary)."""
    plain = logits.log_softmax(-1)
    if temperature < 1e-6:
        picked = logits.argmax(-1)
    else:
        odds = _cut(logits / temperature, how).softmax(-1)
        picked = torch.multinomial(odds.flatten(0, -2), 1, generator=random).view(odds.shape[:-1])
    own = plain.gather(-1, picked[..., None])[..., 0]
    return picked.cpu().numpy().astype(np.int16), own.cpu().numpy()


def _cut(logits: Tensor, how: Decoding) -> Tensor:
    """Without the ids that are not to be drawn."""
    if how.top_k:
        least = logits.topk(min(how.top_k, logits.shape[-1])).values[..., -1:]
        logits = logits.masked_fill(logits < least, -math.inf)
    if how.top_p < 1:
        ordered, order = logits.sort(descending=True)
        odds = ordered.softmax(-1)
        beyond = odds.cumsum(-1) - odds >= how.top_p
        logits = logits.masked_fill(beyond.gather(-1, order.argsort(-1)), -math.inf)
    return logits


def _sequence(
    model: AnyToAny, row: Modality, given: Tokens, objects: int, how: Decoding, random: torch.Generator
) -> Drawn:
    """One token after another until each object's end; what is given is encoded once."""
    inputs = ragged(objects, cells(given)).to(model.positions.device)
    context = model.encode(inputs)
    ids = np.full((objects, row.tokens), ABSENT, np.int16)
    total, before = np.zeros(objects, np.float32), np.full((objects, 1), SENTINEL, np.int64)
    open_ = np.ones(objects, bool)
    for place in range(row.tokens):
        number, places = (part.reshape(-1) for part in np.mgrid[:objects, : place + 1])
        asked = Cells(number, np.full(len(number), row.id), places, before.reshape(-1))
        logits = _of(model, inputs, targets(objects, asked, asked.id), context).view(objects, place + 1, -1)[:, -1]
        picked, likelihood = _draw(_allowed(logits, row), how, how.temperature, random)
        total += np.where(open_, likelihood, 0)
        open_ &= picked != END
        ids[open_, place] = picked[open_]
        if not open_.any():
            break
        before = np.concatenate([before, picked[:, None].astype(np.int64)], 1)
    return Drawn(ids, total)


def _allowed(logits: Tensor, row: Modality) -> Tensor:
    """Ids of things, and the end; no sentinel stands for what is drawn."""
    banned = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
    banned[: row.offset] = True
    banned[END] = False
    return logits.masked_fill(banned, -math.inf)


def parts(given: Tokens, size: int) -> Iterator[tuple[slice, Tokens]]:
    """Objects, so many at a time."""
    count = len(next(iter(given.values())))
    for first in range(0, count, size):
        some = slice(first, min(first + size, count))
        yield some, {key: ids[some] for key, ids in given.items()}
