"""Which simulated objects are in which fibres of which plates, and the light that each fibre gave."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mmu.simulate import Sky
from mmu.simulate.noise import generator, uniform
from mmu.simulate.population import OBJECT
from mmu.simulate.sed import spectrum

Floats = npt.NDArray[np.float64]
Objects = npt.NDArray[np.void]
Planes = dict[str, npt.NDArray[Any]]

SCIENCE, STANDARD, SKY, EMPTY = "SCIENCE", "STANDARD", "SKY", ""
NEARBADPIXEL, FULLREJECT, BRIGHTSKY, COMBINEREJ, SMEARIMAGE = 1 << 16, 1 << 18, 1 << 23, 1 << 25, 1 << 10
SKY_LINES = (5578.9, 5891.6, 6301.7, 6865.0, 7714.0, 8346.0, 8827.0, 9375.0, 9790.0)  # Angstrom, the bright ones


@dataclass(frozen=True)
class Plate:
    """One observation of a plate: what it is called, where it points, and how many of what it was drilled for."""

    plate: int
    mjd: int
    run2d: str
    survey: str
    program: str
    field: int
    galaxies: int
    stars: int
    quality: str = "good"
    first: int = 35793  # k of the first pixel, at 10^(k/10000) Angstrom
    pixels: int = 3857

    @property
    def boss(self) -> bool:
        return not self.run2d.isdigit()

    @property
    def fibres(self) -> int:
        return 1000 if self.boss else 640

    @property
    def wavelength(self) -> Floats:
        return np.asarray(10 ** ((self.first + np.arange(self.pixels)) / 1e4))

    @property
    def dispersion(self) -> Floats:
        """Width of the line-spread function, sigma in pixels, before the fibres' differences."""
        along = np.linspace(-1, 1, self.pixels)
        return np.asarray((1.05 if self.boss else 0.9) + 0.12 * along**2 + 0.08 * along)


# A plate on two nights, with other objects in its fibres; plates with few and with many targets; a bad one.
PLATES = (
    Plate(288, 52000, "26", "sdss", "legacy", 0, 330, 25),
    Plate(288, 51959, "26", "sdss", "legacy", 1, 40, 10, first=35801, pixels=3840),
    Plate(289, 51990, "26", "sdss", "legacy", 0, 30, 10, quality="marginal"),
    Plate(290, 51941, "26", "sdss", "legacy", 0, 20, 10, first=35784, pixels=3866),
    Plate(2393, 54156, "26", "segue1", "segue", 0, 0, 40),
    Plate(2333, 53682, "103", "segue1", "segcluster", 1, 0, 20),
    Plate(3000, 54843, "104", "segue2", "segue2", 0, 0, 40, first=35784, pixels=3866),
    Plate(3000, 54892, "104", "segue2", "segue2", 1, 0, 20),
    Plate(3850, 55575, "v5_13_2", "boss", "boss", 0, 530, 15, first=35512, pixels=4643),
    Plate(3850, 55568, "v5_13_2", "boss", "boss", 1, 30, 5, first=35508, pixels=4650),
    Plate(7230, 56764, "v5_13_2", "eboss", "eboss", 0, 60, 5, first=35527, pixels=4630),
    Plate(10245, 58160, "v5_13_2", "eboss", "eboss", 1, 30, 5, first=35531, pixels=4628),
)
# Of each survey: targets are fainter than this (mag_r), and of these a share, by a lot that each object keeps.
BRIGHTEST = {"sdss": 15.0, "segue1": 15.5, "segue2": 15.5, "boss": 19.7, "eboss": 20.3}
SHARES = {"sdss": (0.0, 1.0), "segue1": (0.0, 0.6), "segue2": (0.5, 1.0), "boss": (0.0, 0.8), "eboss": (0.5, 1.0)}


def plates(release: str) -> list[Plate]:
    """The plates of a survey."""
    return [plate for plate in PLATES if plate.survey == release]


@dataclass(frozen=True)
class Drilled:
    """What is in each fibre, in fibre order: truth (NaN where there is nothing) and what the fibre is for."""

    objects: Objects
    target: npt.NDArray[np.str_]


