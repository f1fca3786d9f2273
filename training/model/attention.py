"""Who sees whom, for ragged tokens: each query the keys of its own object, or of its own object and modality.

On a GPU in half precision the stretches go to PyTorch's variable-length flash attention as they are. Elsewhere they are
laid out as a rectangle for `scaled_dot_product_attention`; where all are equally long, that is only another view.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from training.ragged import Ragged, Segments, Targets


class Attend(Protocol):
    """(queries, heads, d), (keys, heads, d), (keys, heads, d) -> (queries, heads, d)."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Softmax over the keys that each query sees."""


@dataclass(frozen=True)
class Rectangle:
    """Tokens as (segments, longest): `index` says where each is in it; None where nothing has to be moved."""

    segments: Segments
    index: Tensor | None

    @classmethod
    def of(cls, segments: Segments, tokens: int) -> Rectangle:
        """Without waiting for the device."""
        if segments.equal:
            return cls(segments, None)
        offsets = segments.offsets.long()
        number = torch.repeat_interleave(
            torch.arange(segments.count, device=offsets.device), offsets.diff(), output_size=tokens
        )
        inside = torch.arange(tokens, device=offsets.device) - offsets[number]
        return cls(segments, number * segments.longest + inside)

    def spread(self, values: Tensor, fill: float = 0.0) -> Tensor:
        """(tokens, ...) -> (segments, longest, ...)."""
        shape = (self.segments.count, self.segments.longest, *values.shape[1:])
        if self.index is None:
            return values.reshape(shape)
        flat = values.new_full((shape[0] * shape[1], *values.shape[1:]), fill)
        return flat.index_copy(0, self.index, values).view(shape)

    def gather(self, values: Tensor) -> Tensor:
        """The way back."""
        flat = values.reshape(-1, *values.shape[2:])
        return flat if self.index is None else flat[self.index]


@dataclass(frozen=True)
class Padded:
    """Attention in rectangles; `mask` (objects, 1, 1 or queries, keys) is True where a query sees a key."""

    queries: Rectangle
    keys: Rectangle
    mask: Tensor | None

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `Attend`."""
        q, k, v = (
            layout.spread(values.to(v.dtype)).transpose(1, 2)
            for layout, values in ((self.queries, q), (self.keys, k), (self.keys, v))
        )
        seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=self.mask)
        return self.queries.gather(seen.transpose(1, 2))


@dataclass(frozen=True)
class Varlen:
    """Attention in stretches as they are; queries for which `causal` is True see only keys before them.

    `causal` and the rest are calls of their own, as the kernel takes one rule a call.
    """

    queries: Segments
    keys: Segments
    causal: bool = False

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `Attend`."""
        from torch.nn.attention.varlen import varlen_attn

        seen: Any = varlen_attn(
            q.to(v.dtype),
            k.to(v.dtype),
            v,
            self.queries.offsets,
            self.keys.offsets,
            self.queries.longest,
            self.keys.longest,
            **(_causal() if self.causal else {}),
        )
        return seen  # type: ignore[no-any-return]


@cache
def _causal() -> dict[str, Any]:
    """How the installed PyTorch is told that keys after the query are not seen."""
    from torch.nn.attention.varlen import varlen_attn

    old = "is_causal" in inspect.signature(varlen_attn).parameters
    return {"is_causal": True} if old else {"window_size": (-1, 0)}


@dataclass(frozen=True)
class Both:
    """Grids, then sequences, each by their own rule."""

    grids: Tensor
    sequences: Tensor
    of_grids: Attend
    of_sequences: Attend

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `Attend`."""
        out = torch.empty_like(v)
        for places, attend in ((self.grids, self.of_grids), (self.sequences, self.of_sequences)):
            out = out.index_copy(0, places, attend(q[places], k[places], v[places]))
        return out


@dataclass(frozen=True)
class Average:
    """What the published `AION.forward` does between the tokens it predicts: all of an object weigh the same."""

    layout: Rectangle

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `Attend`."""
        lengths = self.layout.segments.offsets.diff()[:, None, None, None]
        mean = self.layout.spread(v).sum(1, keepdim=True) / lengths
        return self.layout.gather(mean.expand(-1, self.layout.segments.longest, -1, -1))


@cache
def has_varlen() -> bool:
    """Whether this PyTorch has the kernel (2.10 and later)."""
    try:
        import torch.nn.attention.varlen
    except ImportError:
        return False
    return hasattr(torch.nn.attention.varlen, "varlen_attn")


def fast(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether tokens on a device are attended to as they are."""
    return device.type == "cuda" and dtype in (torch.bfloat16, torch.float16) and has_varlen()


def across(queries: Ragged, keys: Ragged, dtype: torch.dtype) -> Attend:
    """Each token of an object sees all keys of the object."""
    if fast(queries.ids.device, dtype):
        return Varlen(queries.objects, keys.objects)
    own = Rectangle.of(queries.objects, len(queries.ids))
    other = own if queries is keys else Rectangle.of(keys.objects, len(keys.ids))
    there = torch.ones(len(keys.ids), dtype=torch.bool, device=keys.ids.device)
    mask = None if keys.objects.equal else other.spread(there)[:, None, None, :]
    return Padded(own, other, mask)


def within(targets: Targets, dtype: torch.dtype) -> Attend:
    """Each token sees those of its object and modality; in a sequence, only the ones before it and itself."""
    if fast(targets.ids.device, dtype):
        return _within_as_they_are(targets)
    layout = Rectangle.of(targets.objects, len(targets.ids))
    if targets.causal is None and targets.groups.count == targets.objects.count and targets.objects.equal:
        return Padded(layout, layout, None)
    group = layout.spread(_number(targets.groups, len(targets.ids)), -1)
    mask = group[:, :, None] == group[:, None, :]
    if targets.causal is not None:
        later = torch.ones(mask.shape[1:], dtype=torch.bool, device=mask.device).triu(1)
        mask = mask & ~(layout.spread(targets.causal, False)[:, :, None] & later)
    return Padded(layout, layout, mask[:, None])


def _number(segments: Segments, tokens: int) -> Tensor:
    """Of each token's segment."""
    numbers = torch.arange(segments.count, device=segments.offsets.device)
    return torch.repeat_interleave(numbers, segments.offsets.long().diff(), output_size=tokens)


def _within_as_they_are(targets: Targets) -> Attend:
    groups = targets.groups
    if targets.causal is None:
        return Varlen(groups, groups)
    lengths = groups.offsets.diff()
    causal = targets.causal
    in_sequence = causal[groups.offsets[:-1].long().clamp(max=len(causal) - 1)]
    parts = [
        Segments(
            functional.pad(torch.where(own, lengths, 0).cumsum(0, dtype=torch.int32), (1, 0)), groups.longest, False
        )
        for own in (~in_sequence, in_sequence)
    ]
    return Both(
        (~causal).nonzero()[:, 0],
        causal.nonzero()[:, 0],
        Varlen(parts[0], parts[0]),
        Varlen(parts[1], parts[1], causal=True),
    )
