"""What a reconstruction is worth: numbers of arrays, against the truth or against data; NumPy alone.

Images are (objects, bands, rows, columns), spectra (objects, pixels), and light curves (objects, points), in their
survey's units; `ivar` is of the data, and `valid` True for what counts. What cannot be told of an object is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

BINS = {
    "image": (0.0, 100.0, 300.0, 1000.0, np.inf),
    "spectrum": (0.0, 1.0, 3.0, 10.0, np.inf),
    "light_curve": (0.0, 1.0, 3.0, 10.0, np.inf),
}
"""Kind -> edges of the bins of signal to noise: of a whole image, of a spectrum's median pixel, of what a light curve
varies by at a point."""
APERTURE, WINDOW = 12.0, 6.0
"""Radius of the aperture, and deviation of the Gaussian window of moments, about the middle of an image, pixels."""
LINE, BLOCK = 15.0, 64
"""Half the width within which a line is measured, Angstrom; pixels of which the median is the continuum."""
DETECTED = 5.0
"""Signal to noise of a line, an aperture, the flux of a light curve and what it varies by, that is measured."""


def chi_square(model: Any, truth: Any, ivar: Any, valid: Flags) -> Floats:
    """Mean of (model - truth)^2 x ivar over each object's valid pixels, (objects,)."""
    axes = tuple(range(1, valid.ndim))
    difference = np.where(valid, np.asarray(model, np.float64) - truth, 0.0)
    total = (difference**2 * np.where(valid, ivar, 0.0)).sum(axes)
    return _ratio(total, valid.sum(axes))


def signal_to_noise(kind: str, truth: Any, ivar: Any, valid: Flags) -> Floats:
    """Of each object, (objects,): of an image as a whole, of a spectrum's median pixel; see `variation` for others."""
    signal = np.where(valid, np.asarray(truth, np.float64), 0.0) * np.sqrt(np.where(valid, ivar, 0.0))
    if kind == "image":
        return np.asarray(np.sqrt((signal**2).sum((1, 2, 3))))
    known = np.where(valid, np.abs(signal), np.nan)
    known[~valid.any(1)] = 0.0
    return np.asarray(np.nanmedian(known, axis=1), np.float64)


def aperture_flux(planes: Any) -> Floats:
    """Flux within `APERTURE` of the middle, (objects, bands)."""
    return np.asarray((planes * (_distance(planes) <= APERTURE)).sum((2, 3)), np.float64)


def aperture_error(ivar: Any) -> Floats:
    """Its error, (objects, bands); infinite where no pixel in it has an inverse variance."""
    with np.errstate(divide="ignore"):
        variance = np.where(ivar > 0, 1 / np.asarray(ivar, np.float64), 0.0) * (_distance(ivar) <= APERTURE)
    total = variance.sum((2, 3))
    return np.where(total > 0, np.sqrt(total), np.inf)


def moments(planes: Any) -> tuple[Floats, Floats]:
    """Radius (pixels) and ellipticity (e1, e2) of second moments in a Gaussian window: (objects, bands), (..., 2)."""
    rows, columns = (np.arange(side) - (side - 1) / 2 for side in planes.shape[2:])
    y, x = np.meshgrid(rows, columns, indexing="ij")
    weighted = np.asarray(planes, np.float64) * np.exp(-0.5 * (x**2 + y**2) / WINDOW**2)
    total = weighted.sum((2, 3))
    cx, cy = (_ratio((weighted * axis).sum((2, 3)), total)[..., None, None] for axis in (x, y))
    xx, yy, xy = (
        _ratio((weighted * product).sum((2, 3)), total)
        for product in ((x - cx) ** 2, (y - cy) ** 2, (x - cx) * (y - cy))
    )
    size = np.where(xx + yy > 0, xx + yy, np.nan)
    return np.sqrt(size / 2), np.stack([(xx - yy) / size, 2 * xy / size], axis=-1)


def continuum(flux: Any) -> Floats:
    """The medians of blocks of `BLOCK` pixels, joined by lines, (objects, pixels)."""
    count = flux.shape[1] // BLOCK
    if count < 2:
        return np.repeat(np.median(np.asarray(flux, np.float64), axis=1, keepdims=True), flux.shape[1], axis=1)
    medians = np.median(np.asarray(flux[:, : count * BLOCK], np.float64).reshape(len(flux), count, BLOCK), axis=2)
    middles = (np.arange(count) + 0.5) * BLOCK
    return np.stack([np.interp(np.arange(flux.shape[1]), middles, row) for row in medians])


def strongest_lines(truth: Any, wavelength: Any, ivar: Any, valid: Flags) -> tuple[Flags, Flags]:
    """The strongest emission line of each true spectrum: its pixels (objects, pixels), and if it could be detected."""
    excess = np.where(valid, truth - continuum(truth), -np.inf)
    peak = excess.argmax(1)
    centre = np.take_along_axis(wavelength, peak[:, None], 1)
    window = (np.abs(wavelength - centre) <= LINE) & valid
    variance = np.where(window & (ivar > 0), 1 / np.where(ivar > 0, ivar, 1.0), 0.0).sum(1)
    total = np.where(window, excess, 0.0).sum(1)
    return window, (total > DETECTED * np.sqrt(variance)) & (variance > 0)


def line(flux: Any, wavelength: Any, window: Flags) -> tuple[Floats, Floats]:
    """Flux above the continuum (the flux's unit x Angstrom) and centroid (Angstrom) in windows, (objects,) each."""
    excess = np.where(window, flux - continuum(flux), 0.0)
    step = np.gradient(np.asarray(wavelength, np.float64), axis=1)
    total = (excess * step).sum(1)
    return total, _ratio((excess * step * wavelength).sum(1), total)


