"""What a model says of a modality: a probability for every id of every token, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmu.errors import UsageError
from training.codecs import Codec
from training.modalities import MODALITIES


@dataclass(frozen=True)
class Prediction:
    """Of objects; tokens are independent of each other here, see `Model.generate` for tokens that know each other.

    Attributes:
        key: of the modality.
        log_probabilities: (objects, tokens, vocabulary), natural logarithms.
        codec: of the modality, where there is one.
    """

    key: str
    log_probabilities: NDArray[np.float32]
    codec: Codec | None = None

    @property
    def best(self) -> NDArray[np.int16]:
        """(objects, tokens): the likeliest ids."""
        return np.asarray(self.log_probabilities.argmax(-1), np.int16)

    def log_likelihood(self, ids: NDArray[Any]) -> NDArray[np.float32]:
        """(objects,), in nats, of ids (objects, tokens)."""
        wanted = np.asarray(ids, np.int64)[..., None]
        return np.asarray(np.take_along_axis(self.log_probabilities, wanted, -1).sum((1, 2)))

    def sample(self, count: int = 1, seed: int = 0) -> NDArray[np.int16]:
        """Ids (count, objects, tokens)."""
        random = np.random.default_rng(seed)
        noise = random.gumbel(size=(count, *self.log_probabilities.shape)).astype(np.float32)
        return np.asarray((self.log_probabilities + noise).argmax(-1), np.int16)

    @property
    def values(self) -> NDArray[np.float32]:
        """(ids,): the number that each id of a scalar stands for, in order.

        Raises:
            UsageError: it is no scalar, or its codec is not there.
        """
        row = MODALITIES[self.key]
        if row.tokens != 1 or self.codec is None:
            why = "it has more than one token" if row.tokens != 1 else "give the model its folder of codecs"
            raise UsageError(f"{self.key} has no values: {why}.")
        numbers: NDArray[np.float32] = self.codec.decode(torch.arange(self.codec.vocabulary)[:, None]).numpy()
        return numbers

    def probabilities(self) -> NDArray[np.float32]:
        """(objects, ids) of a scalar's values, adding up to 1."""
        odds = np.exp(self.log_probabilities[:, 0, : len(self.values)])
        return np.asarray(odds / odds.sum(1, keepdims=True), np.float32)

    def mean(self) -> NDArray[np.float32]:
        """(objects,): the expected value of a scalar."""
        return np.asarray(self.probabilities() @ self.values, np.float32)

    def quantile(self, share: float) -> NDArray[np.float32]:
        """(objects,): the value below which so much of the probability is."""
        below = np.cumsum(self.probabilities(), 1)
        return np.asarray(self.values[np.minimum((below < share).sum(1), len(self.values) - 1)])

    def pit(self, truth: NDArray[Any]) -> NDArray[np.float32]:
        """(objects,): the probability below the true value and half of that at it; uniform if honest."""
        odds, values = self.probabilities(), self.values
        truth = np.asarray(truth)[:, None]
        nearest = np.abs(values - truth).argmin(1)
        lower = np.cumsum(odds, 1)
        own = np.take_along_axis(odds, nearest[:, None], 1)[:, 0]
        return np.asarray(np.take_along_axis(lower, nearest[:, None], 1)[:, 0] - own / 2, np.float32)
