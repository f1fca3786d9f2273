"""Images: colour stamps, single bands, and the pictures that a dataset holds; north is up and east left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmu.look import colour
from mmu.look.panel import Panel
from mmu.look.style import NOWHERE
from mmu.look.subject import Subject

Floats = NDArray[np.float64]

_FLUX_DENSITY = ("nanomaggy", "maggy", "jy", "njy", "ujy", "mjy")
_BARS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)


@dataclass(frozen=True)
class Image:
    """The planes of an image column, from blue to red.

    `flux` and `good` are one (H, W) array a band, as bands may differ in scale; `noise` is of each band's sky.
    """

    bands: list[str]
    flux: list[Floats]
    good: list[NDArray[np.bool_]]
    scale: Floats
    noise: Floats
    calibrated: bool

    @property
    def field(self) -> float:
        """Width in arcsec that all bands cover; in pixels if no scale is known."""
        return float(np.min([len(plane[0]) * scale for plane, scale in zip(self.flux, self.scale, strict=True)]))


def image_of(subject: Subject, name: str) -> Image | None:
    """An image column's planes; None if there are none."""
    value = subject.record[name]
    flux = [np.atleast_2d(np.asarray(plane, dtype=np.float64)) for plane in value["flux"]]
    bands = [str(band) for band in value.get("band", range(len(flux)))]
    keep = [index for index in colour.order(bands) if flux[index].size]
    if not keep:
        return None
    ivar = value.get("ivar")
    spread = [None if ivar is None else np.nan_to_num(np.asarray(ivar[i], dtype=np.float64)) for i in keep]
    planes = [flux[i] for i in keep]
    good = [np.isfinite(plane) & (True if one is None else one > 0) for plane, one in zip(planes, spread, strict=True)]
    told = subject.facts(name, "flux")
    known = "zero_point_ab" in told or told.get("unit", "").lower().split(" ")[-1] in _FLUX_DENSITY
    scale = np.asarray(value["scale"], dtype=np.float64)[keep] if "scale" in value else np.ones(len(keep))
    noise = np.array([colour.noise_of(plane, one) for plane, one in zip(planes, spread, strict=True)])
    return Image([bands[i] for i in keep], planes, good, np.where(scale > 0, scale, 1.0), noise, known)


def colour_picture(image: Image) -> tuple[Floats, NDArray[np.bool_], float]:
    """(H, W, 3), where there is data (H, W), and the scale: of the finest band, over the field that all bands cover."""
    scale = float(image.scale.min())
    side = max(round(image.field / scale), 1)
    at = partial(_nearest, side=side, scale=scale)
    planes = [at(plane, own) / (own / scale) ** 2 for plane, own in zip(image.flux, image.scale, strict=True)]
    good = [at(plane, own) for plane, own in zip(image.good, image.scale, strict=True)]
    noise = image.noise / (image.scale / scale) ** 2
    weights = colour.brightness(image.bands, noise, image.calibrated)
    picture, seen = colour.rgb(np.stack(planes), np.stack(good), noise, weights)
    return picture, seen, scale


