"""The piece of sky that the simulated survey has seen, on the archive's own sky map: pixels, noise and masks.

Tracts are those of the "rings" sky map (120 rings, tangent planes of 36000 x 36000 pixels of 0.168 arcsec, patches of
4000 with borders of 100 wide). A patch's image ends where the simulated survey does, so that files stay small.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.wcs import WCS
from numpy.lib import recfunctions

from mmu.simulate import Sky
from mmu.simulate.image import render
from mmu.simulate.noise import generator
from mmu.simulate.photometry import magnitudes
from surveys.hsc.columns import BANDS, PLANES, SCALE, ZERO_POINT

Floats = npt.NDArray[np.float64]
Plane = npt.NDArray[np.float32]
Bits = npt.NDArray[np.int32]
Objects = npt.NDArray[np.void]

RINGS, TRACT_PIXELS, PATCH_PIXELS, BORDER = 120, 36_000, 4_000, 100
CENTRE = TRACT_PIXELS // 2 - 1
"""The tract's pixel, counted from 0, at its centre."""
COUNTS = 10 ** (0.4 * (ZERO_POINT - 22.5))
"""Counts of a nanomaggy."""
SIDE = 1600
FIRST = (7_200, 3_200)
"""The survey's first pixel on its tract: four patches meet 800 pixels further."""
SEEING = {"g": 0.75, "r": 0.70, "i": 0.58, "z": 0.65, "y": 0.68}
SKY_VARIANCE = {"g": 0.0016, "r": 0.0027, "i": 0.0034, "z": 0.009, "y": 0.02}
DEPTH = {"pdr3_dud_rev": 0.15, "pdr3_wide": 1.0}
"""Variance of the sky in units of the Wide layer's, by rerun."""
FULL_WELL = 2.0e5
"""Counts in the brightest pixel above which a star saturates."""


@functools.cache
def _ring_tracts() -> tuple[float, list[int]]:
    """Degrees of declination between rings, and the tracts in each, south to north."""
    height, counts = math.pi / (RINGS + 1), []
    for ring in range(RINGS):
        south = height * (ring + 0.5) - 0.5 * math.pi
        nearest = min(abs(south), abs(south + height))
        counts.append(int(2 * math.pi * math.cos(nearest) / height) + 1)  # the pipeline's own rounding decides at 0
    return math.degrees(height), counts


def tract_centre(tract: int) -> tuple[float, float]:
    """RA and Dec of a tract's centre, degrees; the two at the poles aside."""
    height, counts = _ring_tracts()
    first = 1
    for ring, count in enumerate(counts):
        if tract < first + count:
            return 360.0 * (tract - first) / count, height * (ring + 1) - 90.0
        first += count
    msg = f"tract {tract} is not one of rings"
    raise ValueError(msg)


def tract_at(ra: float, dec: float) -> int:
    """The tract whose centre is nearest in its ring to a position."""
    height, counts = _ring_tracts()
    ring = round((dec + 90.0) / height) - 1
    return 1 + sum(counts[:ring]) + round(ra / 360.0 * counts[ring]) % counts[ring]


TRACT = tract_at(185.67, 0.09)


def header(first: tuple[int, int]) -> fits.Header:
    """World coordinates of an image that begins at a pixel of the tract, as the pipeline writes them."""
    cards = fits.Header()
    for axis, (value, place) in enumerate(zip(tract_centre(TRACT), first, strict=True), start=1):
        cards[f"CRPIX{axis}"] = float(CENTRE + 1 - place)
        cards[f"CRVAL{axis}"] = value
    cards["CTYPE1"], cards["CTYPE2"] = "RA---TAN", "DEC--TAN"
    cards["CD1_1"], cards["CD2_2"] = -SCALE / 3600, SCALE / 3600
    cards["RADESYS"] = "ICRS"
    cards["LTV1"], cards["LTV2"] = float(-first[0]), float(-first[1])
    cards["INHERIT"] = True
    return cards


@functools.cache
def tract_wcs() -> WCS:
    """From degrees to pixels of the tract, counted from 0."""
    return WCS(header((0, 0)))


