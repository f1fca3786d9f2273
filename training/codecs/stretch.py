"""Fluxes of images, that span six decades, by arcsinh: linear about 0, logarithmic away from it, of either sign."""

from __future__ import annotations

import torch
from torch import Tensor

from training.codecs.bands import Band

SAME = 1e-3
"""Difference of compressed fluxes below which a slope between them is one at a point."""


class Stretch:
    """Softened by one flux for all bands, as the published codec does, or by each band's noise.

    Surveys differ in depth by a factor of a hundred: what is faint in one is bright in another.

    Args:
        softening, gain: nanomaggies at which the arcsinh bends, and a factor after it; None for each band's noise.
    """

    def __init__(self, softening: float | None = None, gain: float = 1.0) -> None:
        self.softening, self.gain = softening, gain

    def compressed(self, flux: Tensor, bands: list[Band]) -> Tensor:
        """Of nanomaggies; with one softening in the order of operations of the published package."""
        if self.softening is not None:
            return torch.arcsinh(flux / self.softening) * self.softening * self.gain
        return torch.arcsinh(flux / noise(bands, flux))

    def expanded(self, planes: Tensor, bands: list[Band]) -> Tensor:
        """Nanomaggies of compressed fluxes."""
        if self.softening is not None:
            return torch.sinh(planes / self.gain / self.softening) * self.softening
        return torch.sinh(planes) * noise(bands, planes)

    def largest(self, bands: list[Band], like: Tensor) -> Tensor:
        """The compressed flux of each band's bound, (bands, 1, 1)."""
        bound = torch.tensor([band.clamp / band.per_nanomaggy for band in bands], device=like.device)
        return self.compressed(bound[:, None, None], bands)

    def slope(self, planes: Tensor, bands: list[Band]) -> Tensor:
        """By how many nanomaggies a flux grows with its compressed value."""
        if self.softening is not None:
            return torch.cosh(planes / self.gain / self.softening) / self.gain
        return torch.cosh(planes) * noise(bands, planes)

    @torch.no_grad()
    def secant(self, planes: Tensor, true: Tensor, flux: Tensor, bands: list[Band]) -> Tensor:
        """The same between the truth, as compressed and as `flux`, and a reconstruction: their mean slope.

        That at the truth alone would let a faint pixel shine like a star for little.
        """
        largest = self.largest(bands, planes)
        bounded, off = planes.clamp(-largest, largest), planes - true
        exact = (self.expanded(bounded, bands) - flux) / torch.where(off.abs() > SAME, off, 1.0)
        return torch.where(off.abs() > SAME, exact, self.slope(true, bands))


def noise(bands: list[Band], like: Tensor) -> Tensor:
    """The order of a pixel's error, nanomaggies, (bands, 1, 1)."""
    return torch.tensor([band.noise / band.per_nanomaggy for band in bands], device=like.device)[:, None, None]


def units(bands: list[Band], like: Tensor) -> Tensor:
    """Each band's flux of a nanomaggy, in the unit of its stamps, (bands, 1, 1)."""
    return torch.tensor([band.per_nanomaggy for band in bands], device=like.device)[:, None, None]
