"""The network of small spectrum codecs: each section of a few pixels is one vector at once, cheap enough for a CPU.

A line is in one section of a hundred. For a network that trains for a minute to find lines at all, the highest peak of
each section is measured rather than learned, its place and height have channels of the latents from the start, and the
decoder draws one Gaussian in each section.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.codecs.whitened import Whitened

REACH = (1, 2, 4, 8)
"""Sections between which units look to either side, one after the other: four see 15 away, 384 Angstrom."""
MOST = 8.0
"""Largest argument of an exponential."""
SHARP = 4.0
"""How much more a higher pixel counts as a peak."""
FACTS = 4
"""Measured of a peak."""
SIGMA = 4.0
"""Of a fresh Gaussian, pixels."""
BRIGHT = 20.0
"""Signal to noise of a peak up to which its section counts more."""


class Around(nn.Module):
    """x plus what a section and those some way to its left and right say.

    Args:
        reach: sections to either side.
    """

    def __init__(self, channels: int, reach: int) -> None:
        super().__init__()
        self.reach = reach
        self.norm = nn.LayerNorm(channels)
        self.first, self.last = nn.Linear(3 * channels, 2 * channels), nn.Linear(2 * channels, channels)
        nn.init.zeros_(self.last.weight)  # a fresh unit does nothing

    def forward(self, x: Tensor) -> Tensor:
        """As given, (batch, sections, channels)."""
        wide, count = F.pad(self.norm(x), (0, 0, self.reach, self.reach)), x.shape[1]
        sides = torch.cat([wide[:, start : start + count] for start in (0, self.reach, 2 * self.reach)], dim=-1)
        return x + self.last(F.silu(self.first(sides)))  # type: ignore[no-any-return]


def around(channels: int, count: int) -> nn.Sequential:
    """So many residual units, each seeing further than the last."""
    return nn.Sequential(*[Around(channels, REACH[number % len(REACH)]) for number in range(count)])


class Sections(nn.Module):
    """From what is seen of spectra to latents, one a section, and from codes to spectra.

    Args:
        before: channels seen: the flux, ..., and last the flux in units of its noise, all as `squeezed` gives them.
        pixels: of a section. hidden: channels. units: residual units to either side of the codes. codes: channels.
    """

    place: Tensor
    pixel: Tensor

    def __init__(self, before: int, pixels: int, hidden: int, units: int, codes: int) -> None:
        super().__init__()
        self.pixels = pixels
        self.stem = nn.Linear(2 * before * pixels + FACTS, hidden)
        self.encoder = nn.Sequential(around(hidden, units), nn.LayerNorm(hidden))
        self.coded = nn.Linear(hidden, codes)
        self.measured = nn.Linear(FACTS, codes)
        self.whitened = Whitened(codes)
        self.decoder = nn.Sequential(nn.Linear(codes, hidden), around(hidden, units), nn.LayerNorm(hidden))
        self.smooth, self.peak = nn.Linear(hidden, 4 * pixels), nn.Linear(hidden, 3)
        self.direct = nn.Linear(codes, 3, bias=False)
        self.register_buffer("place", (torch.arange(pixels) + 0.5) * 2 / pixels - 1, persistent=False)
        self.register_buffer("pixel", torch.arange(2 * pixels) + 0.5 - pixels, persistent=False)
        self._start()

    @torch.no_grad()
    def _start(self) -> None:
        """A fresh network gives 0; its first two codes are a peak's flux and place."""
        for layer in (self.smooth, self.peak, self.direct, self.measured):
            for values in layer.parameters():
                nn.init.zeros_(values)
        self.measured.weight[0, 3] = self.measured.weight[1, 1] = 1.0
        self.direct.weight[1, 1] = 0.5
        self.coded.weight[:2] *= 0.1

    def latents(self, x: Tensor) -> Tensor:
        """(batch, before, length) -> (batch, codes, length / pixels)."""
        half = self.pixels // 2
        windows = F.pad(x, (half, half)).unfold(2, 2 * self.pixels, self.pixels).transpose(1, 2).flatten(2)
        peaks = self.peaks(x)
        found = self.coded(self.encoder(self.stem(torch.cat([windows, peaks], dim=-1)))) + self.measured(peaks)
        counts = peaks[..., 0].expm1().clamp(max=BRIGHT).square()
        latents: Tensor = self.whitened(found.transpose(1, 2), counts)
        return latents

    def peaks(self, x: Tensor) -> Tensor:
        """Of the highest peak of each section, (batch, sections, `FACTS`): height, place, width, flux."""
        signal, flux = (x[:, channel].reshape(len(x), -1, self.pixels) for channel in (-1, 0))
        signal = signal.sign() * signal.abs().clamp(max=MOST).expm1()
        above = squeezed(signal - signal.mean(-1, keepdim=True))
        weights = (SHARP * above).softmax(-1)
        place = (weights * self.place).sum(-1)
        width = (weights * (self.place - place[..., None]).square()).sum(-1).sqrt()
        return torch.stack([(weights * above).sum(-1), 2 * place, 4 * width, (weights * flux).sum(-1)], dim=-1)

    def decode(self, vectors: Tensor) -> Tensor:
        """(batch, codes, sections) -> (batch, 2, sections x pixels): a flux, and a logit."""
        codes = vectors.transpose(1, 2)
        hidden = self.decoder(codes)
        smooth, logit = self.smooth(hidden).chunk(2, dim=-1)
        height, place, width = (self.peak(hidden) + self.direct(codes)).unsqueeze(-1).unbind(-2)
        place, sigma = self.pixels * torch.tanh(place), SIGMA * torch.exp(1.5 * torch.tanh(width))
        peak = torch.sinh(height.clamp(-MOST, MOST)) * torch.exp(-0.5 * ((self.pixel - place) / sigma).square())
        return torch.stack([self._summed(torch.sinh(smooth.clamp(-MOST, MOST)) + peak), self._summed(logit)], dim=1)

    def _summed(self, parts: Tensor) -> Tensor:
        """Windows (batch, sections, 2 x pixels) that overlap by half -> (batch, sections x pixels)."""
        quarters = F.pad(parts.reshape(*parts.shape[:2], 4, self.pixels // 2), (0, 0, 0, 0, 1, 1))
        left = quarters[:, 1:-1, 1] + quarters[:, :-2, 3]
        right = quarters[:, 1:-1, 2] + quarters[:, 2:, 0]
        return torch.cat([left, right], dim=-1).flatten(1)


def squeezed(x: Tensor) -> Tensor:
    """log(1 + |x|) with the sign of x: an arcsinh that costs a fifth of torch's."""
    return x.sign() * x.abs().log1p()
