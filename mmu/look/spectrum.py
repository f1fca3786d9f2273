"""Spectra: pixels, their running mean with a band of one standard deviation, and lines at the object's redshift."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmu.look import lines
from mmu.look.panel import Panel
from mmu.look.style import ACCENT, FAINT, INK, MARK
from mmu.look.subject import Subject

Floats = NDArray[np.float64]

_SMOOTH = 5
_TIERS = 2
_CHARACTER = 0.62
"""Width of a letter in units of the size of the type."""


@dataclass(frozen=True)
class Spectrum:
    """Flux along the wavelength; `good` is False where a pixel is masked or has no inverse variance."""

    wavelength: Floats
    flux: Floats
    sigma: Floats
    good: NDArray[np.bool_]
    unit: str = ""
    wavelength_unit: str = ""
    in_air: bool = False


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
    size = (12, 4) if large else (6, 2)
    return [
        Panel(*size, partial(draw_spectrum, spectrum=spectrum, redshift=subject.redshift, title=title, large=large))
    ]


def draw_spectrum(
    axis: Any, spectrum: Spectrum, redshift: float | None = None, title: str = "", large: bool = True
) -> None:
    """Flux against wavelength on an axis."""
    wavelength, flux = spectrum.wavelength, np.where(spectrum.good, spectrum.flux, np.nan)
    known = np.isfinite(spectrum.sigma)
    weight = np.where(spectrum.good, np.where(known, spectrum.sigma, 1.0) ** -2.0, 0.0)
    mean = lines.running_mean(spectrum.flux, weight, _SMOOTH)
    mean = np.where(spectrum.good, mean, np.nan)
    axis.plot(wavelength, flux, color=FAINT, linewidth=0.3, label="pixels", gid="pixels")
    if known.any():
        sigma = np.where(spectrum.good, spectrum.sigma, np.nan)
        band = {"color": ACCENT, "alpha": 0.22, "linewidth": 0, "label": "± 1σ of a pixel", "gid": "sigma"}
        axis.fill_between(wavelength, mean - sigma, mean + sigma, **band)
    axis.plot(wavelength, mean, color=INK, linewidth=0.7, label=f"mean of {_SMOOTH} pixels", gid="mean")
    shown = np.isfinite(mean)
    if shown.any():
        low, high = np.percentile(mean[shown], [0.5, 99.9])
        room = max(high - low, 1e-3 * abs(high), 1e-30)
        axis.set_ylim(low - 0.22 * room, high + 0.38 * room)
        axis.set_xlim(wavelength[shown][0], wavelength[shown][-1])
    else:
        axis.text(0.5, 0.5, "no good pixel", transform=axis.transAxes, ha="center", color=MARK)
        axis.set_xlim(wavelength.min(), wavelength.max())
    axis.set_title(title, loc="left")
    axis.set_xlabel(f"wavelength ({_pretty(spectrum.wavelength_unit) or 'unit not told'})")
    axis.set_ylabel(f"flux ({_pretty(spectrum.unit) or 'unit not told'})" if large else "flux")
    if redshift is not None:
        mark_lines(axis, redshift, spectrum, large)
    if large:
        axis.legend(loc="upper right", ncols=3, bbox_to_anchor=(1.0, 1.09), borderaxespad=0.0)


def mark_lines(axis: Any, redshift: float, spectrum: Spectrum, large: bool = True) -> None:
    """Marks at (1 + z) times the lines' wavelengths; names of emission lines above, of absorption lines below."""
    factor = _per_angstrom(spectrum.wavelength_unit)
    low, high = axis.get_xlim()
    inside = lines.observed(redshift, low / factor, high / factor, spectrum.in_air)
    size = 6.5 if large else 5.5
    spec = axis.get_subplotspec()
    share = 1.0 if spec is None else len(spec.colspan) / spec.get_gridspec().ncols
    inch = axis.figure.bbox.width / axis.figure.dpi * share * 0.9
    letter = (high - low) / inch * size / 72 * _CHARACTER
    for emission, colour in ((True, MARK), (False, "#00735c")):
        found = [(line, np.array(at) * factor) for line, at in inside if line.emission == emission]
        middles = [float(at.mean()) for _, at in found]
        widths = [letter * (len(line.name) + 1) for line, _ in found]
        rows = lines.tiers(middles, widths, [line.rank for line, _ in found], _TIERS)
        for (line, at), middle, row in zip(found, middles, rows, strict=True):
            for one in at:
                axis.axvline(
                    one, color=colour, linewidth=0.5, linestyle="-" if emission else ":", alpha=0.55, gid="line"
                )
            if row is not None and low + letter * len(line.name) / 2 < middle < high - letter * len(line.name) / 2:
                up = 0.985 - 0.075 * row if emission else 0.015 + 0.075 * row
                where = {"transform": axis.get_xaxis_transform(), "va": "top" if emission else "bottom"}
                box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.4}
                axis.text(
                    middle, up, line.name, color=colour, fontsize=size, ha="center", bbox=box, gid="name", **where
                )


def _per_angstrom(unit: str) -> float:
    """What one Angstrom is in a unit of wavelength; an unknown unit is taken for Angstrom."""
    from astropy import units

    try:
        return float(units.Angstrom.to(units.Unit(unit)))
    except (ValueError, TypeError, units.UnitConversionError):
        return 1.0


def _pretty(unit: str) -> str:
    """A unit as it is printed in a figure."""
    return unit.replace("Angstrom", "Å").replace("1e-17", "10⁻¹⁷").replace("cm2", "cm²")
