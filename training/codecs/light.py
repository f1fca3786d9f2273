"""The light of whole patches of an image: what single pixels are too noisy to show."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from training.codecs.bands import Band
from training.codecs.stretch import noise

MEASURED = 4
"""Of each patch: its brightness and its colour, and where its light is, to the right and up."""
DARK = 1e-3
"""What a patch without light counts."""
FLOOR = 0.05
"""Relative error that the flux of a patch has at least."""
FAR = 3.0
"""The edge of a patch: as much as brightness and colour differ."""
TINY = 1e-12


def measured(flux: Tensor, valid: Tensor, bands: list[Band], side: int) -> Tensor:
    """Brightness, colour and place of the light of patches, (batch, `MEASURED`, rows / side, columns / side).

    Brightness is the mean over bands of arcsinh(flux / noise), colour its slope with the logarithm of the wavelength,
    place the mean position of the light, both 0 where there is too little light to tell.

    Args:
        flux: nanomaggies, (batch, bands, rows, columns), of which those `valid` count.
        side: of a patch, which rows and columns are multiples of.
    """
    share = F.avg_pool2d(valid.to(flux), side)
    there = share > 0
    seen = torch.where(valid, flux, 0.0) / noise(bands, flux)
    mean = F.avg_pool2d(seen, side) / share.clamp(min=1 / side**2)
    lit = torch.where(there, torch.arcsinh(mean * side / 2), 0.0)
    bright = lit.sum(1, keepdim=True) / there.sum(1, keepdim=True).clamp(min=1)
    sure = bright.square() / (1 + bright.square())
    return torch.cat([bright, sure * _colour(lit, there, bands), sure * _place(seen, side)], dim=1)


def _colour(lit: Tensor, there: Tensor, bands: list[Band]) -> Tensor:
    """Slope over bands, (batch, 1, rows, columns)."""
    wave = torch.tensor([band.facts()[0] for band in bands], device=lit.device)[:, None, None]
    middle = (there * wave).sum(1, keepdim=True) / there.sum(1, keepdim=True).clamp(min=1)
    off = torch.where(there, wave - middle, 0.0)
    return (off * lit).sum(1, keepdim=True) / off.square().sum(1, keepdim=True).clamp(min=0.1)


def _place(seen: Tensor, side: int) -> Tensor:
    """Mean column and row in each patch, from -`FAR` to `FAR`, (batch, 2, rows, columns)."""
    total = seen.sum(1, keepdim=True)
    at = FAR * ((torch.arange(side, device=seen.device) + 0.5) * 2 / side - 1)
    rows, columns = (length // side for length in seen.shape[2:])
    weighted = torch.cat([total * at.repeat(columns), total * at.repeat(rows)[:, None]], dim=1)
    return F.avg_pool2d(weighted, side) / F.avg_pool2d(total.abs(), side).clamp(min=TINY)


def counts(light: Tensor) -> Tensor:
    """How much each patch counts where latents are whitened, (batch, rows, columns): nearly all of the sky is dark."""
    return light[:, 0].square() + DARK


def chi_square(off: Tensor, truth: Tensor, inverse: Tensor, valid: Tensor, side: int) -> Tensor:
    """Mean chi-square of the fluxes of an image's patches, (batch,): a colour shows in them, not in a pixel.

    Args:
        off: by how much the model's flux differs. truth, inverse: the flux, and its inverse variance; as `valid`,
            (batch, bands, rows, columns).
    """
    mean = partial(F.avg_pool2d, kernel_size=side, ceil_mode=True)
    there = mean(valid.to(truth)) > 0
    variance = mean(torch.where(valid, 1 / inverse.clamp(min=TINY), 0.0)) / side**2
    floor = FLOOR * mean(torch.where(valid, truth, 0.0))
    each = mean(torch.where(valid, off, 0.0)).square() / (variance + floor.square()).clamp(min=TINY)
    return torch.where(there, each, 0.0).flatten(1).sum(1) / there.flatten(1).sum(1).clamp(min=1)