def spread(errors: Any) -> dict[str, float | int | None]:
    """Median and 1.4826 times the median absolute deviation of what is finite; None of nothing."""
    finite = np.asarray(errors, np.float64)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return {"bias": None, "scatter": None, "number": 0}
    bias = float(np.median(finite))
    return {"bias": bias, "scatter": float(1.4826 * np.median(np.abs(finite - bias))), "number": len(finite)}


def image_scores(model: Any, truth: Any, ivar: Any, bands: Sequence[str]) -> dict[str, Any]:
    """Bias and scatter: of the aperture flux in parts of the true one, a band each; of radius (in parts) and shape.

    Of colours, in magnitudes, as well: of each band and the next. Only of objects and bands whose aperture the data
    detect, and of colours whose fluxes came back positive.
    """
    flux, known = aperture_flux(model), aperture_flux(truth)
    seen = known > DETECTED * aperture_error(ivar)
    (radius, shape), (own_radius, own_shape) = moments(model), moments(truth)
    relative = np.where(seen, _ratio(flux - known, known), np.nan)
    pairs = [f"{one}-{other}" for one, other in pairwise(bands)]
    return {
        "flux": {band: spread(relative[:, number]) for number, band in enumerate(bands)},
        "colour": dict(zip(pairs, map(spread, _colours(flux, known, seen)), strict=True)),
        "radius": spread(np.where(seen, _ratio(radius - own_radius, own_radius), np.nan)),
        "ellipticity": spread(np.where(seen[..., None], shape - own_shape, np.nan)),
    }


def spectrum_scores(model: Any, truth: Any, wavelength: Any, ivar: Any, valid: Flags) -> dict[str, Any]:
    """Bias and scatter of the strongest line's flux, in parts of the true one, and of its centroid, Angstrom."""
    window, seen = strongest_lines(truth, wavelength, ivar, valid)
    (flux, centre), (known, place) = line(model, wavelength, window), line(truth, wavelength, window)
    off = np.where(np.abs(centre - place) <= LINE, centre - place, np.nan)  # outside its window it was not found
    return {
        "line_flux": spread(np.where(seen, _ratio(flux - known, known), np.nan)),
        "line_centroid": spread(np.where(seen, off, np.nan)),
    }


def _colours(flux: Floats, known: Floats, seen: Flags) -> Floats:
    """Magnitudes by which the colour of each band and the next is off, (bands - 1, objects)."""
    ratio = np.where(seen & (flux > 0), _ratio(flux, known), np.nan)
    magnitudes = -2.5 * np.log10(np.where(ratio > 0, ratio, np.nan))
    return np.asarray((magnitudes[:, :-1] - magnitudes[:, 1:]).T)


def mean_of_bands(flux: Any, band: Any, ivar: Any, valid: Flags) -> Floats:
    """Light curves that are nothing but the weighted mean of each band, or of all where a band has no point."""
    means = _mean(flux, np.where(valid, ivar, 0.0))
    for number in range(int(band.max(initial=-1)) + 1):
        own = band == number
        mean = _mean(flux, np.where(valid & own, ivar, 0.0))
        means = np.where(own & np.isfinite(mean), mean, means)
    return np.broadcast_to(means, np.shape(flux))


def _mean(flux: Any, weight: Any) -> Floats:
    """(objects, 1)"""
    total = weight.sum(1, dtype=np.float64)
    return _ratio((np.where(weight > 0, flux, 0.0) * weight).sum(1, dtype=np.float64), total)[:, None]


def variation(flux: Any, band: Any, ivar: Any, valid: Flags) -> Floats:
    """By how many errors the points of light curves are off the mean of their band, root mean square, (objects,)."""
    return np.sqrt(chi_square(mean_of_bands(flux, band, ivar, valid), np.nan_to_num(flux), ivar, valid))


def curve_scores(model: Any, truth: Any, band: Any, ivar: Any, valid: Flags, bands: Sequence[str]) -> dict[str, Any]:
    """Bias and scatter of each band's mean flux, and of what the light curve varies by, in parts of the true ones.

    Only of what the data detect.
    """
    flux = {}
    for number, name in enumerate(bands):
        weight = np.where(valid & (band == number), ivar, 0.0)
        mean, known = (_mean(values, weight)[:, 0] for values in (model, truth))
        seen = np.abs(known) * np.sqrt(weight.sum(1)) > DETECTED
        flux[name] = spread(np.where(seen, _ratio(mean - known, np.abs(known)), np.nan))
    varies, known = (variation(values, band, ivar, valid) for values in (model, truth))
    seen = known * np.sqrt(valid.sum(1)) > DETECTED
    return {"flux": flux, "amplitude": spread(np.where(seen, _ratio(varies - known, known), np.nan))}


def binned(kind: str, values: Floats, signal: Floats) -> list[dict[str, Any]]:
    """The median of values by bins of signal to noise, those without objects left out."""
    rows = []
    for low, high in zip(BINS[kind][:-1], BINS[kind][1:], strict=True):
        here = values[(signal >= low) & (signal < high) & np.isfinite(values)]
        if len(here):
            upper = None if np.isinf(high) else high
            middle, mean = float(np.median(here)), float(here.mean())
            rows.append({"from": low, "to": upper, "objects": len(here), "median": middle, "mean": mean})
    return rows


def _distance(planes: Any) -> Floats:
    """Pixels from the middle, (rows, columns)."""
    rows, columns = (np.arange(side) - (side - 1) / 2 for side in planes.shape[2:])
    return np.asarray(np.hypot(rows[:, None], columns[None, :]))


def _ratio(above: Any, below: Any) -> Floats:
    """Their quotient, NaN where there is nothing to divide by."""
    known = np.asarray(below) != 0
    return np.where(known, above / np.where(known, below, 1), np.nan)
