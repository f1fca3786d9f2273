"""Quantisers: from vectors or numbers to ids and back, with the gradients and losses that codecs are trained with.

Vectors have their channels second: (batch, channels, ...) <-> ids (batch, ...). Numbers have any shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mmu.errors import UsageError

Function = Callable[[Tensor], Tensor]

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
        bounded = self._bounded(vectors)
        return bounded + (bounded.round() - bounded).detach()

    def _bounded(self, vectors: Tensor) -> Tensor:
        """The same before they are rounded."""
        half = (self.levels - 1) * (1 + self.eps) / 2
        offset = torch.where(self.levels % 2 == 1, 0.0, 0.5)
        return torch.tanh(vectors + torch.atanh(offset / half)) * half - offset

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest code vectors, with values in [-1, 1], and a loss of 0."""
        rounded = self._rounded(vectors.movedim(1, -1))
        return (rounded / (self.levels // 2)).movedim(-1, 1), vectors.new_zeros(())

    def half_rounded(self, vectors: Tensor) -> Tensor:
        """As `forward`, but every second of the batch is left unrounded: its gradients are true ones, of all codes."""
        found, _ = self(vectors)
        smooth = (self._bounded(vectors[::2].movedim(1, -1)) / (self.levels // 2)).movedim(-1, 1)
        return torch.cat([smooth, found[1::2]])[_interleaved(len(vectors))]

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


def _interleaved(count: int) -> Tensor:
    """Where each of `count` is after those of even number were put before the odd ones."""
    first = (count + 1) // 2
    return torch.tensor([place // 2 + (first if place % 2 else 0) for place in range(count)])


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


class Quantiles(nn.Module):
    """A table of quantiles, and the sample it is of: Algorithm R keeps each number seen with the same chance.

    Args:
        size: bins. sample: numbers kept.
        forward_, inverse: between a number and what is binned.
    """

    table: Tensor
    reservoir: Tensor
    means: Tensor
    count: Tensor

    def __init__(self, size: int, sample: int, forward_: Function, inverse: Function, seed: int = 0) -> None:
        super().__init__()
        self.size, self.forward_, self.inverse = size, forward_, inverse
        self.register_buffer("reservoir", torch.zeros(sample))
        self.register_buffer("table", torch.zeros(size))
        self.register_buffer("means", torch.full((size,), float("nan")))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.random = torch.Generator().manual_seed(seed)

    def update(self, values: Tensor) -> None:
        """See more numbers; how they are cut into batches does not matter. Those not finite are passed over."""
        values = self.forward_(values[torch.isfinite(values)].float())
        seen, room = int(self.count), len(self.reservoir)
        free = max(0, min(room - seen, len(values)))
        self.reservoir[seen : seen + free] = values[:free]
        rest = values[free:]
        order = torch.arange(seen + free, seen + len(values), dtype=torch.float64)
        slot = (torch.rand(len(rest), generator=self.random, dtype=torch.float64) * (order + 1)).long()
        for place, value in zip(slot[slot < room].tolist(), rest[slot < room].tolist(), strict=True):
            self.reservoir[place] = value  # one by one: the last of those that draw the same slot stays
        self.count += len(values)

    def finish(self) -> None:
        """Make the table of what was seen.

        Raises:
            UsageError: nothing was.
        """
        sample = self.reservoir[: int(self.count)].sort().values.double()
        if not len(sample):
            raise UsageError("No finite number was seen, so there are no quantiles; fit it with some.")
        at = torch.linspace(0, 1, self.size, dtype=torch.float64) * (len(sample) - 1)
        low = at.floor().long()
        high = (low + 1).clamp(max=len(sample) - 1)
        self.table.copy_(sample[low] + (sample[high] - sample[low]) * (at - low))
        if int(self.count) < len(self.reservoir):
            self.reservoir[int(self.count) :] = sample[-1].float()
        self.find_means()

    def find_means(self) -> None:
        """The mean of the sample in each bin; of an empty bin, its middle."""
        seen = self.reservoir[: int(self.count)] if int(self.count) else self.reservoir
        edges = self.table
        middles = self.inverse(torch.cat([edges[:1], (edges[:-1] + edges[1:]) / 2])).double()
        ids = torch.bucketize(seen, edges[:-1])
        total = torch.zeros(self.size, dtype=torch.float64).index_add_(0, ids, self.inverse(seen).double())
        number = torch.bincount(ids, minlength=self.size)
        self.means.copy_(torch.where(number > 0, total / number.clamp(min=1), middles))

    def encode(self, values: Tensor) -> Tensor:
        """The bins of numbers, int32; NaN is in the last, as published."""
        return torch.bucketize(self.forward_(values), self.table[:-1], out_int32=True)

    def decode(self, ids: Tensor, edges: bool = False) -> Tensor:
        """Numbers of ids, NaN for `ABSENT`: bin means, or right edges."""
        known = self.inverse(self.table) if edges else self.means
        return torch.where(ids >= 0, known[ids.clamp(min=0).long()], torch.nan)
