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

import numpy as np
import torch
from torch import Tensor

from mmu.errors import UsageError
from training.codecs.codec import Codec, Loss, remember, whole
from training.codecs.curves import Curves
from training.codecs.passbands import Passband, facts
from training.codecs.quantize import ABSENT, FSQ, LinearGrid

SCALES = 4
"""Ids of the amplitude, the level (coarse, and fine), and the span."""
WHITE = ("white",)
"""The band of light curves that name none."""
PRECISE = 1e-4
"""Relative error that fluxes have at least."""
FLOOR = 0.02
"""Error that they have at least in the loss, in parts of what they are off the level."""
MOST = 1e3
"""Amplitudes from the level that are looked at."""


class LightCurves(NamedTuple):
    """Decoded light curves, each (batch, points): flux in the unit of what was encoded, days after the first point."""

    flux: Tensor
    time: Tensor


class Points(NamedTuple):
    """Points in the order of their times, (batch, points) each but for `facts`, (batch, points, 2), of their bands.

    Attributes:
        time: days after the first that is valid. error: standard, of the flux; 1 where it is not valid.
    """

    time: Tensor
    flux: Tensor
    error: Tensor
    facts: Tensor
    valid: Tensor


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
        points, _ = self._points(time, flux, flux_err, band, bands)
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
        which = _indices(0 if band is None else band, days.shape, len(bands)).to(ids.device)
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
        points, unseen = self._points(time, flux, flux_err, band, bands, hidden)
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

    def _points(
        self, time: Any, flux: Any, flux_err: Any, band: Any, bands: Sequence[Passband], hidden: Any = None
    ) -> tuple[Points, Tensor]:
        """Checked, copied and sorted, those that are no points at the end; and which of them are hidden."""
        device = self.curves.places.device
        days, fluxes, errors = (
            _doubles(name, values).to(device)
            for name, values in (("time", time), ("flux", flux), ("flux_err", flux_err))
        )
        if days.ndim != 2 or fluxes.shape != days.shape or errors.shape != days.shape:
            shapes = ", ".join(str(tuple(values.shape)) for values in (days, fluxes, errors))
            raise UsageError(f"time, flux and flux_err have the shapes {shapes}; give (light curves, points) of each.")
        if not days.shape[1]:
            days, fluxes, errors = (torch.full((len(days), 1), torch.nan, dtype=torch.double, device=device),) * 3
            band, hidden = None if band is None else np.full((len(days), 1), -1), None
        if band is None and len(bands) > 1:
            raise UsageError(f"{len(bands)} bands were named, but not which of them each point is of; give band.")
        known = torch.tensor(facts(bands), device=device)
        which = _indices(0 if band is None else band, days.shape, len(bands)).to(device)
        unseen = (
            torch.zeros_like(which, dtype=torch.bool) if hidden is None else torch.as_tensor(np.array(hidden, bool))
        )
        told = known[which.clamp(min=0)]
        finite = torch.isfinite(days) & torch.isfinite(fluxes) & torch.isfinite(errors)
        valid = finite & (errors > 0) & (which >= 0)
        columns = [torch.where(valid, days, torch.inf), told[..., 0].double(), fluxes, errors, unseen.double()]
        order = _order(columns)
        days, fluxes, errors, valid, unseen = (
            values.gather(1, order) for values in (columns[0], fluxes, errors, valid, unseen.to(device))
        )
        told = told.gather(1, order[..., None].expand(-1, -1, 2))
        days = torch.where(valid, days - days[:, :1], 0.0)
        fluxes = torch.where(valid, fluxes, 0.0)
        errors = torch.where(valid, torch.maximum(errors, PRECISE * fluxes.abs()), 1.0)
        return Points(days.float(), fluxes.float(), errors.float(), told, valid), unseen

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


def _order(columns: Sequence[Tensor]) -> Tensor:
    """Indices that sort rows by several columns (batch, points), the first counting most."""
    order = torch.arange(columns[0].shape[1], device=columns[0].device).expand(columns[0].shape)
    for column in reversed(columns):
        order = order.gather(1, column.nan_to_num().gather(1, order).argsort(dim=1, stable=True))
    return order


def _doubles(name: str, values: Any) -> Tensor:
    """As `codec.whole`, but of double precision, which days since 1858 need, and NaN where an array is masked."""
    if isinstance(values, Tensor):
        return values.detach().double()
    array = (
        np.ma.filled(np.ma.asarray(values, np.float64), np.nan) if np.ma.isMaskedArray(values) else np.asarray(values)
    )
    if array.dtype.kind not in "fiub":
        raise UsageError(f"{name} is an array of {array.dtype}; give numbers.")
    return torch.from_numpy(np.array(array, np.float64))


def _indices(band: Any, shape: Sequence[int], count: int) -> Tensor:
    """Which of the bands each point is of, (batch, points).

    Raises:
        UsageError: they are no whole numbers below `count`, or of another shape.
    """
    found = band if isinstance(band, Tensor) else torch.from_numpy(np.array(band))
    if found.is_floating_point() or found.is_complex() or (found.numel() and int(found.max()) >= count):
        raise UsageError(
            f"band must be whole numbers below {count}, the number of bands; negative where there is none."
        )
    if found.ndim not in (0, len(shape)) or (found.ndim and tuple(found.shape) != tuple(shape)):
        raise UsageError(f"band has the shape {tuple(found.shape)}; {tuple(shape)} was expected.")
    return found.long().expand(tuple(shape))
