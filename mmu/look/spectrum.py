"""Spectra: pixels, their running mean with a band of one standard deviation, and lines at the object's redshift."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmu.look import lines
from mmu.look.panel import Panel
from mmu.look.style import ABSORPTION, BAND, FAINT, INK, MARK
from mmu.look.subject import Subject

Floats = NDArray[np.float64]

_TIERS, _PIXELS = 2, 1200
_SHARP, _SURROUNDINGS = 6.0, 101
"""Pixels this many standard deviations above the median of so many are drawn as they are: lines keep their height."""
_CHARACTER = 0.62
"""Width of a letter in units of the size of the type."""


@dataclass(frozen=True)
class Spectrum:
    """Flux along the wavelength; `good` is False where a pixel is masked or has no inverse variance.

    A `smooth` one has correlated errors: a running mean would gain nothing.
    """

    wavelength: Floats
    flux: Floats
    sigma: Floats
    good: NDArray[np.bool_]
    unit: str = ""
    wavelength_unit: str = ""
    in_air: bool = False
    smooth: bool = False

    @cached_property
    def sharp(self) -> NDArray[np.bool_]:
        """Pixels far above their surroundings, those of emission lines."""
        from scipy.ndimage import median_filter

        if not self.good.any():
            return self.good
        index = np.arange(len(self.flux))
        whole = np.interp(index, index[self.good], self.flux[self.good])
        above = self.flux - median_filter(whole, _SURROUNDINGS, mode="nearest")
        return np.asarray(self.good & (above > _SHARP * np.where(np.isfinite(self.sigma), self.sigma, np.inf)))


def spectrum_of(subject: Subject, name: str) -> Spectrum | None:
    """A spectrum column; None if it holds no pixel."""
    value = subject.record[name]
    flux = np.asarray(value["flux"], dtype=np.float64)
    if flux.ndim != 1 or not flux.size:
        return None
    ivar = np.asarray(value["ivar"], dtype=np.float64) if "ivar" in value else np.full(flux.shape, np.nan)
    good = np.isfinite(flux) & ~(ivar <= 0)
    if "mask" in value:
        good &= ~bad_pixels(np.asarray(value["mask"]), subject.facts(name, "mask").get("polarity", ""))
    sigma = np.where(ivar > 0, 1 / np.sqrt(np.where(ivar > 0, ivar, 1.0)), np.nan)
    told, meaning = subject.facts(name, "lambda").get("unit", ""), subject.facts(name).get("meaning", "")
    unit = subject.facts(name, "flux").get("unit", "")
    wavelength = np.asarray(value["lambda"], dtype=np.float64)
    return Spectrum(wavelength, flux, sigma, good, unit, told, "in air" in meaning)


def bad_pixels(mask: NDArray[Any], polarity: str) -> NDArray[np.bool_]:
    """True where a mask says bad: flags by their polarity, bits where any is set."""
    return np.asarray(mask == 0 if polarity == "True = good" else mask != 0)


def spectrum_panels(subject: Subject, name: str, title: str, large: bool) -> list[Panel]:
    """One wide panel."""
    spectrum = spectrum_of(subject, name)
    if spectrum is None:
        return []
    return [spectrum_panel(spectrum, (12, 4) if large else (6, 2), title, large, subject)]


def spectrum_panel(
    spectrum: Spectrum, size: tuple[int, int], title: str, large: bool, of: Subject | None = None
) -> Panel:
    """A panel with a spectrum; with lines at the redshift of the object that it is of."""
    redshift, star = (of.redshift, of.star) if of is not None else (None, False)
    drawn = partial(draw_spectrum, spectrum=spectrum, redshift=redshift, star=star, title=title, large=large)
    return Panel(*size, drawn)


def smoothed(spectrum: Spectrum) -> tuple[Floats, int]:
    """The weighted running mean, NaN where the pixel is bad, and over how many pixels; sharp pixels are as they are.

    It is taken over as many as bring the usual signal-to-noise ratio to about 5, and as a page can show, from 3 to 15.
    """
    sigma = np.where(np.isfinite(spectrum.sigma), spectrum.sigma, 1.0)
    ratio = np.abs(spectrum.flux / spectrum.sigma)[spectrum.good & np.isfinite(spectrum.sigma)]
    usual = float(np.median(ratio)) if ratio.size else 10.0
    pixels = np.clip(max((5.0 / max(usual, 0.1)) ** 2, len(spectrum.flux) / _PIXELS), 3, 15)
    width = 1 if spectrum.smooth else int(pixels) // 2 * 2 + 1
    sharp = spectrum.sharp
    weight = np.where(spectrum.good & ~sharp, sigma**-2.0, 0.0)
    mean = lines.running_mean(spectrum.flux, weight, width)
    return np.where(spectrum.good, np.where(sharp, spectrum.flux, mean), np.nan), width


def draw_spectrum(
    axis: Any,
    spectrum: Spectrum,
    redshift: float | None = None,
    star: bool = False,
    title: str = "",
    large: bool = True,
) -> None:
    """Flux against wavelength on an axis: pixels, one standard deviation of theirs round the mean, and the mean."""
    wavelength, flux = spectrum.wavelength, np.where(spectrum.good, spectrum.flux, np.nan)
    curve, width = smoothed(spectrum)
    axis.plot(wavelength, flux, color=FAINT, linewidth=0.3, label="pixels", gid="pixels", in_layout=False)
    if np.isfinite(spectrum.sigma).any():
        edges = curve - spectrum.sigma, curve + spectrum.sigma
        band = {"color": BAND, "alpha": 0.8, "zorder": 2.0, "linewidth": 0, "label": "± 1σ of a pixel"}
        axis.fill_between(wavelength, *edges, gid="sigma", in_layout=False, **band)
    label = f"mean of {width} pixels, lines apart" if width > 1 else "flux"
    axis.plot(wavelength, curve, color=INK, linewidth=0.6, label=label, gid="mean", in_layout=False)
    _limits(axis, spectrum, curve)
    axis.set_title(title, loc="left")
    spec = axis.get_subplotspec()
    if large or spec is None or spec.is_last_row():
        axis.set_xlabel(f"wavelength ({pretty(spectrum.wavelength_unit) or 'unit not told'})")
    axis.set_ylabel(f"flux ({pretty(spectrum.unit) or 'unit not told'})" if large else "flux")
    if redshift is not None:
        mark_lines(axis, redshift, spectrum, star, large)
    if large:
        axis.legend(loc="lower right", ncols=3, bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1)


def _limits(axis: Any, spectrum: Spectrum, curve: Floats) -> None:
    """Room for nearly all of the curve, and for all lines: more than one sharp pixel side by side."""
    shown = np.isfinite(curve)
    if not shown.any():
        axis.text(0.5, 0.5, "no good pixel", transform=axis.transAxes, ha="center", color=MARK)
        axis.set_xlim(spectrum.wavelength.min(), spectrum.wavelength.max())
        return
    low, high = np.percentile(curve[shown], [0.5, 99.8])
    sharp = spectrum.sharp
    sure = sharp & (np.roll(sharp, 1) | np.roll(sharp, -1))
    high = max(high, float(spectrum.flux[sure].max())) if sure.any() else high
    room = max(high - low, 1e-3 * abs(high), 1e-30)
    axis.set_ylim(low - 0.2 * room, high + 0.25 * room)
    axis.set_xlim(spectrum.wavelength[shown][0], spectrum.wavelength[shown][-1])


def mark_lines(axis: Any, redshift: float, spectrum: Spectrum, star: bool = False, large: bool = True) -> None:
    """Marks at (1 + z) times the lines' wavelengths; names of emission lines above, of absorption lines below."""
    factor = _per_angstrom(spectrum.wavelength_unit)
    low, high = axis.get_xlim()
    inside = lines.observed(redshift, low / factor, high / factor, spectrum.in_air, star)
    size = 6.5 if large else 5.5
    spec = axis.get_subplotspec()
    share = 1.0 if spec is None else len(spec.colspan) / spec.get_gridspec().ncols
    letter = (high - low) / (axis.figure.bbox.width / axis.figure.dpi * share * 0.9) * size / 72 * _CHARACTER
    for emission, colour in ((True, MARK), (False, ABSORPTION)):
        found = [
            (line, np.array(at) * factor)
            for line, at in inside
            if line.emission == emission and (large or line.rank < 2)
        ]
        middles = [float(at.mean()) for _, at in found]
        widths = [letter * (len(line.name) + 1) for line, _ in found]
        rows = lines.tiers(middles, widths, [line.rank for line, _ in found], _TIERS)
        style = {"linestyle": "-" if emission else ":", "alpha": 0.6, "zorder": 0, "gid": "line", "in_layout": False}
        for (line, at), middle, row in zip(found, middles, rows, strict=True):
            for one in at:
                axis.axvline(one, color=colour, linewidth=0.6, **style)
            half = letter * len(line.name) / 2
            if row is not None and low + half < middle < high - half:
                _name(axis, line, middle, row, size, colour)


