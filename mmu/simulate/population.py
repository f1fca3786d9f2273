"""The objects of one patch of sky.

Galaxies that follow the known scaling relations, and stars of the Milky Way.

Apparent magnitudes are drawn from number counts, so a survey's depth decides how many objects it sees; mass
and distance then follow from the magnitude, and everything else from mass, redshift and temperature.
"""

from __future__ import annotations

import functools
import io

import healpy as hp
import numpy as np
import numpy.typing as npt

from mmu import kept
from mmu.simulate.photometry import magnitudes
from mmu.simulate.sed import luminosity_distance_mpc, universe_age_gyr

Floats = npt.NDArray[np.float64]
Objects = npt.NDArray[np.void]

ORDER = 8  # HEALPix order of the cells that are drawn as one
GALAXIES_PER_DEG2 = 28000.0  # to z = 22.5; about a quarter of them brighter than z = 21
STARS_PER_DEG2 = 4000.0  # 12 < G < 21
BRIGHT_GALAXY, FAINT_GALAXY, GALAXY_SLOPE = 15.5, 22.5, 0.4  # z magnitude, dlog10(N)/dm
BRIGHT_STAR, FAINT_STAR, STAR_SLOPE = 12.0, 21.0, 0.15  # G magnitude
MAGNITUDES = ("g", "r", "i", "z", "G", "BP", "RP")

OBJECT = np.dtype(
    [("true_id", "i8"), ("kind", "U6"), ("ra", "f8"), ("dec", "f8"), ("ebv", "f8"), ("z", "f8")]
    + [(name, "f8") for name in ("log_stellar_mass", "log_sfr", "age_gyr", "metallicity", "dust_ebv")]
    + [(name, "f8") for name in ("sersic_n", "r_half_arcsec", "axis_ratio", "position_angle")]
    + [(name, "f8") for name in ("teff", "logg", "feh", "parallax_mas", "pmra", "pmdec", "radial_velocity")]
    + [(f"mag_{band}", "f8") for band in MAGNITUDES]
)
UNITS = {
    "ra": "deg",
    "dec": "deg",
    "ebv": "mag",
    "log_stellar_mass": "log10(solMass)",
    "log_sfr": "log10(solMass/yr)",
    "age_gyr": "Gyr",
    "metallicity": "log10(solar)",
    "dust_ebv": "mag",
    "r_half_arcsec": "arcsec",
    "position_angle": "deg east of north",
    "teff": "K",
    "logg": "log10(cm/s2)",
    "feh": "dex",
    "parallax_mas": "mas",
    "pmra": "mas/yr",
    "pmdec": "mas/yr",
    "radial_velocity": "km/s",
    **{f"mag_{band}": "mag" for band in MAGNITUDES},
}


def galactic_ebv(ra: npt.ArrayLike, dec: npt.ArrayLike) -> Floats:
    """Reddening E(B-V) of the Milky Way at a position (degrees).

    A smooth field of a few hundredths, same shape.
    """
    x, y = np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64)
    return np.asarray(0.035 + 0.012 * np.sin(9.0 * x + 2.0 * y) + 0.010 * np.cos(13.0 * y - 4.0 * x))


@functools.lru_cache(maxsize=128)
def cell_objects(seed: int, cell: int) -> Objects:
    """Every object of one order-8 nested HEALPix cell, (N,) of `OBJECT`, galaxies first; do not modify it."""
    place = kept.place("sky", None, seed, cell)
    if place is not None and place.exists():
        objects: Objects = np.load(place)
    else:
        objects = _made(seed, cell)
        if place is not None:
            kept.keep(place, lambda draft: draft.write_bytes(_bytes(objects)))
    objects.flags.writeable = False
    return objects


def _bytes(objects: Objects) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, objects, allow_pickle=False)
    return buffer.getvalue()


def _made(seed: int, cell: int) -> Objects:
    rng = np.random.default_rng(np.random.SeedSequence([seed, cell]))
    area = hp.nside2pixarea(2**ORDER, degrees=True)
    galaxies = _galaxies(rng, _positions(rng, cell, rng.poisson(GALAXIES_PER_DEG2 * area)))
    stars = _stars(rng, _positions(rng, cell, rng.poisson(STARS_PER_DEG2 * area)))
    objects = np.concatenate([galaxies, stars])
    objects["true_id"] = (cell << 20) + np.arange(len(objects))
    return objects


def _positions(rng: np.random.Generator, cell: int, count: int) -> Objects:
    """`count` objects spread evenly over a cell, all other columns NaN: equal-area pixels make this exact."""
    objects = np.zeros(count, OBJECT)
    for name in OBJECT.names or ():
        if OBJECT[name] == np.dtype("f8"):
            objects[name] = np.nan
    pixels = (cell << 42) + rng.integers(0, 1 << 42, count)
    objects["ra"], objects["dec"] = hp.pix2ang(2**29, pixels, nest=True, lonlat=True)
    objects["ebv"] = galactic_ebv(objects["ra"], objects["dec"])
    return objects


def _counts(rng: np.random.Generator, count: int, bright: float, faint: float, slope: float) -> Floats:
    """Magnitudes drawn from counts that grow as 10**(slope m), (count,)."""
    low, high = 10 ** (slope * bright), 10 ** (slope * faint)
    return np.asarray(np.log10(low + rng.random(count) * (high - low)) / slope)


