"""The convolutional networks of the image codec; parameters are named as in the published files (MAGVIT-v2's)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SameConv(nn.Module):
    """A convolution that keeps the size."""

    def __init__(self, before: int, after: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, before, rows, columns) -> (batch, after, rows, columns)."""
        return self.conv(x)  # type: ignore[no-any-return]


class SqueezeExcite(nn.Module):
    """Channels times gates, which an attention-weighted mean of the image decides (Cao et al. 2020).

    Gates start nearly shut, so a fresh residual unit does nothing.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(16, channels // 2)
        self.to_k = nn.Conv2d(channels, 1, 1)
        last = nn.Conv2d(hidden, channels, 1)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, -10.0)  # type: ignore[arg-type]
        self.net = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.LeakyReLU(0.1), last, nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """As given."""
        weights = self.to_k(x).flatten(2).softmax(-1)
        mean = torch.einsum("bin,bcn->bci", weights, x.flatten(2))
        return self.net(mean.unsqueeze(-1)) * x  # type: ignore[no-any-return]


class ResidualUnit(nn.Module):
    """x plus two convolutions and gates of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            SameConv(channels, channels, 3),
            nn.ELU(),
            nn.Conv2d(channels, channels, 1),
            nn.ELU(),
            SqueezeExcite(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """As given."""
        return self.net(x) + x  # type: ignore[no-any-return]


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels, which come second."""

    def forward(self, x: Tensor) -> Tensor:
        """As given."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Down(nn.Module):
    """Half the size, other channels."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, before, rows, columns) -> (batch, after, rows / 2, columns / 2)."""
        return self.conv(x)  # type: ignore[no-any-return]


class Up(nn.Module):
    """Twice the size, other channels: each pixel's channels become four pixels."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        conv = nn.Conv2d(before, 4 * after, 1)
        same = torch.empty(after, before, 1, 1)
        nn.init.kaiming_uniform_(same)
        conv.weight.data.copy_(same.repeat_interleave(4, dim=0))  # the four start alike: no checkerboard
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        self.net = nn.Sequential(conv, nn.SiLU(), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, before, rows, columns) -> (batch, after, 2 rows, 2 columns)."""
        return self.net(x)  # type: ignore[no-any-return]


def _units(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*[ResidualUnit(channels) for _ in range(count)])


class MagVit(nn.Module):
    """Residual units between steps that halve the size and double the channels; the decoder mirrors it.

    Args:
        channels_in: of the image. hidden: channels of the latents, after `halvings`. units: between two halvings.
    """

    def __init__(self, channels_in: int, hidden: int, halvings: int, units: int) -> None:
        super().__init__()
        channels = hidden // 2**halvings
        self.stride = 2**halvings
        self.conv_in = SameConv(channels_in, channels, 7)
        self.conv_out = SameConv(channels, channels_in, 3)
        down: list[nn.Module] = [ResidualUnit(channels)]
        up: list[nn.Module] = [ResidualUnit(channels)]
        for _ in range(halvings):
            down += [Down(channels, 2 * channels), _units(2 * channels, units)]
            up = [_units(2 * channels, units), Up(2 * channels, channels), *up]
            channels *= 2
        down += [SameConv(channels, channels, 7), _units(channels, units)]
        up = [_units(channels, units), SameConv(channels, channels, 3), *up]
        down.append(nn.Sequential(nn.Identity(), ChannelNorm(channels)))
        self.encoder_layers, self.decoder_layers = nn.ModuleList(down), nn.ModuleList(up)

    def encode(self, x: Tensor) -> Tensor:
        """(batch, channels, rows, columns) -> (batch, hidden, rows / stride, columns / stride)."""
        x = self.conv_in(x)
        for layer in self.encoder_layers:
            x = layer(x)
        return x

    def decode(self, x: Tensor) -> Tensor:
        """(batch, hidden, rows, columns) -> (batch, channels, rows x stride, columns x stride)."""
        for layer in self.decoder_layers:
            x = layer(x)
        return self.conv_out(x)  # type: ignore[no-any-return]


class Neighbours(nn.Module):
    """x plus what a place and those around it say.

    Unlike `ResidualUnit` it has no gates, which take thousands of steps to open: more than a small run has.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        last = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(last.weight)
        self.net = nn.Sequential(ChannelNorm(channels), SameConv(channels, channels, 3), nn.SiLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        """As given."""
        return self.net(x) + x  # type: ignore[no-any-return]


class Patches(nn.Module):
    """Each patch becomes one vector at once, and residual units see only those: cheap enough for a CPU."""

    def __init__(self, channels_in: int, hidden: int, patch: int, units: int) -> None:
        super().__init__()
        self.stride = patch
        self.patch_in, self.patch_out = (
            nn.Linear(channels_in * patch**2, hidden),
            nn.Linear(hidden, channels_in * patch**2),
        )
        self.encoder = nn.Sequential(*[Neighbours(hidden) for _ in range(units)], ChannelNorm(hidden))
        nn.init.zeros_(self.patch_out.weight)
        self.decoder = nn.Sequential(*[Neighbours(hidden) for _ in range(units)])

    def encode(self, x: Tensor) -> Tensor:
        """(batch, channels, rows, columns) -> (batch, hidden, rows / patch, columns / patch)."""
        batch, channels, rows, columns = x.shape
        side = self.stride
        parts = x.view(batch, channels, rows // side, side, columns // side, side).permute(0, 2, 4, 1, 3, 5)
        return self.encoder(self.patch_in(parts.flatten(3)).movedim(-1, 1))  # type: ignore[no-any-return]

    def decode(self, x: Tensor) -> Tensor:
        """(batch, hidden, rows, columns) -> (batch, channels, rows x patch, columns x patch)."""
        side = self.stride
        parts = self.patch_out(self.decoder(x).movedim(1, -1)).unflatten(-1, (-1, side, side))
        return parts.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)  # type: ignore[no-any-return]
