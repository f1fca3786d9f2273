"""The codec of images: one class, with the published nine bands or with any.

    aion        ImageCodec()                                         96 x 96 pixels, bands of HSC and DES, 24 x 24 ids
    universal   ImageCodec(channels="universal", ...)                any bands of `bands.BANDS`, any size from 32 up

Fluxes come in the unit of their stamps. They are bounded, brought to nanomaggies and compressed by arcsinh, since they
span six decades. Pixels that are masked, not finite or without inverse variance count as absent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmu.errors import UsageError
from training.codecs import light
from training.codecs.bands import PUBLISHED, Band, find
from training.codecs.codec import Codec, Loss, flags, remember, whole
from training.codecs.magvit import MagVit, Patches
from training.codecs.projection import AnyBands, FixedBands, facts
from training.codecs.quantize import ABSENT, FSQ
from training.codecs.stretch import Stretch, units
from training.codecs.whitened import Whitened

SIZE = 96
"""Pixels a side that the published codec looks at."""
FLOOR = 0.2
"""Relative error that fluxes of pixels have at least, in the loss."""
OF_PATCHES = 0.3
"""Weight of the fluxes of patches in the loss, beside that of pixels."""
LEAST = 32
"""Pixels a side that the universal codec needs."""


@dataclass(frozen=True)
class Prepared:
    """Images as the network sees them: `planes` (batch, bands, rows, columns) compressed, 0 where not `valid`.

    Of `facts` (batch, bands, facts) the universal codec makes its weights.
    """

    planes: Tensor
    valid: Tensor
    present: Tensor
    bands: list[Band]
    facts: Tensor


class ImageCodec(Codec):
    """Images as a grid of ids of finite scalar quantisation.

    Args:
        quantizer_levels: of each of `embedding_dim` channels.
        hidden_dims: channels of the latents; multisurvey_projection_dims: channels that bands are projected to.
        n_compressions: times the size is halved; num_consecutive: residual units between.
        range_compression_factor, mult_factor: softening of the arcsinh, nanomaggies, and the gain after it; the
            universal codec softens by each band's noise instead.
        channels: "aion" for the nine published bands, "universal" for any.
        stem: "magvit", or "patchify" in steps of `patch` pixels.
    """

    kind = "image"

    def __init__(
        self,
        quantizer_levels: Sequence[int] = (7, 5, 5, 5, 5),
        hidden_dims: int = 512,
        multisurvey_projection_dims: int = 54,
        n_compressions: int = 2,
        num_consecutive: int = 4,
        embedding_dim: int | None = None,
        range_compression_factor: float = 0.01,
        mult_factor: float = 10.0,
        channels: Literal["aion", "universal"] = "aion",
        stem: Literal["magvit", "patchify"] = "magvit",
        patch: int = 8,
        compat: str | None = None,
    ) -> None:
        super().__init__(compat)
        embedding_dim = len(quantizer_levels) if embedding_dim is None else embedding_dim
        remember(self, locals())
        self.quantizer = FSQ(quantizer_levels)
        if embedding_dim != self.quantizer.channels:
            raise UsageError(f"embedding_dim={embedding_dim} differs from {len(quantizer_levels)} quantizer_levels.")
        self.vocabulary = self.quantizer.vocabulary
        self.universal = channels == "universal"
        self.stretch = Stretch() if self.universal else Stretch(range_compression_factor, mult_factor)
        width = multisurvey_projection_dims
        if self.universal:
            self.bands, self.whitened = AnyBands(width), Whitened(embedding_dim)
            self.measured = nn.Conv2d(light.MEASURED, embedding_dim, 1, bias=False)
        else:
            self.subsample_in = FixedBands(len(PUBLISHED), width)
            self.subsample_out = FixedBands(width, len(PUBLISHED))
        self.pre_quant_proj = nn.Conv2d(hidden_dims, embedding_dim, 1)
        self.post_quant_proj = nn.Conv2d(embedding_dim, hidden_dims, 1)
        self.model: MagVit | Patches = (
            MagVit(width, hidden_dims, n_compressions, num_consecutive)
            if stem == "magvit"
            else Patches(width, hidden_dims, patch, num_consecutive)
        )
        if self.universal:
            self._start()

    @torch.no_grad()
    def _start(self) -> None:
        """The first codes of a fresh universal codec are what is measured of a patch."""
        nn.init.eye_(self.measured.weight[:, :, 0, 0])
        self.pre_quant_proj.weight[: light.MEASURED] *= 0.1

    def tokens(self, shape: tuple[int, ...] = (SIZE, SIZE)) -> tuple[int, ...]:
        """The grid of ids, (rows, columns), of images of (..., rows, columns) pixels."""
        rows, columns = shape[-2:]
        stride, least = self.model.stride, LEAST if self.universal else SIZE
        if min(rows, columns) < least:
            raise UsageError(f"Images of {rows} x {columns} pixels; this codec needs at least {least} a side.")
        return (-(-rows // stride), -(-columns // stride)) if self.universal else (SIZE // stride, SIZE // stride)

    @torch.no_grad()
    def encode(
        self,
        flux: Any,
        bands: Sequence[str],
        *,
        ivar: Any = None,
        mask: Any = None,
        present: Any = None,
        psf_fwhm: Any = None,
        scale: Any = None,
    ) -> Tensor:
        """Ids (batch, tokens), rows of the grid one after the other.

        Args:
            flux: (batch, bands, rows, columns), in the unit of each band's stamps.
            bands: what the second axis is.
            ivar: inverse variance of it, 0 where there is no data; mask: True where a pixel is usable.
            present: (batch, bands), False where an image lacks a band.
            psf_fwhm, scale: (batch, bands), arcsec, and arcsec a pixel; the filter's own where left out, NaN or 0.

        Raises:
            UsageError: shapes that do not agree, an unknown band, too small an image.
        """
        given = self.prepare(flux, bands, ivar, mask, present, psf_fwhm=psf_fwhm, scale=scale)
        ids = self.quantizer.encode(self.latents(given)).flatten(1)
        return torch.where(given.valid.flatten(1).any(1, keepdim=True), ids, ABSENT)

    @torch.no_grad()
    def decode(
        self,
        ids: Tensor,
        bands: Sequence[str] = PUBLISHED,
        *,
        grid: tuple[int, int] | None = None,
        psf_fwhm: Any = None,
        scale: Any = None,
    ) -> Tensor:
        """Fluxes (batch, bands, rows, columns) in the unit of each band's stamps.

        Args:
            ids: (batch, tokens). grid: their rows and columns; as many of each if left out.
            psf_fwhm, scale: as in `encode`, for the fluxes as they were given.

        Raises:
            UsageError: an unknown band, ids that do not fill the grid, or shapes that do not agree.
        """
        wanted = find(bands, None if self.universal else PUBLISHED)
        side = math.isqrt(ids.shape[1])
        rows, columns = grid or (side, side)
        if rows * columns != ids.shape[1]:
            raise UsageError(f"{ids.shape[1]} ids do not fill a grid of {rows} x {columns}; give grid=(rows, columns).")
        vectors = self.quantizer.decode(ids.clamp(min=0).reshape(-1, rows, columns))
        planes = self.planes(vectors, wanted, self._facts(wanted, len(ids), psf_fwhm=psf_fwhm, scale=scale))
        if not self.as_published:
            largest = self.stretch.largest(wanted, planes)
            planes = planes.clamp(-largest, largest)  # sinh of more is astronomical
        flux = self.stretch.expanded(planes, wanted) * units(wanted, planes)
        return torch.where((ids >= 0).all(1)[:, None, None, None], flux, torch.nan)

    def loss(
        self,
        flux: Any,
        bands: Sequence[str],
        *,
        ivar: Any,
        mask: Any = None,
        present: Any = None,
        psf_fwhm: Any = None,
        scale: Any = None,
    ) -> Loss:
        """Half the mean chi-square of valid pixels: the Gaussian likelihood, its weights carried to compressed fluxes.

        Undoing the arcsinh of a network's output instead would turn a 5 into 3e19. Errors count as `FLOOR` of the flux
        at least, or a few pixels of bright stars, with signal to noise of thousands, would be all that is learned.
        The universal codec takes the logarithm of each image's, as those of a deep survey would drown the others, and
        of its patches' too, as all of an image's colour is less than the noise of its pixels.
        """
        given = self.prepare(flux, bands, ivar, mask, present, psf_fwhm=psf_fwhm, scale=scale)
        latents = self.latents(given)
        vectors, extra = self.quantizer(latents)
        if self.universal and self.training:
            vectors = self.quantizer.half_rounded(latents)
        rows, columns = given.planes.shape[2:]
        planes = self.planes(vectors, given.bands, given.facts)[..., :rows, :columns]
        inverse = self._cropped(whole("ivar", ivar)).to(planes) * units(given.bands, planes).square()
        truth = self.stretch.expanded(given.planes, given.bands)
        if self.universal:
            slope = self.stretch.secant(planes, given.planes, truth, given.bands)
        else:
            slope = self.stretch.slope(given.planes, given.bands)
        weights = slope.square() * inverse / (1 + inverse * (FLOOR * truth).square())
        weights = torch.where(given.valid, weights, 0.0)
        each, counts = (weights * (planes - given.planes).square()).flatten(1).sum(1), given.valid.flatten(1).sum(1)
        fit = chi_square = each.sum() / counts.sum().clamp(min=1)
        if self.universal:
            fit = _log(each / counts.clamp(min=1)) + OF_PATCHES * _log(self._of_patches(planes, given, truth, inverse))
        ids = self.quantizer.encode(latents.detach()).flatten(1)
        return Loss(0.5 * fit + extra, ids, chi_square.detach())

    def _of_patches(self, planes: Tensor, given: Prepared, truth: Tensor, inverse: Tensor) -> Tensor:
        """Chi-square of the fluxes of each image's patches, (batch,)."""
        largest = self.stretch.largest(given.bands, planes)
        off = self.stretch.expanded(planes.clamp(-largest, largest), given.bands) - truth
        return light.chi_square(off, truth, inverse, given.valid, self.model.stride)

    def prepare(self, flux: Any, bands: Sequence[str], ivar: Any, mask: Any, present: Any, **own: Any) -> Prepared:
        """Check, crop or pad, bound, bring to nanomaggies and compress; nothing is written into what is given."""
        found = find(bands, None if self.universal else PUBLISHED)
        planes = whole("flux", flux)
        if planes.ndim != 4 or planes.shape[1] != len(found):
            shape = tuple(planes.shape)
            raise UsageError(f"flux of shape {shape} with {len(found)} bands: give (images, bands, rows, columns).")
        self.tokens(tuple(planes.shape))
        device = self.pre_quant_proj.weight.device
        valid = torch.isfinite(planes)
        known = None if ivar is None else (whole("ivar", ivar) > 0) & torch.isfinite(whole("ivar", ivar))
        for name, values in (("ivar", known), ("mask", mask)):
            if values is not None:
                valid = valid & _like(name, flags(name, values), planes.shape)
        if present is not None:
            valid = valid & _like("present", flags("present", present), planes.shape[:2])[..., None, None]
        planes, valid = self._cropped(planes).to(device), self._cropped(valid).to(device)
        bound = torch.tensor([band.clamp for band in found], device=device)[:, None, None]
        planes = torch.where(valid, planes, 0.0).clamp(-bound, bound) / units(found, planes)
        planes = self.stretch.compressed(planes, found)
        there = valid.flatten(2).any(2) if present is not None else torch.ones_like(valid[:, :, 0, 0])
        return Prepared(planes, valid, there, found, self._facts(found, len(planes), **own))

    def _facts(self, bands: list[Band], count: int, **own: Any) -> Tensor:
        """What is known of the bands of images; some tell their `own`."""
        told = {name: whole(name, values) for name, values in own.items() if values is not None}
        told = {name: _like(name, values, (count, len(bands))) for name, values in told.items()}
        return facts(bands, count, told, self.pre_quant_proj.weight.device)

    def latents(self, given: Prepared) -> Tensor:
        """Vectors before they are quantised, (batch, embedding_dim, rows, columns)."""
        if self.universal:
            return self._whitened(given)
        index = [PUBLISHED.index(band.name) for band in given.bands]
        planes = given.planes.new_zeros(len(given.planes), len(PUBLISHED), *given.planes.shape[2:])
        planes[:, index] = given.planes
        present = torch.zeros(len(planes), len(PUBLISHED), dtype=torch.bool, device=planes.device)
        present[:, index] = given.present | ~given.present.any(1, keepdim=True)
        latents: Tensor = self.pre_quant_proj(self.model.encode(self.subsample_in(planes, present)))
        return latents

    def _whitened(self, given: Prepared) -> Tensor:
        """Of the universal codec."""
        side, (rows, columns) = self.model.stride, given.planes.shape[2:]
        room = (0, -columns % side, 0, -rows % side)
        planes, valid = F.pad(given.planes, room), F.pad(given.valid, room)
        found = self.pre_quant_proj(self.model.encode(self.bands.join(planes, valid, given.facts)))
        of_patches = light.measured(self.stretch.expanded(planes, given.bands), valid, given.bands, side)
        out: Tensor = self.whitened(found + self.measured(of_patches), light.counts(of_patches))
        return out

    def planes(self, vectors: Tensor, bands: list[Band], known: Tensor) -> Tensor:
        """Compressed fluxes of quantised vectors, (batch, bands, rows, columns)."""
        x = self.model.decode(self.post_quant_proj(vectors))
        if self.universal:
            return self.bands.part(x, known)
        out: Tensor = self.subsample_out(x)
        return out[:, [PUBLISHED.index(band.name) for band in bands]]

    def _cropped(self, planes: Tensor) -> Tensor:
        """The middle that the published codec looks at; all of it for the universal one."""
        if self.universal:
            return planes
        top, left = ((side - SIZE) // 2 for side in planes.shape[-2:])
        return planes[..., top : top + SIZE, left : left + SIZE]


def _log(each: Tensor) -> Tensor:
    """Mean logarithm."""
    return each.clamp(min=1e-6).log().mean()


def _like(name: str, values: Tensor, shape: Sequence[int]) -> Tensor:
    if tuple(values.shape) != tuple(shape):
        raise UsageError(f"{name} has the shape {tuple(values.shape)}; as flux, {tuple(shape)}, was expected.")
    return values
