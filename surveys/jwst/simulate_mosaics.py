"""The mosaics of the simulated archive: where they point, what each pixel saw, and how long it was exposed.

Small ones, inside the first field of the sky, on grids as the real ones have: north up, the short-wavelength pixels
dividing the long-wavelength ones 2 x 2 where they are finer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from mmu.simulate import Sky
from mmu.simulate.image import render
from mmu.simulate.noise import generator
from mmu.simulate.sed import spectrum

Floats = npt.NDArray[np.float64]
Plane = npt.NDArray[np.float32]
Objects = npt.NDArray[np.void]

LONG_SCALE = 0.04
UNITS_PER_NANOMAGGY = 363.0780547701014  # of 10 nJy
EXPOSURE_SECONDS = 837.468
DITHERS = ((-1.3, 0.9), (0.4, -0.7), (1.1, 0.6))  # arcsec
ROLL_DEG = 2.0
BRIGHTER = 30.0  # drawn brighter and dimmed again: the renderer stops at a depth that suits surveys from the ground


@dataclass(frozen=True)
class Filter:
    """A band: edges (Angstrom), PSF of the mosaic (arcsec), weight of one exposure (per 0.04 arcsec pixel), MJy/sr."""

    low: float
    high: float
    fwhm: float
    weight: float
    photmjsr: float

    @property
    def pivot(self) -> float:
        """Angstrom."""
        return float((self.low * self.high) ** 0.5)


FILTERS = {
    "f090w": Filter(7950, 10050, 0.060, 700.0, 3.05),
    "f115w": Filter(10130, 12820, 0.060, 750.0, 2.65),
    "f150w": Filter(13310, 16680, 0.065, 900.0, 2.15),
    "f200w": Filter(17550, 22260, 0.075, 1000.0, 1.65),
    "f277w": Filter(24160, 31270, 0.110, 1300.0, 0.42),
    "f356w": Filter(31400, 39800, 0.130, 1300.0, 0.40),
    "f444w": Filter(38800, 49810, 0.155, 900.0, 0.3925),
}
SHORT = ("f090w", "f115w", "f150w", "f200w")


@dataclass(frozen=True)
class Mosaic:
    """One mosaic: its centre, degrees east and north of the field's, its short-wavelength pixels, and its size.

    `long_shape` is (rows, columns) of the long-wavelength grid.
    """

    name: str
    release: str
    east: float
    north: float
    short_scale: float = 0.02
    long_shape: tuple[int, int] = (1600, 1600)
    bands: tuple[str, ...] = tuple(FILTERS)

    def scale(self, band: str) -> float:
        """Arcsec a pixel."""
        return self.short_scale if band in SHORT else LONG_SCALE

    def shape(self, band: str) -> tuple[int, int]:
        """Rows and columns of a band's plane."""
        times = round(LONG_SCALE / self.scale(band))
        return self.long_shape[0] * times, self.long_shape[1] * times

    def centre(self, sky: Sky) -> tuple[float, float]:
        """RA and Dec of the tangent point, degrees."""
        return (sky.fields[0].ra + self.east) % 360, sky.fields[0].dec + self.north

    def project(self, sky: Sky, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
        """Offsets west and north of the centre on the tangent plane, arcsec."""
        ra0, dec0 = self.centre(sky)
        a, d, d0 = np.deg2rad(ra - ra0), np.deg2rad(dec), np.deg2rad(dec0)
        depth = np.sin(d) * np.sin(d0) + np.cos(d) * np.cos(d0) * np.cos(a)
        to_arcsec = np.rad2deg(3600.0)
        north = (np.sin(d) * np.cos(d0) - np.cos(d) * np.sin(d0) * np.cos(a)) / depth
        return -np.cos(d) * np.sin(a) / depth * to_arcsec, north * to_arcsec

    def pixels(self, sky: Sky, ra: Floats, dec: Floats, band: str) -> tuple[Floats, Floats]:
        """0-based pixel coordinates x, y of positions (degrees)."""
        west, north = self.project(sky, ra, dec)
        rows, columns = self.shape(band)
        return west / self.scale(band) + (columns - 1) / 2, north / self.scale(band) + (rows - 1) / 2

    def around(self, sky: Sky) -> Objects:
        """Objects whose light may fall on the mosaic."""
        return sky.in_cone(*self.centre(sky), float(np.hypot(*self.long_shape)) * LONG_SCALE / 7200 + 0.004)


LARGE = (2000, 2400)
MOSAICS = {
    mosaic.name: mosaic
    for mosaic in (
        Mosaic("primer-cosmos-east-grizli-v7.0", "primer-cosmos", 0.107, 0.068, 0.04, LARGE),
        Mosaic("primer-cosmos-west-grizli-v7.0", "primer-cosmos", 0.083, 0.068, 0.04, LARGE),
        Mosaic("primer-uds-north-grizli-v7.2", "primer-uds", 0.010, 0.010, 0.04, LARGE),
        Mosaic("primer-uds-south-grizli-v7.2", "primer-uds", 0.010, -0.010, 0.04, LARGE),
        Mosaic("ceers-full-grizli-v7.4", "ceers", 0.015, 0.136),
        Mosaic("ngdeep-grizli-v7.2", "ngdeep", 0.079, 0.124, bands=tuple(FILTERS)[1:]),
        Mosaic("gds-grizli-v7.2", "gds", 0.007, 0.076),
        Mosaic("gdn-grizli-v7.3", "gdn", 0.019, 0.008),
    )
}


def exposure_counts(mosaic: Mosaic, band: str) -> npt.NDArray[np.uint8]:
    """Exposures that cover each pixel: dithered, slightly rolled rectangles, smaller in the short bands."""
    rows, columns = mosaic.shape(band)
    scale = mosaic.scale(band)
    half_y, half_x = (length * LONG_SCALE / 2 - 2.5 for length in mosaic.long_shape)
    if band in SHORT:
        half_x -= 2.0
    sin, cos = np.sin(np.deg2rad(ROLL_DEG)), np.cos(np.deg2rad(ROLL_DEG))
    edges = np.zeros((rows, columns + 1), np.int8)
    every = np.arange(rows)
    for east, north in DITHERS:
        y = (every - (rows - 1) / 2) * scale - north
        low = np.maximum((-half_x - y * sin) / cos, (y * cos - half_y) / sin) + east
        high = np.minimum((half_x - y * sin) / cos, (y * cos + half_y) / sin) + east
        first, last = (np.clip(np.ceil(v / scale + (columns - 1) / 2), 0, columns).astype(int) for v in (low, high))
        edges[every, first] += 1
        edges[every, np.maximum(first, last)] -= 1
    return np.cumsum(edges[:, :-1], axis=1, dtype=np.uint8)


def exposure_map(mosaic: Mosaic, band: str) -> npt.NDArray[np.uint32]:
    """Seconds at every fourth pixel, from the first, as grizli makes it."""
    return exposure_counts(mosaic, band)[::4, ::4].astype(np.uint32) * np.uint32(EXPOSURE_SECONDS)


def weight_plane(mosaic: Mosaic, sky: Sky, band: str) -> Plane:
    """Inverse variance of sky and readout, (10 nJy)^-2; 0 where there is no data, some bad pixels among it."""
    rng = generator(sky.seed, "weight", mosaic.name, band)
    counts = exposure_counts(mosaic, band)
    one = FILTERS[band].weight * (LONG_SCALE / mosaic.scale(band)) ** 2
    levels = (one * np.linspace(0.9, 1.1, 16)).astype(np.float32)
    plane = levels[rng.integers(0, 16, counts.shape, dtype=np.uint8)]
    plane *= counts
    for y, x in rng.integers(0, counts.shape, (200, 2)):
        plane[y : y + 3, x : x + 3] = 0
    return plane


def count_rate(band: str) -> float:
    """Counts a second of a source of 10 nJy."""
    cards = calibration(band)
    return float(1 / (cards["PHOTMJSR"] * cards["PHOTSCAL"]) * cards["PHOTFNU"] / cards["OPHOTFNU"])


def band_flux(objects: Objects, band: str) -> Floats:
    """Flux of each object through a band, in 10 nJy, from the same spectrum that other surveys see."""
    edges = FILTERS[band]
    wave = np.linspace(edges.low, edges.high, 60)
    photons = (spectrum(objects, wave, 60.0) * wave).sum(axis=1) * 1e-17
    return np.asarray(photons / ((1 / wave).sum() * 2.99792458e18 * 1e-31))


def model_plane(mosaic: Mosaic, sky: Sky, band: str) -> Plane:
    """The noiseless image, 10 nJy a pixel."""
    objects = mosaic.around(sky).copy()
    x, y = mosaic.pixels(sky, objects["ra"], objects["dec"], band)
    units = band_flux(objects, band)
    objects["mag_z"] = 22.5 - 2.5 * np.log10(units * BRIGHTER / UNITS_PER_NANOMAGGY)
    scale = mosaic.scale(band)
    plane = render(mosaic.shape(band), x, y, objects, "z", FILTERS[band].fwhm / scale, scale)
    plane *= np.float32(UNITS_PER_NANOMAGGY / BRIGHTER)
    return plane


def image_plane(mosaic: Mosaic, sky: Sky, band: str) -> Plane:
    """What was seen: the model with the noise of sky, readout and photons, 0 where there is no data.

    Rounded to a small part of the noise: it is packed in half the time.
    """
    weight, plane = weight_plane(mosaic, sky, band), model_plane(mosaic, sky, band)
    gain = exposure_counts(mosaic, band) * np.float32(int(EXPOSURE_SECONDS) * count_rate(band))
    noise = generator(sky.seed, "pixels", mosaic.name, band).standard_normal(plane.shape, dtype=np.float32)
    noise *= np.float32(sky.noise) * np.sqrt(1 / np.maximum(weight, 1) + plane / np.maximum(gain, 1))
    plane += noise
    plane[weight == 0] = 0
    step = np.float32(2.0 ** np.floor(np.log2(weight.max() ** -0.5 / 16)))
    plane /= step
    np.round(plane, out=plane)
    plane *= step
    return plane


def calibration(band: str) -> dict[str, Any]:
    """The cards from which the count rate follows."""
    area = 2.29e-14 if band in SHORT else 9.31e-14
    return {
        "PHOTSCAL": 1.001401962747847,
        "PHOTFNU": 1e-8,
        "PHOTMJSR": FILTERS[band].photmjsr,
        "PIXAR_SR": area,
        "OPHOTFNU": area * 1e6,
    }


def plane_header(mosaic: Mosaic, sky: Sky, band: str, kind: str) -> fits.Header:
    """The header of a plane, with the cards and in the order of the archive's."""
    header = fits.Header()
    rows, columns = mosaic.shape(band)
    step = 4 if kind == "exp" else 1
    degrees = mosaic.scale(band) / 3600 * step
    header["WCSAXES"] = 2
    header["CRPIX1"], header["CRPIX2"] = (columns / 2 + 0.5) / step, (rows / 2 + 0.5) / step
    header["CD1_1"], header["CD2_2"] = -degrees, degrees
    header["CDELT1"] = header["CDELT2"] = 1.0
    header["CUNIT1"] = header["CUNIT2"] = "deg"
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = mosaic.centre(sky)
    header["LONPOLE"], header["LATPOLE"] = 180.0, mosaic.centre(sky)[1]
    header["RADESYS"] = "ICRS"
    header["CD1_2"] = header["CD2_1"] = 0.0
    header["DRIZKERN"], header["DRIZPIXF"] = "square", 0.75
    header["EXPTIME"], header["NDRIZIM"] = EXPOSURE_SECONDS * len(DITHERS), len(DITHERS)
    header["GRIZLIV"] = "simulated"
    header["TELESCOP"], header["INSTRUME"] = "JWST", "NIRCAM"
    header["FILTER"], header["PUPIL"] = band.upper(), "CLEAR"
    header["PHOTPLAM"] = FILTERS[band].pivot
    header.update(calibration(band))
    header["BUNIT"] = "second" if kind == "exp" else "10.0*nanoJansky"
    if kind == "exp":
        header["SAMPLE"], header["NXORIG"], header["NYORIG"] = step, columns, rows
        header["MOSPSCL"] = mosaic.scale(band)
    return header