def _nearest(plane: NDArray[Any], own: float, side: int, scale: float) -> NDArray[Any]:
    """A plane's pixels under those of a grid of another scale; stamps are cut so that the object is in pixel n // 2."""
    offset = (np.arange(side) - side // 2) * (scale / own)
    rows, columns = (np.clip(np.rint(offset + n // 2), 0, n - 1).astype(int) for n in plane.shape)
    return np.asarray(plane[np.ix_(rows, columns)])


def stamp_panels(subject: Subject, name: str, title: str, large: bool) -> list[Panel]:
    """The colour stamp; if large, each band beside it."""
    image = image_of(subject, name)
    if image is None:
        return []
    size = 6 if large else 3
    panels = [Panel(size, size, partial(draw_stamp, image=image, title=title))]
    if large and len(image.bands) > 1:
        side = 3 if len(image.bands) <= 4 else 2
        names = [f"{subject.survey} {band}" for band in image.bands]
        panels += [
            Panel(side, side, partial(draw_band, image=image, index=at, title=name)) for at, name in enumerate(names)
        ]
    return panels


def draw_stamp(axis: Any, image: Image, title: str = "") -> None:
    """The colour picture, with bar and compass."""
    picture, seen, scale = colour_picture(image)
    show(axis, picture, seen)
    finish(axis, picture.shape[:2], scale, title)


def draw_band(axis: Any, image: Image, index: int, title: str = "") -> None:
    """One band in grey, dark where there is light."""
    flux, good = image.flux[index], image.good[index]
    noise = image.noise[index] if image.noise[index] > 0 else 1.0
    level = np.arcsinh(np.where(good, flux, 0.0) / (2 * noise))
    top = max(float(np.percentile(level, 99.7)), np.arcsinh(10.0))
    grey = 1 - np.clip((level + 0.8) / (top + 0.8), 0, 1)
    show(axis, np.repeat(grey[..., None], 3, axis=2), good)
    finish(axis, flux.shape, float(image.scale[index]), title, ink="black")


def show(axis: Any, picture: Floats, seen: NDArray[np.bool_], origin: str = "lower") -> None:
    """A picture (H, W, 3), with what has no data in one colour."""
    from matplotlib.colors import to_rgb

    axis.imshow(np.where(seen[..., None], picture, np.array(to_rgb(NOWHERE))), origin=origin)


def finish(axis: Any, shape: Sequence[int], scale: float, title: str, ink: str = "white", compass: bool = True) -> None:
    """The bar and the compass on an image, and its title. `scale` is arcsec a pixel, 1 if it is not known."""
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_title(title)
    plain = {"transform": axis.transAxes, "color": ink}
    if scale != 1.0:
        field = shape[1] * scale
        bar = max((one for one in _BARS if one < 0.35 * field), default=_BARS[0])
        axis.plot([0.05, 0.05 + bar / field], [0.06, 0.06], linewidth=1.6, solid_capstyle="butt", **plain)
        axis.text(0.05, 0.08, f'{bar:g}"', fontsize=7, va="bottom", **plain)
    if compass:
        draw_compass(axis, ink)


def draw_compass(axis: Any, ink: str) -> None:
    """North up, east left, in the lower right corner."""
    corner, arm, across = (0.94, 0.06), 0.11, axis.transAxes
    arrow = {"arrowstyle": "-|>,head_length=0.25,head_width=0.12", "color": ink, "lw": 0.8, "shrinkA": 0, "shrinkB": 0}
    for word, end, ha, va in (
        ("N", (corner[0], corner[1] + arm), "center", "bottom"),
        ("E", (corner[0] - arm, corner[1]), "right", "center"),
    ):
        axis.annotate("", xy=end, xytext=corner, xycoords=across, textcoords=across, arrowprops=arrow)
        axis.text(*end, word, color=ink, fontsize=6, ha=ha, va=va, transform=across)


def picture_panels(subject: Subject, name: str, title: str, large: bool) -> list[Panel]:
    """A picture that the dataset holds, as it is."""
    size = 6 if large and not subject.of("image") else 3
    return [Panel(size, size, partial(draw_picture, subject=subject, name=name, title=title))]


def draw_picture(axis: Any, subject: Subject, name: str, title: str) -> None:
    """Colours as they are; which way is up, and the scale, as the columns' metadata say."""
    pixels = np.asarray(subject.record[name])
    south = is_south_first(subject, name, pixels.shape[:2])
    origin = "lower" if south else "upper"
    if pixels.ndim == 2:
        axis.imshow(pixels, origin=origin, cmap="gray")
    else:
        axis.imshow(pixels[..., :3], origin=origin)
    scales = [one for one in subject.record if subject.fields[one].metadata and _is_scale(subject, one)]
    scale = subject.number(scales[0]) if scales else 1.0
    finish(axis, pixels.shape[:2], scale, title, compass=south)


def is_south_first(subject: Subject, name: str, shape: tuple[int, ...]) -> bool:
    """True if row 0 is known to be the south: it is said, or it is of an image's pixels and nothing else is said."""
    meaning = subject.facts(name).get("meaning", "")
    if "row 0" in meaning:
        return "row 0 is south" in meaning
    planes = [plane for one in subject.of("image") for plane in subject.record[one]["flux"]]
    return any(np.shape(plane) == shape for plane in planes)


def _is_scale(subject: Subject, name: str) -> bool:
    return subject.facts(name).get("unit") == "arcsec/pixel" and name not in subject.kinds
