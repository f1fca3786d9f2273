"""The codec of spectra: any wavelengths within its grid, one id for the brightness and one for each 25.6 Angstrom.

    convnext    SpectrumCodec()                                      the published network, 10 signs a code
    sections    SpectrumCodec(network="sections", ...)               a small one, finite scalar quantisation

Pixels that are masked, not finite or without inverse variance tell nothing of the flux; outside of a spectrum's
coverage there is nothing. (The published codec looks at the mask for the brightness only, takes the flux of bad pixels
as it is, and assumes that wavelengths rise to the last pixel; `compat` does that too.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmu.errors import UsageError
from training.codecs.codec import Codec, Loss, flags, remember, whole
from training.codecs.convnext import Decoder, Encoder, each
from training.codecs.quantize import ABSENT, FSQ, LFQ, LinearGrid
from training.codecs.sections import Sections, squeezed

_FAR = 1e9
"""Angstrom: where pixels without a wavelength are put."""
FLOOR = 0.03
"""Relative error that fluxes have at least, in the loss of the small network."""
_FAINTEST = 0.1
"""Of the normalisation, in the flux's unit."""


class Spectra(NamedTuple):
    """Decoded spectra, each (batch, pixels); `mask` is True where the codec thinks that a pixel is bad."""

    flux: Tensor
    mask: Tensor
    wavelength: Tensor


class LatentGrid(nn.Module):
    """The wavelengths that the network works on, Angstrom."""

    _wavelength: Tensor

    def __init__(self, first: float, step: float, pixels: int) -> None:
        super().__init__()
        self.register_buffer("lambda_min", torch.tensor(first))
        self.register_buffer("resolution", torch.tensor(step))
        self.register_buffer("length", torch.tensor(pixels))
        self.register_buffer("_wavelength", (torch.arange(pixels) * step + first)[None])

    @property
    def wavelength(self) -> Tensor:
        """(pixels,)"""
        return self._wavelength[0]


