"""The 1-D ConvNeXt-V2 of the spectrum codec (Woo et al. 2023); parameters are named as in the published files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def each(network: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """What a network makes of a batch; on a CPU, without gradients, of a row at a time, whose values stay in cache."""
    if torch.is_grad_enabled() or batch.device.type != "cpu":
        return network(batch)
    return torch.cat([network(row) for row in torch.split(batch, 1)])


class Conv(nn.Conv1d):
    """A convolution of values whose channels come last."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, before) -> (batch, length / stride, after)."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2).contiguous()


class ConvTranspose(nn.ConvTranspose1d):
    """The other way round."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(batch, length, before) -> (batch, length x stride, after)."""
        return super().forward(x.transpose(1, 2), output_size).transpose(1, 2).contiguous()


class FastConv(Conv):
    """The same as `Conv` but for rounding, and without copies."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, before) -> (batch, length, after)."""
        if not _quick(x):
            return super().forward(x)
        return _flat(x, self.weight, self.bias, self.kernel_size[0] // 2, self.groups)


class FastLinear(nn.Linear):
    """The same as `Linear` but for rounding: oneDNN multiplies, on some processors twice as fast as `linear` does."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, before) -> (batch, length, after)."""
        return _flat(x, self.weight.unsqueeze(2), self.bias) if _quick(x) else super().forward(x)


def _quick(x: Tensor) -> bool:
    return x.device.type == "cpu" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def _flat(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int = 0, groups: int = 1) -> Tensor:
    """A convolution along the length, as one of planes a row high, whose channels oneDNN leaves last."""
    planes = x.transpose(1, 2).unsqueeze(2)
    # the stride of 2 skips no row, as there is one; without it, torch on one thread multiplies as `linear` does
    y = F.conv2d(planes, weight.unsqueeze(2), bias, (2, 1), (0, padding), groups=groups)
    return y.squeeze(2).transpose(1, 2)


class ResponseNorm(nn.Module):
    """Global response normalisation: channels compete by their norm along the spectrum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        """As given, (batch, length, channels)."""
        share = _share(torch.linalg.vector_norm(x, dim=1, keepdim=True))
        return self.gamma * (x * share) + self.beta + x


class FastResponseNorm(ResponseNorm):
    """The same but for rounding: `vector_norm` adds one square after the other, in ten times the time."""

    def forward(self, x: Tensor) -> Tensor:
        """As given, (batch, length, channels)."""
        power = x.square().sum(dim=1, keepdim=True)
        share = _share(power.clamp(min=torch.finfo(power.dtype).tiny).sqrt())  # the root of 0 has no gradient
        return torch.addcmul(self.beta, x, 1 + self.gamma * share)


def _share(norm: Tensor) -> Tensor:
    return norm / (norm.mean(dim=-1, keepdim=True) + 1e-6)


class Block(nn.Module):
    """A depth-wise convolution, then a wide layer at each place, added to what came in."""

    convolution: ClassVar[type[Conv]] = Conv
    linear: ClassVar[type[nn.Linear]] = nn.Linear
    response: ClassVar[type[ResponseNorm]] = ResponseNorm

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = self.convolution(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = self.linear(channels, 4 * channels)
        self.grn = self.response(4 * channels)
        self.pwconv2 = self.linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """As given, (batch, length, channels)."""
        y = self.norm(self.dwconv(x))
        return x + self.pwconv2(self.grn(F.gelu(self.pwconv1(y))))  # type: ignore[no-any-return]


class FastBlock(Block):
    """The same but for rounding, which ids bear.

    Decoded values do not: the last norms of the decoder are over two channels, and leave little but their signs.
    """

    convolution = FastConv
    linear = FastLinear
    response = FastResponseNorm


def _stages(block: type[Block], widths: Sequence[int], depths: Sequence[int]) -> nn.ModuleList:
    sizes = zip(widths, depths, strict=True)
    return nn.ModuleList(nn.Sequential(*[block(width) for _ in range(depth)]) for width, depth in sizes)


class Encoder(nn.Module):
    """A stem of stride 4, then stages between steps of stride 2.

    Args:
        before: channels given. widths, depths: channels and blocks of each stage.
    """

    def __init__(self, before: int, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        layers = [nn.Sequential(Conv(before, widths[0], 4, stride=4), nn.LayerNorm(widths[0], eps=1e-6))]
        for old, new in pairwise(widths):
            layers.append(nn.Sequential(nn.LayerNorm(old, eps=1e-6), Conv(old, new, 2, stride=2)))
        self.downsample_layers = nn.ModuleList(layers)
        self.stages = _stages(FastBlock, widths, depths)
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
        self.apply(_start)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, before) -> (batch, length / stride, widths[-1])."""
        for step, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(step(x))
        return self.norm(x)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """The encoder mirrored: steps of stride 2, and one of 4 at the end."""

    def __init__(self, before: int, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        layers = [nn.Sequential(ConvTranspose(before, widths[0], 2, stride=2), nn.LayerNorm(widths[0], eps=1e-6))]
        for number, (old, new) in enumerate(pairwise(widths)):
            step = 4 if number == len(widths) - 2 else 2
            layers.append(nn.Sequential(nn.LayerNorm(old, eps=1e-6), ConvTranspose(old, new, step, stride=step)))
        self.upsample_layers = nn.ModuleList(layers)
        self.stages = _stages(Block, widths, depths)
        self.apply(_start)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, before) -> (batch, length x stride, widths[-1])."""
        for step, stage in zip(self.upsample_layers, self.stages, strict=True):
            x = stage(step(x))
        return x


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]
