"""What a model knows of objects that it has not seen: nats a token, against two controls.

unigram     how often each id was in the training objects, with one more of each: what is known without any input
shuffled    the model, given another, random object's input: what it knows of the modality, not of the object

A model that understands its input is below both. Differences are of the same objects, so their bootstrap is paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmu.errors import UsageError, unknown
from training.codecs import ABSENT
from training.modalities import MODALITIES
from training.model import Model

Tokens = Mapping[str, NDArray[np.int16]]
Numbers = NDArray[np.float64]
DRAWS = 2000
"""Of the bootstrap."""
OUTLIER = 0.15
"""|dz| / (1 + z) of a redshift that is wrong, as photometric redshifts are judged (Hildebrandt et al. 2010)."""


@dataclass(frozen=True)
class Held:
    """Of one modality, given others.

    Attributes:
        objects: that have both. tokens: of each.
        unigram, model, shuffled: nats a token.
        gain, use: how far the model is below the unigram, and below itself with another's input: (2.5 %, 97.5 %).
    """

    target: str
    given: tuple[str, ...]
    objects: int
    tokens: int
    unigram: float
    model: float
    shuffled: float
    gain: tuple[float, float]
    use: tuple[float, float]

    @property
    def passes(self) -> bool:
        """Below both controls, with 95 % confidence."""
        return self.gain[0] > 0 and self.use[0] > 0


def held_out(
    model: Model, train: Tokens, test: Tokens, target: str, given: Sequence[str], *, vocabulary: int = 0, seed: int = 0
) -> Held:
    """Judge one modality on objects of another part of the sky.

    Args:
        train: ids that the unigram is counted in. test: objects to judge by; those that lack one side are left out.
        target: a grid, of which one-pass probabilities are taken. given: what is given of each object, whole.
        vocabulary: ids that can be at all, where a codec has fewer than the table says.

    Raises:
        UsageError: fewer than two objects have all that is asked for.
    """
    row = MODALITIES[target]
    there = having(test, target, given)
    if there.sum() < 2:
        raise UsageError(f"{there.sum()} objects have {target} and any of {', '.join(given)}; at least two are needed.")
    ids = test[target][there]
    inputs = {key: test[key][there] for key in given}
    number = np.random.default_rng(seed).permutation(len(ids))
    others = {key: values[_derangement(number)] for key, values in inputs.items()}
    counts = np.bincount(train[target][_there(train, [target])].reshape(-1), minlength=row.vocabulary) + 1.0
    odds = counts[: vocabulary or row.vocabulary] / counts[: vocabulary or row.vocabulary].sum()
    plain = -np.log(odds[ids]).mean(1)
    own, other = (-model.log_likelihood(target, ids, part) / row.tokens for part in (inputs, others))
    return Held(
        target,
        tuple(given),
        len(ids),
        row.tokens,
        float(plain.mean()),
        float(own.mean()),
        float(other.mean()),
        _interval(plain - own, seed),
        _interval(other - own, seed),
    )


def having(tokens: Tokens, target: str, given: Sequence[str]) -> NDArray[np.bool_]:
    """Objects that have a modality and any of others."""
    return np.asarray(_there(tokens, [target]) & np.any([_there(tokens, [key]) for key in given], axis=0))


def _there(tokens: Tokens, keys: Sequence[str]) -> NDArray[np.bool_]:
    """Objects that have all of some modalities."""
    return np.asarray(np.all([(tokens[key] != ABSENT).any(1) for key in keys], axis=0))


def _derangement(number: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each object another one, in a random cycle."""
    out = np.empty_like(number)
    out[number] = np.roll(number, 1)
    return out


def _interval(differences: Numbers, seed: int) -> tuple[float, float]:
    """Of their mean: 95 % by the bootstrap."""
    random = np.random.default_rng(seed)
    means = differences[random.integers(0, len(differences), (DRAWS, len(differences)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class Redshifts:
    """How good redshifts are; dz is (estimate - truth) / (1 + truth).

    Attributes:
        bias: median of dz. nmad: 1.4826 times the median of its absolute distance from that.
        outliers: share beyond `OUTLIER`.
        pit: largest distance of the distribution of PIT values from an even one (Kolmogorov-Smirnov), 0 if honest.
    """

    objects: int
    bias: float
    nmad: float
    outliers: float
    pit: float

    @classmethod
    def of(cls, estimate: NDArray[Any], truth: NDArray[Any], pit: NDArray[Any]) -> Redshifts:
        """Of estimates (objects,), true values and PIT values."""
        dz = (np.asarray(estimate, float) - truth) / (1 + np.asarray(truth, float))
        bias = float(np.median(dz))
        steps = np.arange(len(dz) + 1) / len(dz)
        ordered = np.sort(np.asarray(pit, float))
        away = float(np.maximum(np.abs(ordered - steps[1:]), np.abs(ordered - steps[:-1])).max())
        return cls(
            len(dz), bias, 1.4826 * float(np.median(np.abs(dz - bias))), float((np.abs(dz) > OUTLIER).mean()), away
        )


def redshifts(model: Model, test: Tokens, target: str, given: Sequence[str]) -> Redshifts:
    """The model's, by the mean of its probabilities; truths are the values of the objects' own ids."""
    there = having(test, target, given)
    found = model.predict(target, {key: test[key][there] for key in given})
    truth = found.values[test[target][there][:, 0]]
    return Redshifts.of(found.mean(), truth, found.pit(truth))


def neighbours(model: Model, train: Tokens, test: Tokens, target: str, given: Sequence[str], k: int = 10) -> Redshifts:
    """The control: mean of the `k` training objects that are nearest in the ranks of some scalars (photometry).

    Raises:
        UsageError: fewer than `k` training objects have all of them.
    """
    values = model.predict(target, {given[0]: test[given[0]][:1]}).values
    sides = []
    for tokens in (train, test):
        there = _there(tokens, [target, *given])
        features = np.concatenate([tokens[key][there] for key in given], axis=1).astype(float)
        sides.append((features, values[tokens[target][there][:, 0]]))
    (known, answers), (asked, truth) = sides
    if len(known) < k or not len(asked):
        raise UsageError(f"{len(known)} training objects have {target} and {', '.join(given)}; {k} are needed.")
    distance = ((asked[:, None] - known[None]) ** 2).sum(2)
    nearest = answers[np.argpartition(distance, k - 1, axis=1)[:, :k]]
    pit = ((nearest < truth[:, None]).sum(1) + 0.5 * (nearest == truth[:, None]).sum(1)) / k
    return Redshifts.of(nearest.mean(1), truth, pit)


def judge(model: Model, train: Tokens, test: Tokens, questions: Sequence[tuple[str, Sequence[str]]]) -> list[Any]:
    """Every question, as numbers that can be written: (target, given), see `held_out`; redshifts where it is one.

    Raises:
        UsageError: a modality is not among the tokens, or too few objects have what is asked for.
    """
    found = []
    for target, given in questions:
        for key in (target, *given):
            if key not in test:
                raise unknown("modality of these tokens", key, test)
        has_codec = model.folder is not None and (model.folder / MODALITIES[target].codec).is_dir()
        vocabulary = model.codec(target).vocabulary if has_codec else 0
        held = held_out(model, train, test, target, given, vocabulary=vocabulary)
        told = {**asdict(held), "passes": held.passes}
        if target in ("tok_redshift", "tok_z") and has_codec:
            told["redshifts"] = asdict(redshifts(model, test, target, given))
        found.append(told)
    return found