def _galaxies(rng: np.random.Generator, galaxies: Objects) -> Objects:
    """Fill the physical columns of galaxies: redshift and mass from the magnitude, the rest from the mass."""
    n = len(galaxies)
    galaxies["kind"] = "galaxy"
    magnitude = _counts(rng, n, BRIGHT_GALAXY, FAINT_GALAXY, GALAXY_SLOPE)
    z = 0.065 * 10 ** (0.156 * (magnitude - 16.0)) * rng.gamma(2.0, 1.0, n) ** (2 / 3)
    z = galaxies["z"] = np.where(z > 1.4, 1.4 * rng.uniform(0.5, 1, n), np.maximum(z, 0.012))
    modulus = 25 + 5 * np.log10(luminosity_distance_mpc(z))
    rough_mass = np.clip(0.4 * (4.5 + modulus - magnitude) + 0.1, 7.5, 12.0)
    quiescent = rng.random(n) < 0.8 / (1 + 10 ** ((10.75 - rough_mass) / 0.35))
    ssfr = -9.85 - 0.25 * (rough_mass - 10.5) + 2.6 * np.log10(1 + z) + rng.normal(0, 0.3, n)
    ssfr = np.where(quiescent, -12.0 + rng.normal(0, 0.3, n), ssfr)
    age = universe_age_gyr(z) * np.clip(np.where(quiescent, 0.72, 0.4) + rng.normal(0, 0.08, n), 0.12, 0.92)
    galaxies["age_gyr"] = age
    galaxies["metallicity"] = np.clip(0.35 * (rough_mass - 10.7) + rng.normal(0, 0.1, n), -1.3, 0.35)
    dust = np.where(quiescent, 0.02, 0.12 + 0.08 * (rough_mass - 10.0)) * rng.lognormal(0, 0.4, n)
    galaxies["dust_ebv"] = np.clip(dust, 0.0, 0.6)
    _structure(rng, galaxies, rough_mass, quiescent)
    galaxies["log_stellar_mass"], galaxies["log_sfr"] = 10.0, 10.0 + ssfr
    seen = magnitudes(galaxies, MAGNITUDES[:4])
    wanted = magnitude + 1.211 * galaxies["ebv"]
    mass = 10.0 + 0.4 * (seen[:, 3] - wanted)
    for column, band in enumerate(MAGNITUDES[:4]):
        galaxies[f"mag_{band}"] = seen[:, column] + (wanted - seen[:, 3])
    galaxies["log_stellar_mass"], galaxies["log_sfr"] = mass, mass + ssfr
    return galaxies


def _structure(rng: np.random.Generator, galaxies: Objects, mass: Floats, quiescent: npt.NDArray[np.bool_]) -> None:
    """Sizes, profiles and orientations.

    Discs larger and flatter, spheroids smaller and steeper (van der Wel 2014).
    """
    n, z = len(galaxies), galaxies["z"]
    disc = 0.86 + 0.22 * (mass - 10.7) - 0.75 * np.log10(1 + z) + rng.normal(0, 0.16, n)
    spheroid = 0.60 + 0.60 * (mass - 10.7) - 1.0 * np.log10(1 + z) + rng.normal(0, 0.12, n)
    kpc = 10 ** np.where(quiescent, np.maximum(spheroid, -0.3), disc)
    kpc_per_arcsec = luminosity_distance_mpc(z) / (1 + z) ** 2 * 1e3 / 206264.8
    galaxies["r_half_arcsec"] = np.clip(kpc / kpc_per_arcsec, 0.1, 10.0)
    index = np.where(quiescent, rng.normal(3.8, 0.7, n), 10 ** rng.normal(0.05, 0.12, n))
    galaxies["sersic_n"] = np.clip(index, 0.5, 6.0)
    galaxies["axis_ratio"] = np.where(quiescent, rng.uniform(0.5, 1, n), rng.uniform(0.2, 1, n))
    galaxies["position_angle"] = rng.uniform(0, 180, n)


def _stars(rng: np.random.Generator, stars: Objects) -> Objects:
    """Fill the physical columns of stars: distance from the apparent magnitude, motion from the distance."""
    n = len(stars)
    stars["kind"] = "star"
    family = rng.choice(5, n, p=[0.33, 0.30, 0.31, 0.02, 0.04])  # M, K, FG, A dwarfs and giants
    low = np.array([2950.0, 3900.0, 5200.0, 7500.0, 4000.0])[family]
    high = np.array([3900.0, 5200.0, 6900.0, 9800.0, 5100.0])[family]
    stars["teff"] = rng.uniform(low, high)
    dwarf = 4.45 - 0.45 * (stars["teff"] - 5500.0) / 2500.0 + rng.normal(0, 0.08, n)
    stars["logg"] = np.where(family == 4, 2.6 + rng.normal(0, 0.4, n), np.clip(dwarf, 3.8, 5.2))
    stars["feh"] = np.clip(rng.normal(-0.3, 0.35, n), -2.5, 0.5)
    stars["radial_velocity"] = rng.normal(0, 40, n)
    stars["parallax_mas"] = 100.0  # at 10 pc first
    seen = magnitudes(stars, MAGNITUDES)
    shift = _counts(rng, n, BRIGHT_STAR, FAINT_STAR, STAR_SLOPE) - seen[:, 4]
    stars["parallax_mas"] = 100.0 * 10 ** (-0.2 * shift)
    for column, band in enumerate(MAGNITUDES):
        stars[f"mag_{band}"] = seen[:, column] + shift
    speed = 35.0 * stars["parallax_mas"] / 4.74  # one component of the motion, mas/yr
    stars["pmra"], stars["pmdec"] = speed * rng.normal(-0.2, 1, n), speed * rng.normal(-0.3, 1, n)
    return stars