@functools.lru_cache(maxsize=32)
def drilled(plate: Plate, sky: Sky) -> Drilled:
    """The fibres of a plate: its targets, a few standard stars, blank sky, and fibres that stayed empty."""
    field = sky.fields[min(plate.field, len(sky.fields) - 1)]
    objects = _field(sky, field.ra, field.dec, field.radius_deg)
    keep = objects["mag_r"] > BRIGHTEST[plate.survey]
    lot, (low, high) = uniform(objects["true_id"], sky.seed, "sdss"), SHARES[plate.survey]
    keep &= (lot >= low) & (lot < high)
    star = objects["kind"] == "star"
    of_kind = [
        _brightest(objects[keep & ~star], plate.galaxies),
        _brightest(objects[keep & star], plate.stars + 8),
    ]
    chosen = np.concatenate(of_kind)
    blank = np.zeros(plate.fibres - len(chosen), OBJECT)
    for name in OBJECT.names or ():
        blank[name] = np.nan if OBJECT[name] == np.dtype("f8") else blank[name]
    blank["true_id"] = -1
    rng = generator(sky.seed, "drilled", plate.plate, plate.mjd)
    blank["ra"] = field.ra + rng.uniform(-1, 1, len(blank)) * field.radius_deg / np.cos(np.deg2rad(field.dec))
    blank["dec"] = field.dec + rng.uniform(-1, 1, len(blank)) * field.radius_deg
    standards, blanks = min(8, len(of_kind[1])), np.where(np.arange(len(blank)) < 32, SKY, EMPTY)
    target = np.concatenate([np.full(len(chosen) - standards, SCIENCE), np.full(standards, STANDARD), blanks])
    order = rng.permutation(plate.fibres)
    return Drilled(np.concatenate([chosen, blank])[order], target[order])


@functools.lru_cache(maxsize=4)
def _field(sky: Sky, ra: float, dec: float, radius_deg: float) -> Objects:
    return sky.in_cone(ra, dec, radius_deg)


def _brightest(objects: Objects, count: int) -> Objects:
    return np.asarray(objects[np.lexsort((objects["true_id"], objects["mag_r"]))[:count]])


def fibre_share(objects: Objects, boss: bool) -> Floats:
    """Light in a fibre (3 arcsec across, BOSS 2) relative to a point source's."""
    radius = 1.0 if boss else 1.5
    return np.asarray(1 / (1 + (np.nan_to_num(objects["r_half_arcsec"]) / radius) ** 1.5))


def fibre(plate: Plate, sky: Sky, number: int) -> Planes:
    """What one fibre (from 1) gave: flux, ivar, and_mask, or_mask, wdisp, sky, (L,) each.

    Made one by one, whoever asks: a plate's file and a spectrum's own hold the same bits.
    """
    rng = generator(sky.seed, "fibre", plate.plate, plate.mjd, number)
    one, wave = drilled(plate, sky).objects[number - 1 : number], plate.wavelength
    wdisp = plate.dispersion * (1 + 0.03 * np.sin(number / 40))
    real = one["true_id"][0] >= 0
    light = np.zeros(plate.pixels)
    if real:
        width = wdisp * wave * 1e-4 * np.log(10)
        light = spectrum(one, wave, width)[0] * fibre_share(one, plate.boss)[0]
    depth = 0.6 if plate.boss else 1.2  # noise of a dark pixel, 1e-17 erg/s/cm2/A
    noise = depth * (1 + 2 * np.exp(-(wave - wave[0]) / 250) + 0.5 * np.exp((wave - wave[-1]) / 500))
    lines = np.min([np.abs(wave - line) / line for line in SKY_LINES], axis=0) < 2.5e-4
    sky_flux = 3 * noise + 40 * lines
    noise = np.where(lines, 4 * noise, noise)
    ivar = 1 / (noise**2 + (0.015 * light) ** 2)
    flux = light + sky.noise * rng.standard_normal(plate.pixels) / np.sqrt(ivar)
    return {"flux": flux.astype("f4"), "wdisp": wdisp.astype("f4"), "sky": sky_flux.astype("f4"),
            **_flagged(plate, rng, ivar, lines, light, drilled(plate, sky).target[number - 1])}  # fmt: skip


def _flagged(
    plate: Plate, rng: np.random.Generator, ivar: Floats, lines: npt.NDArray[np.bool_], light: Floats, target: str
) -> Planes:
    """Inverse variance and masks: ends without data, rejected pixels, bright sky, bits for information only."""
    pixels = len(ivar)
    strays, near = rng.random(pixels) < 0.01, rng.random(pixels) < 0.004
    rejected = rng.random(pixels) < 0.0008
    both = np.where(near, np.int64(NEARBADPIXEL), 0) + np.where(lines & (light < 20), BRIGHTSKY, 0)
    both += np.where(rejected, FULLREJECT, 0)
    if not plate.boss and rng.random() < 0.1:
        both += SMEARIMAGE  # a bit of the whole fibre, for information
    ivar[rejected] = 0
    start, stop = int(rng.integers(0, 30)), pixels - int(rng.integers(0, 20))
    ivar[:start] = ivar[stop:] = 0
    if target == EMPTY:
        ivar[:] = 0
    either = both | np.where(strays, COMBINEREJ, 0)
    return {"ivar": ivar.astype("f4"), "and_mask": both.astype("i4"), "or_mask": either.astype("i4")}
