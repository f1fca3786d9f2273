"""Cubes: white light, the spectrum of the brightest spaxel, and maps of what was measured on them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmu.look.panel import Panel
from mmu.look.spectrum import Spectrum, bad_pixels, spectrum_panel
from mmu.look.stamp import finish
from mmu.look.style import NOWHERE
from mmu.look.subject import Subject

Floats = NDArray[np.float64]

_H_ALPHA = re.compile(r"^(ha|h-?alpha|hα)\b|656[2-5]", re.IGNORECASE)
_WANTED = (  # maps worth a look, by the words of their column's name; the best first
    ("line.*gflux$|line.*flux$|^flux", "flux"),
    ("line.*vel$|gas.*vel", "velocity"),
    ("line.*g?sigma$|gas.*(sigma|disp)", "dispersion"),
    ("(star|stell).*vel", "velocity"),
    ("(star|stell).*(sigma|disp)$", "dispersion"),
    ("line.*g?ew$", "flux"),
)
_SEQUENTIAL, _DIVERGING = {"flux": "inferno", "dispersion": "viridis", "": "viridis"}, "RdBu_r"


@dataclass(frozen=True)
class Cube:
    """Flux (L, H, W), True where it may be used, sigma of each, wavelength (L,)."""

    flux: Floats
    good: NDArray[np.bool_]
    sigma: Floats
    wavelength: Floats

    @property
    def white(self) -> Floats:
        """Mean over the wavelength of each spaxel, (H, W); NaN where there is none."""
        count = self.good.sum(axis=0)
        total = np.where(self.good, self.flux, 0.0).sum(axis=0)
        return np.where(count > len(self.flux) / 4, total / np.maximum(count, 1), np.nan)


def cube_of(subject: Subject, name: str) -> Cube | None:
    """A cube column; None if it has no spaxel."""
    value: Mapping[str, Any] = subject.record[name]
    flux = np.asarray(value["flux"], dtype=np.float64)
    if flux.ndim != 3 or not flux.size:
        return None
    ivar = np.asarray(value["ivar"], dtype=np.float64) if "ivar" in value else np.ones(flux.shape)
    good = np.isfinite(flux) & (ivar > 0)
    if "mask" in value:
        good &= ~bad_pixels(np.asarray(value["mask"]), subject.facts(name, "mask").get("polarity", ""))
    sigma = np.where(ivar > 0, 1 / np.sqrt(np.where(ivar > 0, ivar, 1.0)), np.nan)
    wavelength = np.asarray(value.get("lambda", np.arange(len(flux))), dtype=np.float64)
    return Cube(flux, good, sigma, wavelength)


def cube_panels(subject: Subject, name: str, title: str, large: bool) -> list[Panel]:
    """White light beside the spectrum of its brightest spaxel."""
    cube = cube_of(subject, name)
    if cube is None:
        return []
    white = cube.white
    if not np.isfinite(white).any():
        return []
    y, x = np.unravel_index(int(np.nanargmax(white)), white.shape)
    unit = subject.facts(name, "flux").get("unit", "")
    spectrum = Spectrum(cube.wavelength, cube.flux[:, y, x], cube.sigma[:, y, x], cube.good[:, y, x], unit, "Angstrom")
    scale = scale_of(subject, white.shape)
    left = partial(draw_white, white=white, spaxel=(int(x), int(y)), scale=scale, title=title)
    return [Panel(3, 3, left), spectrum_panel(spectrum, (9, 3), "brightest spaxel (+)", True, subject)]


def scale_of(subject: Subject, shape: tuple[int, ...]) -> float:
    """Arcsec a spaxel: that of an image on the same pixels; 1 if there is none."""
    for name in subject.of("image"):
        image = subject.record[name]
        if len(image["flux"]) and np.shape(image["flux"][0]) == shape and len(image.get("scale", ())):
            return float(image["scale"][0])
    return 1.0


def draw_white(axis: Any, white: Floats, spaxel: tuple[int, int], scale: float, title: str) -> None:
    """White light, asinh stretched, with the spaxel of the spectrum marked."""
    top = float(np.nanpercentile(white, 99.8)) or 1.0
    axis.imshow(np.arcsinh(np.clip(white / top, 0, None) * 10), origin="lower", cmap=_cmap("inferno"))
    axis.plot(*spaxel, "+", color="white", markersize=7, markeredgewidth=1.0)
    finish(axis, white.shape, scale, title)


def map_panels(subject: Subject) -> list[Panel]:
    """The maps worth a look, at most four; the first ones if none of the usual are there."""
    names = subject.of("map")
    found: list[tuple[str, str]] = []
    for pattern, kind in _WANTED:
        of_kind = [name for name in names if re.search(pattern, name.lower())]
        best = max(of_kind, key=lambda name: (len(subject.record[name]["label"]) > 0, "_g" in name), default=None)
        if best is not None and best not in [one for one, _ in found]:
            found.append((best, kind))
    drawn = [
        Panel(3, 3, partial(draw_map, subject=subject, name=name, kind=kind))
        for name, kind in found or [(name, "") for name in names]
        if len(subject.record[name]["label"]) and np.size(subject.record[name]["value"])
    ]
    return drawn[:4]


def draw_map(axis: Any, subject: Subject, name: str, kind: str) -> None:
    """One channel of a map (that of H-alpha, where there is one), masked pixels left out, with its scale of colours."""
    value = subject.record[name]
    labels = [str(label) for label in value["label"]]
    channel = next((index for index, label in enumerate(labels) if _H_ALPHA.search(label)), 0)
    plane = np.asarray(value["value"][channel], dtype=np.float64)
    bad = np.asarray(value["mask"][channel]) != 0 if "mask" in value else np.zeros(plane.shape, dtype=bool)
    shown = np.where(bad | ~np.isfinite(plane), np.nan, plane)
    if "ivar" in value:
        shown = np.where(np.asarray(value["ivar"][channel]) > 0, shown, np.nan)
    limits, cmap = _scale_of_colours(shown, kind)
    drawn = axis.imshow(shown, origin="lower", cmap=_cmap(cmap), vmin=limits[0], vmax=limits[1])
    unit = str(value["unit"][channel]) if "unit" in value else ""
    title = name if labels[channel] == name else f"{name}  {labels[channel]}"
    finish(axis, shown.shape, scale_of(subject, shown.shape), title, compass=False)
    below = axis.inset_axes([0.08, -0.075, 0.84, 0.035])
    bar = axis.figure.colorbar(drawn, cax=below, orientation="horizontal")
    bar.set_label(unit, fontsize=6, labelpad=1.0)
    below.tick_params(labelsize=6, pad=1.5)


def _scale_of_colours(plane: Floats, kind: str) -> tuple[tuple[float, float], str]:
    """Limits and colours: velocities from blue over white at 0 to red, alike on both sides; others in one direction."""
    seen = plane[np.isfinite(plane)]
    if not seen.size:
        return (0.0, 1.0), _SEQUENTIAL.get(kind, "viridis")
    if kind == "velocity":
        most = float(np.percentile(np.abs(seen), 95)) or 1.0
        return (-most, most), _DIVERGING
    low, high = np.percentile(seen, [2.0, 98.0])
    return (float(low), float(high) if high > low else float(low) + 1.0), _SEQUENTIAL[kind]


def _cmap(name: str) -> Any:
    from matplotlib import colormaps

    return colormaps[name].with_extremes(bad=NOWHERE)
