"""Where on the sky the objects are: dots if they are few, else cells by how many are in them."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from mmu.dataset import Dataset
from mmu.report.chart import WIDE, Chart, drawing, path, ticks
from mmu.sky import healpix
from mmu.sky.projection import EDGE, mollweide

Values = np.ndarray[Any, Any]

_LEFT, _TOP, _SIDE, _HIGH = 56, 10, 280, 336
_FEW = 600
_EVERY_POSITION = 300_000
_WIDE_DEG = 60.0


def sky_chart(dataset: Dataset) -> Chart | None:
    """The positions of a dataset's objects, east to the left; None if it has none."""
    ra, dec, weight, words = _positions(dataset)
    if not len(ra):
        return None
    middle = float(np.degrees(np.angle(np.exp(1j * np.radians(ra)).mean())) % 360.0)
    east = (ra - middle + 180.0) % 360.0 - 180.0
    extent = max(np.ptp(east) * np.cos(np.radians(dec.mean())), np.ptp(dec))
    if extent > _WIDE_DEG:
        middle = 30.0 * round(middle / 30.0) % 360.0
        return _whole(ra, dec, weight, middle, words)
    return _field(east, dec, weight, middle, max(extent, 1e-3) * 1.08, words)


def _positions(dataset: Dataset) -> tuple[Values, Values, Values, str]:
    """RA, Dec, and how many objects there are: each object, or the pixels of the catalogue's own map of many."""
    if len(dataset) <= _EVERY_POSITION:
        names = list(dataset.keys[1:])
        table = dataset.table(names)
        ra, dec = (table[name].to_numpy() for name in names)
        there = healpix.valid(ra, dec)
        return ra[there], dec[there], np.ones(int(there.sum())), "every object"
    from astropy.io import fits

    with fits.open(dataset.path / "point_map.fits") as file:
        header, rows = file[1].header, file[1].data
        order = int(header["NSIDE"]).bit_length() - 1
        if "PIXEL" in rows.names:
            pixels, counts = np.asarray(rows["PIXEL"], np.int64), np.asarray(rows["VALUE"], float)
        else:  # a map of the whole sky
            counts = np.asarray(rows.field(0), float).reshape(-1)
            pixels = np.flatnonzero(counts)
            counts = counts[pixels]
    ra, dec = healpix.centres(order, pixels)
    return ra, dec, counts, f"HEALPix pixels of order {order}"


def _field(east: Values, dec: Values, weight: Values, middle: float, extent: float, words: str) -> Chart:
    """A part of the sky, its middle in the middle, in degrees of the sky both ways."""
    shrink = np.cos(np.radians(dec.mean()))
    x0, y0 = (east.min() + east.max()) / 2, (dec.min() + dec.max()) / 2
    scale = _SIDE / extent

    def at(x: Any, y: Any) -> tuple[Values, Values]:
        middle_x, middle_y = _LEFT + _SIDE / 2, _TOP + _SIDE / 2
        return middle_x - (np.asarray(x) - x0) * shrink * scale, middle_y - (np.asarray(y) - y0) * scale

    half = extent / 2
    parts = [_frame(at, (x0 - half / shrink, x0 + half / shrink), (y0 - half, y0 + half), middle)]
    parts.append(_marks(*at(east, dec), weight, _SIDE))
    words = f"{extent:.2g}° across, around RA {middle + x0:.4f}°, Dec {y0:.4f}°; {words}"
    return Chart(drawing("Sky coverage", words, *parts, high=_HIGH), "Sky coverage", caption=f"{words}. East is left.")


def _frame(at: Any, x: tuple[float, float], y: tuple[float, float], middle: float) -> Markup:
    parts = []
    (left, bottom), (right, top) = at(x[1], y[0]), at(x[0], y[1])
    for value in ticks(middle + x[0], middle + x[1], 3):
        place = float(at(value - middle, y[0])[0])
        parts.append(Markup('<path class="grid" d="M{:.1f} {:.1f}V{:.1f}"/>').format(place, bottom, top))
        parts.append(_text(place, bottom + 16, "middle", f"{value % 360.0:.6g}°"))
    for value in ticks(*y, 4):
        place = float(at(x[0], value)[1])
        parts.append(Markup('<path class="grid" d="M{:.1f} {:.1f}H{:.1f}"/>').format(left, place, right))
        parts.append(_text(left - 5, place + 4, "end", f"{value:.4g}°".replace("-", "−")))
    parts.append(_text((left + right) / 2, bottom + 33, "middle", "RA (ICRS)"))
    parts.append(Markup('<path class="axis hollow" d="M{:.1f} {:.1f}V{:.1f}H{:.1f}V{:.1f}Z"/>').format(
        left, bottom, top, right, bottom))  # fmt: skip
    return Markup("").join(parts)


def _whole(ra: Values, dec: Values, weight: Values, middle: float, words: str) -> Chart:
    """The whole sky, in Mollweide's equal-area projection."""
    radius = (WIDE - 24) / 4

    def at(lon: Any, lat: Any) -> tuple[Values, Values]:
        x, y = mollweide(np.clip(lon, -EDGE, EDGE), lat, 0.0)
        return WIDE / 2 + x / 2**0.5 * radius, 16 + radius - y / 2**0.5 * radius

    lines = [at(np.full(61, lon), np.linspace(-90, 90, 61)) for lon in range(-180, 181, 60)]
    lines += [at(np.linspace(-180, 180, 61), np.full(61, lat)) for lat in (-60, -30, 0, 30, 60)]
    parts = [Markup('<path class="grid" d="{}"/>').format(path(*line)) for line in lines]
    parts.append(_marks(*at((ra - middle + 180.0) % 360.0 - 180.0, dec), weight, int(4 * radius)))
    for lon in (-120, -60, 0, 60, 120):
        x, y = at(lon, 0)
        parts.append(_text(float(x), float(y) - 3, "middle", f"{(middle + lon) % 360:.0f}°"))
    words = f"the whole sky (Mollweide), RA {middle:.0f}° in the middle; {words}"
    high = int(2 * radius + 32)
    return Chart(drawing("Sky coverage", words, *parts, high=high), "Sky coverage", caption=f"{words}. East is left.")


def _marks(x: Values, y: Values, weight: Values, side: int) -> Markup:
    if len(x) <= _FEW and weight.max() == 1:
        dots = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x, y, strict=True))
        return Markup('<path class="dots s0" d="{}"/>').format(dots)
    step = side / np.clip(np.sqrt(len(x)) / 1.5, 12, 72)
    cells, place = np.unique(np.stack([x // step, y // step], axis=1).astype(int), axis=0, return_inverse=True)
    counts = np.bincount(place.reshape(-1), weights=weight)
    # Shades of the one colour, eight of them: a path each.
    shade = 0.2 + 0.8 * np.log1p(counts) / np.log1p(counts.max())
    levels = np.round(shade * 8) / 8
    parts = []
    for level in np.unique(levels):
        chosen = cells[levels == level]
        square = "".join(f"M{a * step:.1f} {b * step:.1f}h{step:.2f}v{step:.2f}h{-step:.2f}z" for a, b in chosen)
        parts.append(Markup('<path class="cells" fill-opacity="{:.3f}" d="{}"/>').format(level, square))
    return Markup("").join(parts)


def _text(x: float, y: float, anchor: str, words: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, words)
