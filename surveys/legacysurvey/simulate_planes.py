"""The coadded images of a simulated brick: what each pixel saw, how well, and what masks it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from mmu.simulate import Sky
from mmu.simulate import bricks as tiling
from mmu.simulate.bricks import PIXELS, SCALE, Brick
from mmu.simulate.files import compressed_hdu
from mmu.simulate.image import render
from mmu.simulate.noise import generator

Floats = npt.NDArray[np.float64]
Plane = npt.NDArray[np.float32]
Objects = npt.NDArray[np.void]

NORTH_OF = 32.375  # degrees: where DR9 north takes over from the DECam surveys
EXPOSURE_IVAR = {"g": 24000.0, "r": 11000.0, "i": 4500.0, "z": 1700.0}  # 1/nanomaggy^2 a pixel and exposure
MOST_EXPOSURES = 5
SEEING = {"g": 1.35, "r": 1.22, "i": 1.12, "z": 1.15}  # arcsec FWHM
SATURATION = {"g": 15.5, "r": 15.5, "i": 15.0, "z": 14.5}  # magnitude
MASK_BITS = {
    "NPRIMARY": 0,
    "BRIGHT": 1,
    "SATUR_G": 2,
    "SATUR_R": 3,
    "SATUR_Z": 4,
    "ALLMASK_G": 5,
    "ALLMASK_R": 6,
    "ALLMASK_Z": 7,
    "WISEM1": 8,
    "WISEM2": 9,
    "BAILOUT": 10,
    "MEDIUM": 11,
    "GALAXY": 12,
    "CLUSTER": 13,
    "SATUR_I": 14,
    "ALLMASK_I": 15,
    "SUB_BLOB": 16,
}
MASK_CARDS = (
    "NPRIM",
    "BRIGH",
    "SAT_G",
    "SAT_R",
    "SAT_Z",
    "ALL_G",
    "ALL_R",
    "ALL_Z",
    "WISE1",
    "WISE2",
    "BAIL",
    "MED",
    "GAL",
    "CLUST",
    "SAT_I",
    "ALL_I",
    "SUB",
)


@dataclass(frozen=True)
class Release:
    """What differs between releases."""

    folder: str
    bricks: str
    sweep: str
    number: int
    bands: str
    north: bool
    mask_dtype: str
    mask_bits: int
    lower_case: bool

    def tiles(self, sky: Sky) -> list[Brick]:
        """The bricks of this release."""
        return [brick for brick in tiling.bricks(sky) if (brick.dec >= NORTH_OF) == self.north]


RELEASES = {
    "dr10_south_21": Release("dr10/south", "survey-bricks-dr10-south.fits.gz", "sweep/10.1", 10000, "griz",
    False,
                              "i4", 17, True),
    "dr9_north_21": Release("dr9/north", "survey-bricks-dr9-north.fits.gz", "sweep/9.0", 9011, "grz", True,
                             "i2", 14, False),
}  # fmt: skip


def fwhm_arcsec(spec: Release, sky: Sky, brick: Brick, band: str) -> float:
    """Seeing of a brick in a band, arcsec."""
    jitter = generator(sky.seed, "seeing", spec.folder, brick.id, band).uniform(-0.08, 0.08)
    return SEEING[band] * (1 + jitter)


def exposure_plane(spec: Release, sky: Sky, brick: Brick, band: str) -> npt.NDArray[np.int16]:
    """Exposures that cover each pixel, (3600, 3600).

    Overlapping detectors, a dead column, at times a bare edge.
    """
    rng = generator(sky.seed, "exposures", spec.folder, brick.id, band)
    count = np.full((PIXELS, PIXELS), 2, np.int16)
    for _ in range(MOST_EXPOSURES - 2):
        low, high = np.sort(rng.integers(0, PIXELS, (2, 2)), axis=0)
        count[low[0] : high[0], low[1] : high[1]] += 1
    column, row = rng.integers(300, 3200), rng.integers(0, 1800)
    count[row : row + 1500, column : column + 6] = 0
    if rng.random() < 0.5:
        count[:, -30:] = 0
    return count


def ivar_plane(spec: Release, sky: Sky, brick: Brick, band: str) -> Plane:
    """Inverse variance of each pixel, (3600, 3600), 1/nanomaggy^2; 0 where there is no data."""
    return exposure_plane(spec, sky, brick, band).astype(np.float32) * np.float32(EXPOSURE_IVAR[band])


@functools.lru_cache(maxsize=4)
def model_plane(spec: Release, sky: Sky, brick: Brick, band: str) -> Plane:
    """The noiseless image, (3600, 3600), nanomaggies a pixel."""
    objects, x, y = tiling.around(sky, brick)
    fwhm = fwhm_arcsec(spec, sky, brick, band) / SCALE
    plane = render((PIXELS, PIXELS), x, y, objects, band, fwhm, SCALE)
    plane.flags.writeable = False
    return plane


def image_plane(spec: Release, sky: Sky, brick: Brick, band: str) -> Plane:
    """What the survey saw: model plus noise that matches the inverse variance, 0 where there is no data."""
    ivar = ivar_plane(spec, sky, brick, band)
    rng = generator(sky.seed, "pixels", spec.folder, brick.id, band)
    noise = rng.standard_normal((PIXELS, PIXELS), dtype=np.float32)
    noise *= np.float32(sky.noise)
    noise /= np.sqrt(np.maximum(ivar, 1.0))
    noise += model_plane(spec, sky, brick, band)
    noise[ivar == 0] = 0.0
    return noise


@functools.lru_cache(maxsize=2)
def mask_plane(spec: Release, sky: Sky, brick: Brick) -> npt.NDArray[Any]:
    """MASKBITS of each pixel, (3600, 3600)."""
    mask = np.where(brick.primary_pixels(), 0, 1 << MASK_BITS["NPRIMARY"]).astype(spec.mask_dtype)
    for band in spec.bands:
        mask[exposure_plane(spec, sky, brick, band) == 0] |= 1 << MASK_BITS[f"ALLMASK_{band.upper()}"]
    objects, x, y = tiling.around(sky, brick)
    for name, radius in _mask_radii(spec, objects).items():
        for index in np.flatnonzero(radius > 0):
            _paint(mask, float(x[index]), float(y[index]), float(radius[index]), 1 << MASK_BITS[name])
    mask.flags.writeable = False
    return mask


def _mask_radii(spec: Release, objects: Objects) -> dict[str, Floats]:
    """Radius in pixels of the disc that each object masks, by bit name; 0 for most."""
    star = objects["kind"] == "star"
    halo = 1630.0 * 1.396 ** -np.where(star, objects["mag_G"], 99.0) / SCALE
    radii = {
        "BRIGHT": np.where(star & (objects["mag_G"] < 13), 0.5 * halo, 0.0),
        "MEDIUM": np.where(star & (objects["mag_G"] < 16), halo, 0.0),
        "WISEM1": np.where(star & (objects["mag_z"] < 12.5), 0.8 * halo, 0.0),
        "WISEM2": np.where(star & (objects["mag_z"] < 12.0), 0.6 * halo, 0.0),
        "GALAXY": np.where(~star & (objects["mag_r"] < 16.5), 3.0 * objects["r_half_arcsec"] / SCALE, 0.0),
    }
    for band in spec.bands:
        excess = SATURATION[band] - objects[f"mag_{band}"]
        radii[f"SATUR_{band.upper()}"] = np.where(star & (excess > 0), 3.0 + 3.0 * excess, 0.0)
    return {name: np.nan_to_num(radius) for name, radius in radii.items()}


def _paint(mask: npt.NDArray[Any], x: float, y: float, radius: float, value: int) -> None:
    """Set bits within `radius` pixels of a position, in place."""
    rows = np.arange(max(0, int(y - radius)), min(PIXELS, int(y + radius) + 2))
    columns = np.arange(max(0, int(x - radius)), min(PIXELS, int(x + radius) + 2))
    if rows.size and columns.size:
        inside = (rows[:, None] - y) ** 2 + (columns[None, :] - x) ** 2 <= radius**2
        mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1][inside] |= value


def mask_hdus(spec: Release, sky: Sky, brick: Brick) -> Iterator[fits.CompImageHDU]:
    """MASKBITS and the two WISE masks, with the cards that explain the bits."""
    mask = mask_plane(spec, sky, brick)
    header = coadd_header(spec, brick, "maskbits", "")
    for card, (name, bit) in zip(MASK_CARDS[: spec.mask_bits], MASK_BITS.items(), strict=False):
        header[f"MB_{card}"] = (1 << bit, f"{name} mask bit")
        header[f"MBIT_{bit}"] = (name, f"maskbits bit {bit} (0x{1 << bit:x})")
    header["EXTNAME"] = "MASKBITS"
    yield compressed_hdu(mask, header, "HCOMPRESS_1")
    for name in ("WISEM1", "WISEM2"):
        header = coadd_header(spec, brick, "maskbits", "")
        header["EXTNAME"] = name
        yield compressed_hdu((mask >> MASK_BITS[name] & 1).astype(np.uint8), header, "HCOMPRESS_1")


def coadd_header(spec: Release, brick: Brick, kind: str, band: str) -> fits.Header:
    """The cards of a coadd that a reader may want, in the archive's order."""
    header = fits.Header()
    ra1, ra2, dec1, dec2 = brick.bounds
    header["SURVEY"] = ("DECaLS" if not spec.north else "DECaLS+BASS+MzLS", "The LegacySurveys")
    header["DRVERSIO"] = (spec.number, "LegacySurveys Data Release number")
    header["BRICK"] = (brick.name, "LegacySurveys brick RRRr[pm]DDd")
    header["BRICKID"] = (brick.id, "LegacySurveys brick id")
    for key, value in (("RAMIN", ra1), ("RAMAX", ra2), ("DECMIN", dec1), ("DECMAX", dec2)):
        header[key] = (value, "[deg] Brick limit")
    header["CENTRA"], header["CENTDEC"] = brick.ra, brick.dec
    header["BANDS"] = (spec.bands, "Bands touching this brick")
    header["NBANDS"] = len(spec.bands)
    if band:
        header["FILTER"], header["EXTNAME"] = band, f"{kind.upper()}_{band.upper()}"
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = brick.ra, brick.dec
    header["CRPIX1"] = header["CRPIX2"] = PIXELS / 2 + 0.5
    header["CD1_1"], header["CD1_2"], header["CD2_1"], header["CD2_2"] = -SCALE / 3600, 0.0, 0.0, SCALE / 3600
    header["EQUINOX"] = 2000.0
    header["IMTYPE"] = (kind, "LegacySurveys image type")
    if kind == "image":
        header["MAGZERO"], header["BUNIT"] = 22.5, "nanomaggy"
    elif kind == "invvar":
        header["BUNIT"] = "1/nanomaggy^2"
    return header