@dataclass(frozen=True)
class Patch:
    """A patch of the tract."""

    x: int
    y: int

    @property
    def code(self) -> int:
        """As the catalogue has it."""
        return 100 * self.x + self.y

    @property
    def window(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """First and last (excluded) column, and row, of its image on the tract: what the survey has seen of it."""
        edges = []
        for place, first in ((self.x, FIRST[0]), (self.y, FIRST[1])):
            low, high = place * PATCH_PIXELS - BORDER, (place + 1) * PATCH_PIXELS + BORDER
            edges.append((max(low, first, 0), min(high, first + SIDE, TRACT_PIXELS)))
        return edges[0], edges[1]


def patches(sky: Sky) -> tuple[Patch, ...]:
    """The patches that the survey has seen, if the sky has anything there."""
    x, y = (place // PATCH_PIXELS for place in FIRST)
    found = tuple(Patch(x + i, y + j) for i in (0, 1) for j in (0, 1))
    return found if len(objects_of(sky)[0]) else ()


@functools.lru_cache(maxsize=4)
def objects_of(sky: Sky) -> tuple[Objects, Floats, Floats]:
    """Objects whose light may fall on the survey, with `mag_y`, and their pixels x, y on the survey's image."""
    middle = [place + (SIDE - 1) / 2 for place in FIRST]
    ra, dec = (float(v) for v in tract_wcs().all_pix2world(*middle, 0))
    objects = sky.in_cone(ra, dec, SIDE * SCALE / 3600 / np.sqrt(2) + 0.01)
    y_band = magnitudes(objects, ["y"])[:, 0] if len(objects) else np.zeros(0)
    objects = recfunctions.append_fields(objects, "mag_y", y_band, usemask=False)
    x, y = tract_wcs().all_world2pix(objects["ra"], objects["dec"], 0) if len(objects) else (np.zeros(0), np.zeros(0))
    return objects, x - FIRST[0], y - FIRST[1]


@functools.lru_cache(maxsize=6)
def model(sky: Sky, band: str) -> Plane:
    """The survey's image without noise, (1600, 1600) counts."""
    objects, x, y = objects_of(sky)
    plane = render((SIDE, SIDE), x, y, objects, band, SEEING[band] / SCALE, SCALE) * np.float32(COUNTS)
    plane.flags.writeable = False
    return plane


@functools.lru_cache(maxsize=12)
def coadd(sky: Sky, rerun: str, band: str) -> tuple[Plane, Bits, Plane]:
    """Image, mask and variance of the whole survey in a band, (1600, 1600) each; NaN where there is no data."""
    rng = generator(sky.seed, "hsc", rerun, band)
    truth, sky_variance = model(sky, band), SKY_VARIANCE[band] * DEPTH[rerun]
    tilt = 1 + 0.2 * np.sin(np.arange(SIDE) / 300)[:, None] * np.cos(np.arange(SIDE) / 450)
    variance = (sky_variance * tilt + 2e-4 * np.maximum(truth, 0)).astype(np.float32)
    noise = rng.standard_normal((SIDE, SIDE), dtype=np.float32)
    image = truth + noise * np.float32(sky.noise) * np.sqrt(variance)
    mask = np.where(truth > 2 * np.sqrt(variance), 1 << PLANES["DETECTED"], 0).astype(np.int32)
    mask[truth > FULL_WELL * sky_variance] |= (1 << PLANES["SAT"]) | (1 << PLANES["INTRP"])
    column, row = rng.integers(100, SIDE - 120, 2)
    mask[row : row + 90, column : column + 2] |= (1 << PLANES["BAD"]) | (1 << PLANES["INTRP"])
    for y, x in rng.integers(20, SIDE - 20, (60, 2)):
        mask[y : y + 2, x : x + 4] |= (1 << PLANES["CR"]) | (1 << PLANES["INTRP"])
    mask[:, SIDE // 3 : SIDE // 3 + 3] |= (1 << PLANES["SENSOR_EDGE"]) | (1 << PLANES["INEXACT_PSF"])
    mask[:12] |= 1 << PLANES["EDGE"]
    hole = slice(900, 912), slice(200, 260)
    mask[hole] |= 1 << PLANES["NO_DATA"]
    image[hole] = variance[hole] = np.nan
    variance[row + 95 : row + 99, column] = 0.0  # seen in real coadds: no plane of the mask says so
    return image, mask, variance


def survey_window(x: tuple[int, int], y: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the survey's planes that a window of the tract takes."""
    return slice(y[0] - FIRST[1], y[1] - FIRST[1]), slice(x[0] - FIRST[0], x[1] - FIRST[0])


__all__ = ["BANDS", "TRACT", "Patch", "coadd", "header", "objects_of", "patches", "survey_window", "tract_wcs"]
