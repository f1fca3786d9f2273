"""The network of light curves: a set of points of any times and bands <-> vectors at even times.

Points are summed about each even time with Gaussian weights times their inverse variances, as convolutional conditional
neural processes do (Gordon et al. 2020), so that their order cannot matter and precise points count more.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.codecs.sections import around, squeezed
from training.codecs.whitened import Whitened

WIDTHS = (0.5, 1.0, 3.0, 10.0)
"""Deviations of the Gaussians, in steps between even times."""
COLOURS, BLUEST, REDDEST, BREADTH = 6, 3300.0, 22000.0, 0.25
"""Bumps over ln(wavelength) that a band is told by: their number, Angstrom of the outer ones, and their deviation."""
FLOOR = 0.05
"""Error that points have at least, in amplitudes."""
OF_A_BAND = COLOURS + 3


def told(facts: Tensor) -> Tensor:
    """What a network is told of bands: (..., 2) wavelength and width, Angstrom -> (..., `OF_A_BAND`)."""
    place, share = facts[..., :1].log(), facts[..., 1:] / facts[..., :1]
    centres = torch.linspace(math.log(BLUEST), math.log(REDDEST), COLOURS, device=facts.device)
    bumps = torch.exp(-0.5 * (place - centres).square() / (BREADTH**2 + share.square() / 12))
    return torch.cat([torch.ones_like(place), bumps, place - math.log(7000.0), share.log() + 1.5], dim=-1)


class Curves(nn.Module):
    """From points to latents, and from codes to fluxes at any times and bands.

    Args:
        latents: even times. hidden: channels. units: residual units to either side of the codes. codes: channels.
    """

    places: Tensor

    def __init__(self, latents: int, hidden: int, units: int, codes: int) -> None:
        super().__init__()
        self.latents = latents
        seen = 2 * len(WIDTHS) * (COLOURS + 1)
        self.stem, self.encoder = nn.Linear(seen, hidden), nn.Sequential(around(hidden, units), nn.LayerNorm(hidden))
        self.coded, self.measured = nn.Linear(hidden, codes), nn.Linear(seen, codes)
        self.whitened = Whitened(codes)
        self.decoder = nn.Sequential(nn.Linear(codes, hidden), around(hidden, units), nn.LayerNorm(hidden))
        self.asked = nn.Linear(2 * hidden + OF_A_BAND + 1, 2 * hidden)
        self.last, self.direct = nn.Linear(2 * hidden, 1), nn.Linear(codes, 1)
        self.register_buffer("places", torch.linspace(0, 1, latents), persistent=False)
        self._start()

    @torch.no_grad()
    def _start(self) -> None:
        """A fresh network's first code is the mean of the points about each time, its second a colour."""
        for layer in (self.measured, self.last, self.direct):
            for values in layer.parameters():
                nn.init.zeros_(values)
        means = self.measured.weight.view(len(self.measured.weight), len(WIDTHS), 2, COLOURS + 1)[:, :, 0]
        means[0, 1, 0] = 1.0
        means[1, 2, 1 : 1 + COLOURS // 2], means[1, 2, 1 + COLOURS // 2 :] = 1.0, -1.0
        self.coded.weight[:2] *= 0.1

    def encode(self, flux: Tensor, error: Tensor, place: Tensor, facts: Tensor, valid: Tensor) -> Tensor:
        """Latents (batch, codes, latents) of points, (batch, points) each.

        Args:
            flux, error: in amplitudes from the level. place: time, in [0, 1]. facts: (batch, points, 2), of bands.
        """
        weight = torch.where(valid, 1 / (error.square() + FLOOR**2), 0.0)
        bands = told(facts)[..., : COLOURS + 1] * weight[..., None]
        both = torch.cat([bands * flux[..., None], bands], dim=-1)
        apart = (self.places[:, None] - place[:, None, :]) * (self.latents - 1)
        seen = []
        for width in WIDTHS:
            above, below = torch.bmm(torch.exp(-0.5 * (apart / width).square()), both).chunk(2, dim=-1)
            seen += [squeezed(above / (1 + below)), below.log1p() / 4]  # shrunk to 0 where hardly anything is known
        x = torch.cat(seen, dim=-1)
        found = self.coded(self.encoder(self.stem(x))) + self.measured(x)
        known = torch.tanh(seen[3][..., 0])
        latents: Tensor = self.whitened(found.transpose(1, 2), known)
        return latents

    def decode(self, vectors: Tensor, place: Tensor, facts: Tensor) -> Tensor:
        """Fluxes (batch, points), in amplitudes from the level, of codes (batch, codes, latents)."""
        codes = vectors.transpose(1, 2)
        hidden = self.decoder(codes)
        at = place.clamp(0, 1) * (self.latents - 1)
        left = at.floor().clamp(max=self.latents - 2).long()
        share = (at - left)[..., None]
        before, after = (_taken(hidden, index) for index in (left, left + 1))
        asked = torch.cat([before.lerp(after, share), after - before, share, told(facts)], dim=-1)
        straight = _taken(codes, left).lerp(_taken(codes, left + 1), share)
        return (self.last(F.silu(self.asked(asked))) + self.direct(straight))[..., 0]  # type: ignore[no-any-return]


def _taken(values: Tensor, index: Tensor) -> Tensor:
    """(batch, latents, channels) at (batch, points)."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))