class SpectrumCodec(Codec):
    """Spectra as ids of look-up-free, or finite scalar, quantisation.

    Args:
        encoder_depths, encoder_dims, decoder_depths, decoder_dims: blocks and channels of the stages.
        lambda_min, resolution, num_pixels: the grid, Angstrom.
        clip_ivar, clip_flux: bounds of what is looked at, in the spectra's unit.
        input_scaling: of what the network sees.
        normalization_range: of log10(brightness + 1).
        network: "convnext", as published, or "sections"; hidden, units, levels: channels, residual units, and levels of
            the quantiser, of the latter.
    """

    kind = "spectrum"
    written: ClassVar[Mapping[str, str]] = {"quantizer.": "_quantizer._quantizer."}

    def __init__(
        self,
        encoder_depths: Sequence[int] = (3, 3, 27, 3),
        encoder_dims: Sequence[int] = (64, 128, 256, 512),
        decoder_depths: Sequence[int] = (3, 9, 3, 3),
        decoder_dims: Sequence[int] = (256, 128, 64, 2),
        lambda_min: float = 3500.0,
        resolution: float = 0.8,
        num_pixels: int = 8704,
        latent_channels: int = 512,
        embedding_dim: int = 10,
        clip_ivar: float | None = 100,
        clip_flux: float | None = None,
        input_scaling: float = 0.2,
        normalization_range: Sequence[float] = (-1, 5),
        codebook_size: int = 1024,
        dim: int = 10,
        network: Literal["convnext", "sections"] = "convnext",
        hidden: int = 64,
        units: int = 3,
        levels: Sequence[int] = (8, 16, 8),
        compat: str | None = None,
    ) -> None:
        super().__init__(compat)
        remember(self, locals())
        if encoder_dims[-1] != latent_channels or codebook_size != 2**embedding_dim or dim != embedding_dim:
            raise UsageError(
                f"encoder_dims end in {encoder_dims[-1]}, latent_channels is {latent_channels}; codebook_size is "
                f"{codebook_size}, embedding_dim {embedding_dim}, dim {dim}: the first two, and the last two, must be "
                "equal, and codebook_size 2 to the power of those."
            )
        if network == "sections" and math.prod(levels) != codebook_size:
            raise UsageError(f"levels {list(levels)} make {math.prod(levels)} codes; codebook_size is {codebook_size}.")
        self.vocabulary = codebook_size
        self.clip_ivar, self.clip_flux, self.scaling = clip_ivar, clip_flux, input_scaling
        self.normalization_quantizer = LinearGrid(codebook_size, *normalization_range)
        self.latent_grid = LatentGrid(lambda_min, resolution, num_pixels)
        self.stride = 4 * 2 ** (len(encoder_dims) - 1)
        self.small = network == "sections"
        if self.small:
            self.quantizer: FSQ | LFQ = FSQ(levels)
            self.sections = Sections(3, self.stride, hidden, units, len(levels))
            return
        self.quantizer = LFQ(embedding_dim)
        self.encoder = Encoder(2, encoder_dims, encoder_depths)
        self.pre_quant_norm = nn.LayerNorm(latent_channels)
        self.quant_conv = nn.Conv1d(latent_channels, embedding_dim, 1)
        self.post_quant_conv = nn.Conv1d(embedding_dim, latent_channels, 1)
        self.decoder = Decoder(latent_channels, decoder_dims, decoder_depths)

    def tokens(self, shape: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The number of ids, whatever the length of a spectrum."""
        return (1 + self.latent_grid.wavelength.shape[0] // self.stride,)

    @torch.no_grad()
    def encode(self, flux: Any, wavelength: Any, *, ivar: Any, mask: Any = None) -> Tensor:
        """Ids (batch, tokens), the brightness first.

        Args:
            flux: (batch, pixels). wavelength: (batch, pixels) or (pixels,), Angstrom; what is not positive is padding.
            ivar: inverse variance of flux, 0 where there is no data. mask: True where a pixel is bad.

        Raises:
            UsageError: shapes that do not agree.
        """
        given = self._given(flux, wavelength, ivar, mask)
        seen, brightness = self._seen(*given)
        ids = self.quantizer.encode(self._latents(seen))
        ids = torch.cat([brightness[:, None], ids], dim=1)
        usable = self._usable(*given)
        return ids if self.as_published else torch.where(usable.any(1, keepdim=True), ids, ABSENT)

    @torch.no_grad()
    def decode(self, ids: Tensor, wavelength: Any = None) -> Spectra:
        """Spectra on the codec's grid, or at wavelengths given, (batch, pixels) or (pixels,): 0 outside of the grid."""
        known = ids.clamp(min=0)
        both = self._decoded(self.quantizer.decode(known[:, 1:]))
        grid = self.latent_grid._wavelength.expand(len(ids), -1)
        at = grid
        if wavelength is not None:
            at = whole("wavelength", wavelength).expand(len(ids), -1).contiguous().to(both)
            both = interpolated(grid, both, at)
        flux, logit = both.unbind(1)
        flux = (flux + 1.0) * self._level(known[:, 0])[:, None]
        flux = torch.where((ids >= 0).all(1, keepdim=True), flux, torch.nan)
        return Spectra(flux, torch.round(torch.sigmoid(logit)).bool(), at)

    def loss(self, flux: Any, wavelength: Any, *, ivar: Any, mask: Any = None) -> Loss:
        """Half the mean chi-square at the spectra's own pixels, the cross-entropy of their masks, the quantiser's.

        The small network takes the logarithm of each spectrum's, with errors of `FLOOR` of the flux at least, or a few
        bright stars would be all that it learns.
        """
        given = self._given(flux, wavelength, ivar, mask)
        usable, at = self._usable(*given), given[1].nan_to_num(0.0, 0.0, 0.0)
        seen, brightness = self._seen(*given)
        latents = self._latents(seen)
        vectors, extra = self.quantizer(latents)
        if isinstance(self.quantizer, FSQ) and self.training:
            vectors = self.quantizer.half_rounded(latents)
        grid = self.latent_grid._wavelength.expand(len(at), -1)
        inside = (at >= grid[:, :1]) & (at <= grid[:, -1:])
        fluxes, logits = interpolated(grid, self._decoded(vectors), at).unbind(1)
        model = (fluxes + 1.0) * self._level(brightness)[:, None]
        weights = torch.where(usable & inside, given[2].clamp(0, self.clip_ivar), 0.0)
        truth, counts = given[0].nan_to_num(), (weights > 0).sum(1)
        each = weights * (model - truth).square()
        fit = chi_square = each.sum() / counts.sum().clamp(min=1)
        if self.small:
            floored = (each / (1 + weights * (FLOOR * truth).square())).sum(1)
            fit = (floored / counts.clamp(min=1)).clamp(min=1e-6).log().mean()
        wrong = F.binary_cross_entropy_with_logits(logits, (~usable).float(), reduction="none")
        masked = (wrong * inside).sum() / inside.sum().clamp(min=1)
        ids = torch.cat([brightness[:, None], self.quantizer.encode(latents.detach())], dim=1)
        return Loss(0.5 * fit + masked + extra, ids, chi_square.detach())

    def _given(self, flux: Any, wavelength: Any, ivar: Any, mask: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As tensors of one shape: flux, wavelength, ivar, mask."""
        device = self.latent_grid._wavelength.device
        fluxes = whole("flux", flux).to(device)
        if fluxes.ndim != 2 or fluxes.shape[1] < 2:
            raise UsageError(f"flux has the shape {tuple(fluxes.shape)}; give (spectra, pixels).")
        waves, variances = whole("wavelength", wavelength).to(device), whole("ivar", ivar).to(device)
        bad = torch.zeros_like(fluxes, dtype=torch.bool) if mask is None else flags("mask", mask).to(device)
        for name, values in (("wavelength", waves), ("ivar", variances), ("mask", bad)):
            if values.shape[-1] != fluxes.shape[1] or (values.ndim > 1 and values.shape != fluxes.shape):
                raise UsageError(f"{name} is {tuple(values.shape)}, flux {tuple(fluxes.shape)}: they must agree.")
        waves, variances, bad = (values.expand_as(fluxes) for values in (waves, variances, bad))
        return fluxes, waves.contiguous(), variances, bad

    @staticmethod
    def _usable(flux: Tensor, wavelength: Tensor, ivar: Tensor, mask: Tensor) -> Tensor:
        """Pixels that tell something."""
        there = torch.isfinite(wavelength) & (wavelength > 0) & (wavelength < _FAR / 1e3)
        return there & torch.isfinite(flux) & (ivar > 0) & torch.isfinite(ivar) & ~mask

    def _seen(self, flux: Tensor, wavelength: Tensor, ivar: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What the network sees, (batch, 2, grid), and the ids of the brightness."""
        used = ~mask if self.as_published else self._usable(flux, wavelength, ivar, mask)
        flux, ivar = torch.nan_to_num(flux), torch.nan_to_num(ivar)
        if self.clip_flux is not None:
            flux = flux.clamp(-self.clip_flux, self.clip_flux)
        deviation = torch.sqrt(ivar.clamp(0, self.clip_ivar))
        mean = (flux * used.float()).sum(-1) / (used.sum(-1) + 1.0)
        brightness = self.normalization_quantizer.encode(torch.log10(mean.clamp(_FAINTEST) + 1.0))
        level = self._level(brightness)[:, None]
        flux, deviation = (flux / level - 1.0) * self.scaling, deviation / level * self.scaling
        if not self.as_published:
            flux, deviation = torch.where(used, flux, 0.0), torch.where(used, deviation, 0.0)
            wavelength, flux, deviation, last = _sorted(wavelength, flux, deviation)
        else:
            last = wavelength[:, -1:]
        grid = self.latent_grid._wavelength.expand(len(flux), -1).contiguous()
        seen = interpolated(wavelength, torch.stack([flux, deviation], dim=1), grid, last)
        if not self.small:
            return torch.arcsinh(seen), brightness
        excess, deviation = (seen / self.scaling).unbind(1)
        return squeezed(torch.stack([excess, deviation, excess * deviation * level.square()], dim=1)), brightness

    def _level(self, brightness: Tensor) -> Tensor:
        return (10 ** self.normalization_quantizer.decode(brightness) - 1.0).clamp(_FAINTEST)

    def _latents(self, seen: Tensor) -> Tensor:
        if self.small:
            return self.sections.latents(seen)
        hidden = self.pre_quant_norm(each(self.encoder, seen.transpose(1, 2)))
        return self.quant_conv(hidden.transpose(1, 2))  # type: ignore[no-any-return]

    def _decoded(self, vectors: Tensor) -> Tensor:
        """Scaled flux and the logit that a pixel is bad, on the grid, (batch, 2, pixels)."""
        if self.small:
            return self.sections.decode(vectors)
        return each(self.decoder, self.post_quant_conv(vectors).transpose(1, 2)).transpose(1, 2)


def _sorted(wavelength: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
    """By wavelength, what has none at the end; and the last wavelength of each."""
    there = torch.isfinite(wavelength) & (wavelength > 0) & (wavelength < _FAR / 1e3)
    keys, order = torch.where(there, wavelength, _FAR).sort(dim=1, stable=True)
    last = torch.where(there, wavelength, -_FAR).amax(1, keepdim=True)
    return keys, *(column.gather(1, order) for column in values), last


def interpolated(x: Tensor, y: Tensor, at: Tensor, last: Tensor | None = None) -> Tensor:
    """Linear interpolation of y(x), (batch, channels, n) -> (batch, channels, m); 0 before x and after `last` of it.

    Args:
        x: (batch, n), rising. at: (batch, m).
    """
    index = (torch.searchsorted(x.contiguous(), at.contiguous()) - 1).clamp(0, x.shape[1] - 2)
    outside = (at < x[:, :1]) | (at > (x[:, -1:] if last is None else last))
    far = (at - x.gather(1, index))[:, None]
    slopes = (y[..., :-1] - y[..., 1:]) / (x[:, :-1] - x[:, 1:])[:, None]
    index = index[:, None].expand(-1, y.shape[1], -1)
    return torch.where(outside[:, None], 0.0, y.gather(-1, index) + far * slopes.gather(-1, index))
