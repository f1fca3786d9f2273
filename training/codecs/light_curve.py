"""The codec of light curves: any times, bands and errors as four ids of scale and one for each of 60 even times.

    ids = codec.encode(time, flux, flux_err, band=band, bands=["ztf-g", "ztf-r"])
    codec.decode(ids, days, band=1, bands=["ztf-g", "ztf-r"]).flux         at any days after the first point

A point that is not finite, or has no positive error, is none; order does not matter, and points of the same time and
band count each for itself. What is faster than two of the even times is lost: they are a sixtieth of the span apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmu.errors import UsageError
from training.codecs.codec import Codec, Loss, remember, whole
from training.codecs.curves import Curves
from training.codecs.passbands import Passband, facts
from training.codecs.points import WHITE, Points, indices, sorted_points
from training.codecs.quantize import ABSENT, FSQ, LinearGrid

SCALES = 4
"""Ids of the amplitude, the level (coarse, and fine), and the span."""
FLOOR = 0.02
"""Error that they have at least in the loss, in parts of what they are off the level."""
MOST = 1e3
"""Amplitudes from the level that are looked at."""


class LightCurves(NamedTuple):
    """Decoded light curves, each (batch, points): flux in the unit of what was encoded, days after the first point."""

    flux: Tensor
    time: Tensor


class LightCurveCodec(Codec):
    """Light curves as ids of finite scalar quantisation.

    Args:
        levels: of the quantiser; their product is `codebook_size`, which is the number of ids of each scale, too.
        latents: even times over the span. hidden, units: channels, and residual units.
        amplitude_range, level_range, span_range: of log10(amplitude), of arcsinh(level / amplitude), of log10(days).
    """

    kind = "light_curve"

    def __init__(
        self,
        codebook_size: int = 1024,
        levels: Sequence[int] = (8, 8, 4, 4),
        latents: int = 60,
        hidden: int = 64,
        units: int = 3,
        amplitude_range: Sequence[float] = (-8, 10),
        level_range: Sequence[float] = (-18, 18),
        span_range: Sequence[float] = (-4, 6),
        compat: str | None = None,
    ) -> None:
        super().__init__(compat)
        remember(self, locals())
        if math.prod(levels) != codebook_size or latents < 2:
            raise UsageError(
                f"levels {list(levels)} make {math.prod(levels)} codes, codebook_size is {codebook_size}, and latents "
                f"are {latents}: the first two must be equal, and the last 2 or more."
            )
        self.vocabulary = codebook_size
        self.quantizer = FSQ(levels)
        self.amplitude, self.level, self.span = (
            LinearGrid(codebook_size, *between) for between in (amplitude_range, level_range, span_range)
        )
        self.step = (level_range[1] - level_range[0]) / (codebook_size - 1)
        self.curves = Curves(latents, hidden, units, len(levels))

    def tokens(self, shape: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The number of ids, whatever the number of points."""
        return (SCALES + self.curves.latents,)

    @torch.no_grad()
    def encode(
        self, time: Any, flux: Any, flux_err: Any, *, band: Any = None, bands: Sequence[Passband] = WHITE
    ) -> Tensor:
        """Ids (batch, tokens): of scale, then of the even times.

        Args:
            time: (batch, points), days, in any order. flux, flux_err: its standard error, in one unit.
            band: (batch, points), which of `bands` each point is of; negative for padding. The first if left out.
            bands: names of `passbands.PASSBANDS`, or (wavelength, width) in Angstrom.

        Raises:
            UsageError: shapes that do not agree, an unknown band.
        """
        points, _ = sorted_points(time, flux, flux_err, band, bands, device=self.curves.places.device)
        scales = self._scales(points)
        ids = torch.cat([scales, self.quantizer.encode(self._latents(points, scales))], dim=1)
        return torch.where(points.valid.any(1, keepdim=True), ids, ABSENT)

    @torch.no_grad()
    def decode(
        self, ids: Tensor, time: Any = None, *, band: Any = None, bands: Sequence[Passband] = WHITE
    ) -> LightCurves:
        """Light curves at days after the first point, (batch, points) or (points,); at the even times if left out.

        Args:
            band: of each, as for `encode`, or one number for all. Before the first and after the last point, the flux
                is as there.

        Raises:
            UsageError: shapes that do not agree, an unknown band.
        """
        known = ids.clamp(min=0)
        span = self._span(known)
        days = self.curves.places * span if time is None else whole("time", time).to(span).expand(len(ids), -1)
        which = indices(0 if band is None else band, days.shape, len(bands)).to(ids.device)
        told = torch.tensor(facts(bands), device=ids.device)[which.clamp(min=0)]
        model = self.curves.decode(self.quantizer.decode(known[:, SCALES:]), days / span, told)
        amplitude, level = self._amplitude_and_level(known)
        there = (ids >= 0).all(1, keepdim=True) & (which >= 0)
        return LightCurves(torch.where(there, level + amplitude * model, torch.nan), days)

    def loss(
        self,
        time: Any,
        flux: Any,
        flux_err: Any,
        *,
        band: Any = None,
        bands: Sequence[Passband] = WHITE,
        hidden: Any = None,
    ) -> Loss:
        """Half the mean logarithm of each light curve's chi-square, of the points that there are.

        Args:
            hidden: (batch, points), True for points that are asked for, but not shown: what is not between its
                neighbours is then mostly noise, and a network that copies it gains nothing.
        """
        points, unseen = sorted_points(time, flux, flux_err, band, bands, hidden, self.curves.places.device)
        shown = points._replace(valid=points.valid & ~unseen)
        scales = self._scales(shown)
        latents = self._latents(shown, scales)
        vectors, extra = self.quantizer(latents)
        vectors = self.quantizer.half_rounded(latents) if self.training else vectors
        amplitude, level = self._amplitude_and_level(scales)
        model = self.curves.decode(vectors, points.time / self._span(scales), points.facts)
        truth, error = (points.flux - level) / amplitude, points.error / amplitude
        counted = points.valid & shown.valid.any(1, keepdim=True)
        weights = torch.where(counted, 1 / (error.square() + (FLOOR * truth).square()), 0.0)
        each, counts = (weights * (model - truth).square()).sum(1), counted.sum(1)
        fits = torch.where(counts > 0, each / counts.clamp(min=1), 1.0).clamp(min=1e-6).log()
        fit = fits.sum() / counts.count_nonzero().clamp(min=1)
        ids = torch.cat([scales, self.quantizer.encode(latents.detach())], dim=1)
        return Loss(0.5 * fit + extra, ids, (each.sum() / counts.sum().clamp(min=1)).detach())

    def _scales(self, points: Points) -> Tensor:
        """Ids (batch, `SCALES`) of the inverse-variance weighted deviation and mean of points, and of their span."""
        flux, error = points.flux.double(), points.error.double()
        weight = torch.where(points.valid, error**-2, 0.0)
        weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-300)
        level = (weight * flux).sum(1)
        amplitude = (weight * (flux - level[:, None]).square()).sum(1).sqrt()
        least = torch.where(points.valid, error, torch.inf).amin(1)
        amplitude = torch.maximum(amplitude, torch.where(torch.isfinite(least), least, 1.0))
        first = self.amplitude.encode(amplitude.log10().float())
        ratio = torch.arcsinh(level / self._of_amplitude(first).double())
        coarse = self.level.encode(ratio.float())
        upper = self.level.decode(coarse).double()
        share = (upper.sinh() - level / self._of_amplitude(first).double()) / (
            upper.sinh() - (upper - self.step).sinh()
        )
        fine = (share * self.vocabulary).floor().clamp(0, self.vocabulary - 1).int()
        return torch.stack([first, coarse, fine, self.span.encode(points.time.amax(1).clamp(min=1e-30).log10())], dim=1)

    def _of_amplitude(self, ids: Tensor) -> Tensor:
        return 10 ** self.amplitude.decode(ids)

    def _amplitude_and_level(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Of ids (batch, ...), in the flux's unit, (batch, 1) each."""
        amplitude, upper = self._of_amplitude(ids[:, 0]), self.level.decode(ids[:, 1]).double()
        share = (ids[:, 2].double() + 0.5) / self.vocabulary
        level = upper.sinh() - share * (upper.sinh() - (upper - self.step).sinh())
        return amplitude[:, None], (amplitude * level.float())[:, None]

    def _span(self, ids: Tensor) -> Tensor:
        """Days, (batch, 1)."""
        return 10 ** self.span.decode(ids[:, 3])[:, None]

    def _latents(self, points: Points, scales: Tensor) -> Tensor:
        amplitude, level = self._amplitude_and_level(scales)
        flux = ((points.flux - level) / amplitude).clamp(-MOST, MOST)
        place = points.time / self._span(scales)
        return self.curves.encode(flux, points.error / amplitude, place, points.facts, points.valid)
