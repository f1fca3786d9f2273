"""The codec of maps of what is where: a field in [0, 1], 96 x 96 pixels, as 12 x 12 ids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mmu.errors import UsageError
from training.codecs.codec import Codec, Loss, remember, whole
from training.codecs.quantize import ABSENT, FSQ

SIZE = 96


class Residual(nn.Module):
    """Layers of two convolutions, each added to what came in."""

    def __init__(self, channels: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.net = nn.Sequential(*[_Layer(channels, hidden) for _ in range(layers)])

    def forward(self, x: Tensor) -> Tensor:
        """As given."""
        return self.net(x)  # type: ignore[no-any-return]


class _Layer(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, hidden, 3, padding=1),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)  # type: ignore[no-any-return]


class _Net(nn.Module):
    """Layers one after the other, under the published name."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # type: ignore[no-any-return]


def _encoder(width: int, hidden: int, layers: int, halvings: int) -> _Net:
    widths = [1, *(width // 2**i for i in range(halvings - 1, -1, -1))]
    steps: list[nn.Module] = []
    for old, new in pairwise(widths):
        steps += [nn.Conv2d(old, new, 4, stride=2, padding=1), nn.ReLU()]
    return _Net(*steps, nn.Conv2d(width, width, 3, padding=1), Residual(width, hidden, layers))


def _decoder(width: int, hidden: int, layers: int, doublings: int) -> _Net:
    widths = [width, *(width // 2**i for i in range(doublings - 1, 0, -1)), 1]  # as published: 128 before 256
    steps: list[nn.Module] = []
    for old, new in pairwise(widths):
        steps += [nn.ReLU(), nn.ConvTranspose2d(old, new, 4, stride=2, padding=1)]
    return _Net(nn.ConvTranspose2d(width, width, 3, padding=1), Residual(width, hidden, layers), *steps)


class SegmapCodec(Codec):
    """Maps as ids of finite scalar quantisation; parameters are named as in the published files.

    Args:
        encoder_output_dim: channels before they are projected to `embedding_dim`, that of `levels`.
        res_hidden_dims, num_res_layers: of the residual layers; num_downsamples: times the size is halved.
    """

    kind = "segmap"

    def __init__(
        self,
        encoder_output_dim: int = 512,
        embedding_dim: int = 4,
        res_hidden_dims: int = 64,
        num_res_layers: int = 2,
        num_downsamples: int = 3,
        levels: Sequence[int] = (8, 5, 5, 5),
        compat: str | None = None,
    ) -> None:
        super().__init__(compat)
        remember(self, locals())
        if embedding_dim != len(levels):
            raise UsageError(f"embedding_dim={embedding_dim} differs from {len(levels)} levels.")
        self.quantizer = FSQ(levels)
        self.vocabulary = self.quantizer.vocabulary
        self.stride = 2**num_downsamples
        self.encode_proj = nn.Conv2d(encoder_output_dim, embedding_dim, 1)
        self.decode_proj = nn.Conv2d(embedding_dim, encoder_output_dim, 1)
        self.encoder = _encoder(encoder_output_dim, res_hidden_dims, num_res_layers, num_downsamples)
        self.decoder = _decoder(encoder_output_dim, res_hidden_dims, num_res_layers, num_downsamples)

    def tokens(self, shape: tuple[int, ...] = (SIZE, SIZE)) -> tuple[int, ...]:
        """The grid of ids, (rows, columns)."""
        rows, columns = shape[-2:]
        if min(rows, columns) < SIZE:
            raise UsageError(f"Maps of {rows} x {columns} pixels; this codec needs at least {SIZE} a side.")
        return SIZE // self.stride, SIZE // self.stride

    @torch.no_grad()
    def encode(self, field: Any) -> Tensor:
        """Ids (batch, tokens) of the middle of maps (batch, rows, columns); one that is not finite is absent."""
        middle = self._middle(field)
        there = torch.isfinite(middle).flatten(1).all(1, keepdim=True)
        ids = self.quantizer.encode(self._latents(torch.nan_to_num(middle))).flatten(1)
        return torch.where(there, ids, ABSENT)

    def loss(self, field: Any) -> Loss:
        """The mean squared difference of maps (batch, rows, columns), all finite, and what they decode to."""
        middle = self._middle(field)
        latents = self._latents(middle)
        vectors, extra = self.quantizer(latents)
        squared = (self.planes(vectors) - middle[:, 0]).square().mean()
        return Loss(squared + extra, self.quantizer.encode(latents.detach()).flatten(1), squared.detach())

    def _latents(self, middle: Tensor) -> Tensor:
        return self.encode_proj(self.encoder(middle))  # type: ignore[no-any-return]

    def _middle(self, field: Any) -> Tensor:
        """(batch, 1, 96, 96)"""
        maps = whole("field", field)
        if maps.ndim != 3:
            raise UsageError(f"field has the shape {tuple(maps.shape)}; give (maps, rows, columns).")
        self.tokens(tuple(maps.shape))
        top, left = ((side - SIZE) // 2 for side in maps.shape[1:])
        return maps[:, None, top : top + SIZE, left : left + SIZE].to(self.encode_proj.weight.device)

    @torch.no_grad()
    def decode(self, ids: Tensor) -> Tensor:
        """Maps (batch, 96, 96)."""
        side = math.isqrt(ids.shape[1])
        if side**2 != ids.shape[1]:
            raise UsageError(f"{ids.shape[1]} ids make no square map.")
        vectors = self.quantizer.decode(ids.clamp(min=0).reshape(-1, side, side))
        maps = self.planes(vectors)
        return torch.where((ids >= 0).all(1)[:, None, None], maps, torch.nan)

    def planes(self, vectors: Tensor) -> Tensor:
        """Maps of quantised vectors."""
        return torch.sigmoid(self.decoder(self.decode_proj(vectors))).clamp(0.0, 1.0)[:, 0]
