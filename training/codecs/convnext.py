"""The 1-D ConvNeXt-V2 of the spectrum codec (Woo et al. 2023); parameters are named as in the published files."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FirstNorm(nn.LayerNorm):
    """Layer normalisation over channels that come second."""

    def forward(self, x: Tensor) -> Tensor:
        """As given, (batch, channels, length)."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class ResponseNorm(nn.Module):
    """Global response normalisation: channels compete by their norm along the spectrum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        """As given, (batch, length, channels)."""
        norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        share = norm / (norm.mean(dim=-1, keepdim=True) + 1e-6)
        return self.gamma * (x * share) + self.beta + x  # type: ignore[no-any-return]


class Block(nn.Module):
    """A depth-wise convolution, then a wide layer at each place, added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.grn = ResponseNorm(4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """As given, (batch, channels, length)."""
        y = self.norm(self.dwconv(x).transpose(1, 2))
        y = self.pwconv2(self.grn(F.gelu(self.pwconv1(y))))
        return x + y.transpose(1, 2)  # type: ignore[no-any-return]


def _stages(widths: Sequence[int], depths: Sequence[int]) -> nn.ModuleList:
    return nn.ModuleList(
        nn.Sequential(*[Block(width) for _ in range(depth)]) for width, depth in zip(widths, depths, strict=True)
    )


class Encoder(nn.Module):
    """A stem of stride 4, then stages between steps of stride 2.

    Args:
        before: channels given. widths, depths: channels and blocks of each stage.
    """

    def __init__(self, before: int, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        layers = [nn.Sequential(nn.Conv1d(before, widths[0], 4, stride=4), FirstNorm(widths[0], eps=1e-6))]
        for old, new in pairwise(widths):
            layers.append(nn.Sequential(FirstNorm(old, eps=1e-6), nn.Conv1d(old, new, 2, stride=2)))
        self.downsample_layers = nn.ModuleList(layers)
        self.stages = _stages(widths, depths)
        self.norm = FirstNorm(widths[-1], eps=1e-6)
        self.apply(_start)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, before, length) -> (batch, widths[-1], length / stride)."""
        for step, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(step(x))
        return self.norm(x)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """The encoder mirrored: steps of stride 2, and one of 4 at the end."""

    def __init__(self, before: int, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        layers = [nn.Sequential(nn.ConvTranspose1d(before, widths[0], 2, stride=2), FirstNorm(widths[0], eps=1e-6))]
        for number, (old, new) in enumerate(pairwise(widths)):
            step = 4 if number == len(widths) - 2 else 2
            layers.append(nn.Sequential(FirstNorm(old, eps=1e-6), nn.ConvTranspose1d(old, new, step, stride=step)))
        self.upsample_layers = nn.ModuleList(layers)
        self.stages = _stages(widths, depths)
        self.apply(_start)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, before, length) -> (batch, widths[-1], length x stride)."""
        for step, stage in zip(self.upsample_layers, self.stages, strict=True):
            x = stage(step(x))
        return x


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]
