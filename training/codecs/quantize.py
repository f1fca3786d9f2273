"""Quantisers: from vectors or numbers to ids and back, with the gradients and losses that codecs are trained with.

Vectors have their channels second: (batch, channels, ...) <-> ids (batch, ...). Numbers have any shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

ABSENT = -1
"""The id of what is not there. No quantiser gives it of itself."""


class FSQ(nn.Module):
    """Finite scalar quantisation (Mentzer et al. 2023): each channel is rounded to one of a few levels.

    Ids count the first channel fastest. Trained straight through the rounding, without a loss of its own.

    Args:
        levels: of each channel.
        eps: by which the outermost levels are widened, so that they can be reached.
    """

    levels: Tensor

    def __init__(self, levels: Sequence[int], eps: float = 1e-3) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("levels", torch.tensor(list(levels), dtype=torch.int32))
        self.strides = tuple(math.prod(levels[:i]) for i in range(len(levels)))
        self.vocabulary = math.prod(levels)
        self.channels = len(levels)

    def _rounded(self, vectors: Tensor) -> Tensor:
        """Level numbers about 0, channels last; gradients as if nothing had been rounded."""
        half = (self.levels - 1) * (1 + self.eps) / 2
        offset = torch.where(self.levels % 2 == 1, 0.0, 0.5)
        bounded = torch.tanh(vectors + torch.atanh(offset / half)) * half - offset
        return bounded + (bounded.round() - bounded).detach()

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest code vectors, with values in [-1, 1], and a loss of 0."""
        rounded = self._rounded(vectors.movedim(1, -1))
        return (rounded / (self.levels // 2)).movedim(-1, 1), vectors.new_zeros(())

    def encode(self, vectors: Tensor) -> Tensor:
        """Ids (batch, ...), int32, of vectors (batch, channels, ...)."""
        rounded = self._rounded(vectors.movedim(1, -1).float()).round().to(torch.int32)
        return ((rounded + self.levels // 2) * self._strides(rounded)).sum(-1, dtype=torch.int32)

    def decode(self, ids: Tensor) -> Tensor:
        """Code vectors (batch, channels, ...) of ids (batch, ...)."""
        digits = ids.unsqueeze(-1) // self._strides(ids) % self.levels
        half = self.levels // 2
        return ((digits - half) / half).movedim(-1, 1)

    def _strides(self, like: Tensor) -> Tensor:
        return torch.tensor(self.strides, dtype=like.dtype, device=like.device)


class LFQ(nn.Module):
    """Look-up-free quantisation (Yu et al. 2023): the signs of the channels are the bits of the id, the first highest.

    Args:
        bits: channels.
        commitment: weight of the squared distance from a vector to its code.
        entropy: weight of (entropy of each vector's codes) - `gamma` x (entropy of the codes of the batch).
        inverse_temperature: of the codes' probabilities in those.
    """

    mask: Tensor
    codes: Tensor

    def __init__(
        self,
        bits: int,
        commitment: float = 0.25,
        entropy: float = 0.1,
        gamma: float = 1.0,
        inverse_temperature: float = 100.0,
    ) -> None:
        super().__init__()
        self.commitment, self.entropy, self.gamma = commitment, entropy, gamma
        self.inverse_temperature = inverse_temperature
        self.vocabulary, self.channels = 2**bits, bits
        self.register_buffer("mask", 2 ** torch.arange(bits - 1, -1, -1))
        self.register_buffer("codes", self.decode(torch.arange(2**bits)[None])[0].T.contiguous(), persistent=False)

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of +-1 with the gradients of the vectors, and the loss."""
        codes = torch.where(vectors > 0, 1.0, -1.0)
        flat = vectors.movedim(1, -1).reshape(-1, self.channels).float()
        loss = self.commitment * (vectors - codes).square().mean() + self.entropy * self._entropies(flat)
        return vectors + (codes - vectors).detach(), loss

    def _entropies(self, flat: Tensor) -> Tensor:
        """How unsure each vector is of its code, less how many codes the batch uses."""
        chances = (2 * self.inverse_temperature * flat @ self.codes.T).softmax(-1)
        return _entropy(chances).mean() - self.gamma * _entropy(chances.mean(0))

    def encode(self, vectors: Tensor) -> Tensor:
        """Ids (batch, ...), int32, of vectors (batch, channels, ...)."""
        bits = (vectors.movedim(1, -1) > 0).to(torch.int32)
        return (bits * self.mask.to(torch.int32)).sum(-1, dtype=torch.int32)

    def decode(self, ids: Tensor) -> Tensor:
        """Code vectors (batch, channels, ...) of ids (batch, ...)."""
        return ((ids.unsqueeze(-1) & self.mask) != 0).float().mul(2).sub(1).movedim(-1, 1)


def _entropy(chances: Tensor) -> Tensor:
    return -(chances * chances.clamp(min=1e-5).log()).sum(-1)


class LinearGrid(nn.Module):
    """Numbers on evenly spaced values: the id is that of the first value that is not below.

    The grid is not centred: a number becomes the value at the upper end of its step, as published.
    """

    buckets: Tensor

    def __init__(self, size: int, low: float, high: float) -> None:
        super().__init__()
        self.vocabulary = size
        self.register_buffer("buckets", torch.linspace(low, high, size))

    def encode(self, values: Tensor) -> Tensor:
        """Ids, int32, of numbers; those outside get the first or last."""
        return torch.bucketize(values, self.buckets, out_int32=True).clamp(0, self.vocabulary - 1)

    def decode(self, ids: Tensor) -> Tensor:
        """The grid's values."""
        return self.buckets[ids.long()]


class Usage:
    """How much of a vocabulary is used: ids counted as they come."""

    def __init__(self, vocabulary: int) -> None:
        self.counts = torch.zeros(vocabulary, dtype=torch.int64)

    def add(self, ids: Tensor) -> None:
        """Count ids; absent ones are left out."""
        flat = ids.reshape(-1).cpu().long()
        self.counts += torch.bincount(flat[flat >= 0], minlength=len(self.counts))

    @property
    def perplexity(self) -> float:
        """The number of equally frequent ids of the same entropy."""
        total = int(self.counts.sum())
        if not total:
            return 0.0
        chances = self.counts[self.counts > 0].double() / total
        return float(torch.exp(-(chances * chances.log()).sum()))

    @property
    def dead(self) -> int:
        """Ids that never came."""
        return int((self.counts == 0).sum())