def _name(axis: Any, line: lines.Line, middle: float, row: int, size: float, colour: str) -> None:
    """A line's name: emission along the upper edge, absorption along the lower one."""
    high = axis.figure.bbox.height / axis.figure.dpi
    spec = axis.get_subplotspec()
    share = 1.0 if spec is None else len(spec.rowspan) / spec.get_gridspec().nrows
    step = 1.25 * size / 72 / max(high * share * 0.8, 0.5)
    up = 0.985 - step * row if line.emission else 0.015 + step * row
    where = {"transform": axis.get_xaxis_transform(), "va": "top" if line.emission else "bottom", "ha": "center"}
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.4}
    axis.text(middle, up, line.name, color=colour, fontsize=size, bbox=box, gid="name", in_layout=False, **where)


def _per_angstrom(unit: str) -> float:
    """What one Angstrom is in a unit of wavelength; an unknown unit is taken for Angstrom."""
    from astropy import units

    try:
        return float(units.Angstrom.to(units.Unit(unit)))
    except (ValueError, TypeError, units.UnitConversionError):
        return 1.0


def pretty(unit: str) -> str:
    """A unit as it is printed in a figure."""
    return unit.replace("Angstrom", "Å").replace("1e-17", "10⁻¹⁷").replace("cm2", "cm²")
