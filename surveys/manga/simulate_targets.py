"""Which simulated galaxies MaNGA observed, with which bundle of fibres, and where its spaxels lie."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from mmu.simulate import Sky
from mmu.simulate.noise import generator

Floats = npt.NDArray[np.float64]

LARGEST_Z, FAINTEST_R, MOST = 0.15, 17.5, 16
SCALE_DEG = 0.000138889  # degrees a spaxel, as the headers round it
SCALE = 0.5  # arcsec
BUNDLES = {19: (34, 12.5), 37: (42, 17.5)}  # fibres: spaxels a side, and diameter in arcsec
LARGE = 4.5  # half-light radius in arcsec from which the larger bundle is used
FIRST_PLATE = 8485
CRITICAL = 1 << 30


@dataclass(frozen=True, eq=False)
class Target:
    """One observation: a galaxy's truth (a row of `OBJECT`), and how it was observed."""

    truth: Any
    plate: int
    design: int
    fibres: int
    number: int

    @property
    def name(self) -> str:
        """PLATEIFU."""
        return f"{self.plate}-{self.design}"

    @property
    def mangaid(self) -> str:
        """The same for all observations of a galaxy."""
        return f"1-{int(self.truth['true_id']) % 1_000_000}"

    @property
    def side(self) -> int:
        """Spaxels a side of the cube."""
        return BUNDLES[self.fibres][0]

    @property
    def offset(self) -> tuple[float, float]:
        """How far the bundle is off the galaxy, arcsec to the east and north: now and then a little."""
        return (0.4, -0.3) if self.number % 5 == 3 else (0.0, 0.0)

    @property
    def ra(self) -> float:
        """Centre of the bundle, degrees."""
        return float(self.truth["ra"]) + self.offset[0] / 3600 / float(np.cos(np.deg2rad(self.truth["dec"])))

    @property
    def dec(self) -> float:
        """Centre of the bundle, degrees."""
        return float(self.truth["dec"]) + self.offset[1] / 3600

    @property
    def quality(self) -> int:
        """DRP3QUAL: one observation is critically bad."""
        return CRITICAL | 1 << 4 if self.number == 2 else 0

    @property
    def tried(self) -> bool:
        """True if the DAP lists it."""
        return self.number != 4

    @property
    def done(self) -> bool:
        """True if the DAP made maps of it."""
        return self.tried and self.number != 5

    @property
    def in_nsa(self) -> bool:
        """False for an ancillary target, which the targeting catalogue lacks."""
        return self.number != 3


@functools.lru_cache(maxsize=16)
def targets(sky: Sky) -> tuple[Target, ...]:
    """All observations, by plate and design; a plate a field, and one that repeats the brightest galaxy."""
    objects = sky.objects()
    wanted = (objects["kind"] == "galaxy") & (objects["z"] < LARGEST_Z) & (objects["mag_r"] < FAINTEST_R)
    galaxies = objects[wanted]
    bright = galaxies[np.argsort(galaxies["mag_r"])][:MOST]
    found = []
    for number, truth in enumerate(bright):
        field = next(i for i, field in enumerate(sky.fields) if field.contains(truth["ra"], truth["dec"]))
        fibres = 37 if truth["r_half_arcsec"] > LARGE and number < MOST // 2 else 19
        found.append(Target(truth, FIRST_PLATE + field, 100 * fibres + number + 1, fibres, number))
    if len(bright):
        found.append(Target(bright[0], FIRST_PLATE + len(sky.fields), 1901, 19, MOST))
    return tuple(sorted(found, key=lambda target: target.name))


def fwhm_arcsec(target: Target, band: str) -> float:
    """Full width at half maximum of the PSF in the cube."""
    return {"g": 2.65, "r": 2.58, "i": 2.54, "z": 2.52}[band] + 0.02 * (target.number % 4)


def positions(target: Target) -> tuple[Floats, Floats]:
    """East and north of the bundle's centre, arcsec, of each spaxel: (ny, nx) each. The centre is spaxel nx / 2."""
    step = (np.arange(target.side) - target.side // 2) * SCALE_DEG * 3600
    north, west = np.meshgrid(step, step, indexing="ij")
    return -west, north


def coverage(target: Target) -> Floats:
    """How well the fibres covered each spaxel, (ny, nx): a hexagon with soft edges; 0 outside."""
    east, north = positions(target)
    angles = np.deg2rad([0, 60, 120])
    reach = np.max([np.abs(east * np.cos(a) + north * np.sin(a)) for a in angles], axis=0)
    radius = BUNDLES[target.fibres][1] / 2 * np.sqrt(3) / 2 + 1.0
    return np.asarray(np.clip((radius - reach) / 1.5, 0, 1))


def velocity(target: Target) -> Floats:
    """Line-of-sight velocity of each spaxel, km/s, (ny, nx): a rotating disc."""
    x, y = elliptical(target)
    incline = np.sqrt(max(0.0, 1 - float(target.truth["axis_ratio"]) ** 2))
    radius = np.hypot(x, y)
    return np.asarray(220 * incline * x / np.hypot(radius, 0.5 * float(target.truth["r_half_arcsec"])))


def elliptical(target: Target) -> tuple[Floats, Floats]:
    """Place of each spaxel in the galaxy's plane, arcsec: along the major axis, and deprojected across it."""
    east, north = positions(target)
    east, north = east + target.offset[0], north + target.offset[1]
    angle = np.deg2rad(float(target.truth["position_angle"]))
    along = north * np.cos(angle) + east * np.sin(angle)
    across = east * np.cos(angle) - north * np.sin(angle)
    return along, across / max(0.15, float(target.truth["axis_ratio"]))


def primary_hdu(sky: Sky, target: Target) -> fits.PrimaryHDU:
    """The header that cube and maps share."""
    hdu = fits.PrimaryHDU()
    cards: dict[str, Any] = {
        "AUTHOR": "simulated", "VERSDRP2": "v3_1_1", "VERSDRP3": "v3_1_1", "TELESCOP": "SDSS 2.5-M",
        "INSTRUME": "MaNGA", "SRVYMODE": "MaNGA dither", "EQUINOX": 2000.0, "RADESYS": "FK5", "NEXP": 9,
        "EXPTIME": 8100.9, "BLUESN2": 22.7, "REDSN2": 54.1, "MJDMED": 57132, "DATE-OBS": "2015-04-20",
        "MNGTARG1": 1 << 10, "MNGTARG2": 0, "MNGTARG3": 0, "IFURA": target.ra, "IFUDEC": target.dec,
        "OBJRA": float(target.truth["ra"]), "OBJDEC": float(target.truth["dec"]), "PLATEID": target.plate,
        "IFUDSGN": str(target.design), "PLATEIFU": target.name, "MANGAID": target.mangaid,
        "DRP3QUAL": target.quality, "EBVGAL": float(target.truth["ebv"]),
    }  # fmt: skip
    hdu.header.update({**cards, **{f"{band.upper()}FWHM": fwhm_arcsec(target, band) for band in "griz"}})
    return hdu


def wcs_cards(target: Target) -> dict[str, Any]:
    """The celestial axes of cube, images and maps: tangent plane, north up, east left."""
    centre = target.side // 2 + 1
    return {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg", "CRPIX1": centre,
        "CRPIX2": centre, "CRVAL1": target.ra, "CRVAL2": target.dec,
    }  # fmt: skip


def rng_of(sky: Sky, target: Target, kind: str) -> np.random.Generator:
    """Random numbers of one file."""
    return generator(sky.seed, "manga", kind, target.plate, target.design)
