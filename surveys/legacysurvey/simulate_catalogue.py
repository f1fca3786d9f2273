"""The catalogues of the simulated imaging: what Tractor would measure, and the table of bricks."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from mmu.simulate import Sky
from mmu.simulate import bricks as tiling
from mmu.simulate.bricks import PIXELS, SCALE, Brick
from mmu.simulate.files import records
from mmu.simulate.image import psf_norm, psf_sigmas
from mmu.simulate.noise import generator
from mmu.simulate.photometry import nanomaggies
from mmu.simulate.sky import source_id
from surveys.legacysurvey.simulate_planes import (
    EXPOSURE_IVAR,
    Release,
    exposure_plane,
    fwhm_arcsec,
    mask_plane,
)

Floats = npt.NDArray[np.float64]
Objects = npt.NDArray[np.void]

DUST = {"g": 3.214, "r": 2.165, "i": 1.592, "z": 1.211, "W1": 0.184, "W2": 0.113, "W3": 0.0241, "W4": 0.00910}
WISE = ("W1", "W2", "W3", "W4")
WISE_IVAR = {"W1": 3.0, "W2": 0.7, "W3": 0.002, "W4": 2e-5}  # 1/nanomaggy^2
ASTROMETRY = 0.010  # arcsec


def sweep_dtype(spec: Release) -> list[Any]:
    """Columns of a sweep."""
    bands = [band.upper() for band in spec.bands]
    every = [*bands, *WISE]

    def each(stem: str, names: list[str], dtype: str = "f4") -> list[Any]:
        return [(f"{stem}_{name}", dtype) for name in names]

    return [
        ("RELEASE", "i2"), ("BRICKID", "i4"), ("BRICKNAME", "S8"), ("OBJID", "i4"), ("TYPE", "S3"),
        ("RA", "f8"),
        ("DEC", "f8"), ("RA_IVAR", "f4"), ("DEC_IVAR", "f4"), ("DCHISQ", "f4", (5,)), ("EBV", "f4"),
        *each("FLUX", every), *each("FLUX_IVAR", every), *each("MW_TRANSMISSION", every),
        *each("NOBS", every, "i2"),
        *each("RCHISQ", every), *each("FRACFLUX", every), *each("FRACMASKED", bands), *each("FRACIN", bands),
        *each("ANYMASK", bands, "i2"), *each("ALLMASK", bands, "i2"), *each("WISEMASK", ["W1", "W2"], "u1"),
        *each("PSFSIZE", bands), *each("PSFDEPTH", [*bands, "W1", "W2"]), *each("GALDEPTH", bands),
        ("WISE_COADD_ID", "S8"),
        *[(name, "f4") for stem in ("SHAPE_R", "SHAPE_E1", "SHAPE_E2") for name in (stem, f"{stem}_IVAR")],
        *each("FIBERFLUX", bands), *each("FIBERTOTFLUX", bands),
        ("REF_CAT", "S2"), ("REF_ID", "i8"), ("REF_EPOCH", "f4"),
        *[(f"GAIA_PHOT_{b}_MEAN_{what}", "f4") for b in ("G", "BP", "RP") for what in ("MAG",
        "FLUX_OVER_ERROR")],
        ("GAIA_ASTROMETRIC_EXCESS_NOISE", "f4"), ("GAIA_DUPLICATED_SOURCE", "?"),
        ("GAIA_PHOT_BP_RP_EXCESS_FACTOR", "f4"), ("GAIA_ASTROMETRIC_SIGMA5D_MAX", "f4"),
        ("GAIA_ASTROMETRIC_PARAMS_SOLVED", "u1"),
        *[(name, "f4") for stem in ("PARALLAX", "PMRA", "PMDEC") for name in (stem, f"{stem}_IVAR")],
        ("MASKBITS", spec.mask_dtype), ("FITBITS", "i2"), ("SERSIC", "f4"), ("SERSIC_IVAR", "f4"),
    ]  # fmt: skip


@functools.lru_cache(maxsize=32)
def tractor_table(spec: Release, sky: Sky, brick: Brick) -> npt.NDArray[np.void]:
    """Everything detected on a brick's image.

    With BRICK_PRIMARY, BX and BY appended to the sweep's columns.
    """
    objects, _, _ = tiling.members(sky, brick)
    rng = generator(sky.seed, "catalogue", spec.folder, brick.id)
    n = len(objects)
    ra = objects["ra"] + rng.normal(0, ASTROMETRY / 3600, n) / np.cos(np.deg2rad(objects["dec"]))
    dec = objects["dec"] + rng.normal(0, ASTROMETRY / 3600, n)
    bx, by = brick.project(ra, dec)
    pixel = (np.clip(np.rint(by), 0, PIXELS - 1).astype(int), np.clip(np.rint(bx), 0, PIXELS - 1).astype(int))
    columns: dict[str, Any] = {
        "RELEASE": spec.number, "BRICKID": brick.id, "BRICKNAME": brick.name, "OBJID": np.arange(n), "RA": ra,
        "DEC": dec, "RA_IVAR": (3600 / ASTROMETRY) ** 2, "DEC_IVAR": (3600 / ASTROMETRY) ** 2,
        "EBV": objects["ebv"],
        "MASKBITS": mask_plane(spec, sky, brick)[pixel], "BRICK_PRIMARY": brick.contains(ra, dec), "BX": bx,
        "BY": by,
        "WISE_COADD_ID": brick.name, **_shapes(rng, objects), **_gaia(objects), **_infrared(rng, objects),
    }  # fmt: skip
    chisq = np.zeros(n)
    for band in spec.bands:
        columns |= _photometry(spec, sky, brick, band, objects, pixel, rng)
        chisq += columns[f"FLUX_{band.upper()}"] ** 2 * columns[f"FLUX_IVAR_{band.upper()}"]
    columns["DCHISQ"] = chisq[:, None] * np.array([0.90, 0.95, 0.98, 0.99, 1.0])
    dtype = [*sweep_dtype(spec), ("BRICK_PRIMARY", "?"), ("BX", "f4"), ("BY", "f4")]
    return records(dtype, columns, n)


def _photometry(
    spec: Release, sky: Sky, brick: Brick, band: str, objects: Objects, pixel: Any, rng: np.random.Generator
) -> dict[str, Any]:
    """Columns of one optical band: truth plus the noise that FLUX_IVAR promises."""
    name, n = band.upper(), len(objects)
    fwhm = fwhm_arcsec(spec, sky, brick, band)
    exposures = exposure_plane(spec, sky, brick, band)[pixel]
    size = np.where(objects["kind"] == "star", 0.0, np.nan_to_num(objects["r_half_arcsec"])) / SCALE
    area = 1 / psf_norm(fwhm / SCALE)
    depth = exposures * EXPOSURE_IVAR[band] / area
    galaxy = exposures * EXPOSURE_IVAR[band] / (area + 4 * np.pi * (0.45 / SCALE) ** 2)
    ivar = exposures * EXPOSURE_IVAR[band] / (area + 4 * np.pi * size**2)
    flux = nanomaggies(objects[f"mag_{band}"]) + rng.normal(0, 1, n) / np.sqrt(np.maximum(ivar, 1e-9))
    flux = np.where(exposures > 0, flux, 0.0)
    sigma = psf_sigmas(fwhm)[0]
    fibre = flux * (1 - np.exp(-0.5 * 0.75**2 / (sigma**2 + (0.6 * size * SCALE) ** 2)))
    masked = np.where(exposures == 0, 256, 0)
    return {
        f"FLUX_{name}": flux, f"FLUX_IVAR_{name}": ivar, f"NOBS_{name}": exposures, f"PSFSIZE_{name}": fwhm,
        f"MW_TRANSMISSION_{name}": 10 ** (-0.4 * DUST[band] * objects["ebv"]), f"PSFDEPTH_{name}": depth,
        f"GALDEPTH_{name}": galaxy, f"RCHISQ_{name}": rng.chisquare(200, n) / 200, f"FIBERFLUX_{name}": fibre,
        f"FIBERTOTFLUX_{name}": fibre * (1 + 0.1 * rng.random(n) ** 4),
        f"FRACFLUX_{name}": 0.1 * rng.random(n) ** 3,
        f"FRACMASKED_{name}": 0.05 * rng.random(n) ** 3, f"FRACIN_{name}": 1 - 0.05 * rng.random(n) ** 3,
        f"ANYMASK_{name}": masked, f"ALLMASK_{name}": masked,
    }  # fmt: skip


def _shapes(rng: np.random.Generator, objects: Objects) -> dict[str, Any]:
    """TYPE and the shape columns: the model that Tractor would choose for each galaxy."""
    star = objects["kind"] == "star"
    index = np.nan_to_num(objects["sersic_n"], nan=1.0)
    radius = np.where(star, 0.0, np.nan_to_num(objects["r_half_arcsec"]))
    ratio = np.nan_to_num(objects["axis_ratio"], nan=1.0)
    small = (radius < 0.45) & (objects["mag_z"] > 20.3)
    choices = [star, small, np.abs(index - 1.0) < 0.2, np.abs(index - 4.0) < 0.4]
    kind = np.select(choices, [b"PSF", b"REX", b"EXP", b"DEV"], b"SER")
    ellipticity = np.where(star | small, 0.0, (1 - ratio) / (1 + ratio))
    angle = np.deg2rad(2 * np.nan_to_num(objects["position_angle"]))
    error = np.clip(0.002 * 10 ** (0.3 * (objects["mag_z"] - 18)), 0.001, 0.1)
    noise = rng.normal(0, 1, (3, len(objects))) * error
    extended, shaped = ~star, ~(star | small)
    return {
        "TYPE": kind, "SERSIC": np.select(choices, [0.0, 1.0, 1.0, 4.0], index),
        "SERSIC_IVAR": np.where(kind == b"SER", (5 * error) ** -2, 0.0),
        "SHAPE_R": radius * np.where(extended, 1 + noise[0], 0),
        "SHAPE_E1": ellipticity * np.cos(angle) + np.where(shaped, noise[1], 0),
        "SHAPE_E2": ellipticity * np.sin(angle) + np.where(shaped, noise[2], 0),
        "SHAPE_R_IVAR": np.where(extended, (np.maximum(radius, 0.05) * error) ** -2, 0.0),
        "SHAPE_E1_IVAR": np.where(shaped, error**-2, 0.0), "SHAPE_E2_IVAR": np.where(shaped, error**-2, 0.0),
    }  # fmt: skip


def _gaia(objects: Objects) -> dict[str, Any]:
    """What the catalogue copies from Gaia for the stars Gaia sees."""
    seen = (objects["kind"] == "star") & (objects["mag_G"] < 21)

    def take(values: npt.ArrayLike) -> npt.NDArray[Any]:
        return np.where(seen, np.nan_to_num(values), 0)

    error = np.clip(0.02 * 10 ** (0.2 * (np.nan_to_num(objects["mag_G"], nan=20.0) - 13)), 0.02, None)
    columns: dict[str, Any] = {
        "REF_CAT": np.where(seen, b"GE", b""), "REF_ID": take(source_id(objects)),
        "REF_EPOCH": take(2016.0 + 0 * error),
        "GAIA_ASTROMETRIC_PARAMS_SOLVED": take(31 + 0 * error), "GAIA_ASTROMETRIC_SIGMA5D_MAX": take(error),
        "GAIA_PHOT_BP_RP_EXCESS_FACTOR": take(1.2 + 0 * error),
    }  # fmt: skip
    for name, truth in (("PARALLAX", "parallax_mas"), ("PMRA", "pmra"), ("PMDEC", "pmdec")):
        columns |= {name: take(objects[truth]), f"{name}_IVAR": take(error**-2)}
    for band in ("G", "BP", "RP"):
        columns[f"GAIA_PHOT_{band}_MEAN_MAG"] = take(objects[f"mag_{band}"])
        columns[f"GAIA_PHOT_{band}_MEAN_FLUX_OVER_ERROR"] = take(10 / error)
    return columns


def _infrared(rng: np.random.Generator, objects: Objects) -> dict[str, Any]:
    """Forced photometry on WISE: an extrapolation of r - z, redder for what is red."""
    columns: dict[str, Any] = {}
    colour = np.clip(objects["mag_r"] - objects["mag_z"], 0, 3)
    for band, slope, offset in zip(WISE, (1.1, 0.8, 0.3, 0.1), (0.5, 0.2, 0.0, 0.0), strict=True):
        truth = nanomaggies(objects["mag_z"] - np.where(objects["kind"] == "star", -0.8, slope * colour - 0.5 + offset))
        noise = rng.normal(0, WISE_IVAR[band] ** -0.5, len(objects))
        columns |= {
            f"FLUX_{band}": truth + noise, f"FLUX_IVAR_{band}": WISE_IVAR[band], f"NOBS_{band}": 120,
            f"MW_TRANSMISSION_{band}": 10 ** (-0.4 * DUST[band] * objects["ebv"]), f"RCHISQ_{band}": 1.0,
        }  # fmt: skip
    return columns


def brick_table(spec: Release, sky: Sky) -> npt.NDArray[np.void]:
    """The table of bricks of a release, one row each."""
    tiles = spec.tiles(sky)
    bands = list(spec.bands)

    def each(stem: str, dtype: str, *shape: Any) -> list[Any]:
        return [(f"{stem}_{band}", dtype, *shape) for band in bands]

    counts = ("nobjs", "npsf", "nsimp", "nrex", "nexp", "ndev", "ncomp", "nser", "ndup")
    dtype = [
        ("brickname", "S8"), ("ra", "f8"), ("dec", "f8"), *each("nexp", "i2"), *each("nexphist", "i4", (11,)),
        *[(name, "i4") for name in counts], *each("psfsize", "f4"), *each("psfdepth", "f4"),
        *each("galdepth", "f4"),
        ("ebv", "f4"), *each("trans", "f4"), *each("cosky", "f4"), *each("ext", "f4"),
        ("wise_nobs", "i2", (4,)),
        ("trans_wise", "f4", (4,)), *[(f"ext_{band.lower()}", "f4") for band in WISE], ("brickid", "i4"),
        *[(name, "f8") for name in ("ra1", "ra2", "dec1", "dec2", "area")], ("survey_primary", "?"),
        ("in_desi", "?"),
    ]  # fmt: skip
    table = records(dtype, {"survey_primary": True, "in_desi": True, "wise_nobs": 120}, len(tiles))
    for row, brick in zip(table, tiles, strict=True):
        _fill_brick(row, spec, sky, brick)
    return table


def _fill_brick(row: np.void, spec: Release, sky: Sky, brick: Brick) -> None:
    """One row of the table of bricks, in place."""
    objects, _, _ = tiling.members(sky, brick)
    row["brickname"], row["ra"], row["dec"], row["brickid"] = brick.name, brick.ra, brick.dec, brick.id
    row["ra1"], row["ra2"], row["dec1"], row["dec2"] = brick.bounds
    row["area"] = brick.width * 0.25 * np.cos(np.deg2rad(brick.dec))
    row["nobjs"], row["npsf"] = len(objects), int((objects["kind"] == "star").sum())
    row["ebv"] = objects["ebv"].mean() if objects.size else 0.0
    for band in spec.bands:
        exposures = exposure_plane(spec, sky, brick, band)
        histogram = np.array([np.count_nonzero(exposures == number) for number in range(11)])
        fwhm = fwhm_arcsec(spec, sky, brick, band)
        depth = 2.0 * EXPOSURE_IVAR[band] * psf_norm(fwhm / SCALE)
        row[f"nexp_{band}"], row[f"psfsize_{band}"] = (
            int(np.searchsorted(np.cumsum(histogram), PIXELS**2 / 2)),
            fwhm,
        )
        row[f"nexphist_{band}"] = histogram
        row[f"psfdepth_{band}"] = 22.5 - 2.5 * np.log10(5 / np.sqrt(depth))
        row[f"galdepth_{band}"] = row[f"psfdepth_{band}"] - 0.3
        row[f"ext_{band}"] = DUST[band] * row["ebv"]
        row[f"trans_{band}"] = 10 ** (-0.4 * row[f"ext_{band}"])
    for place, band in enumerate(WISE):
        row[f"ext_{band.lower()}"] = DUST[band] * row["ebv"]
        row["trans_wise"][place] = 10 ** (-0.4 * DUST[band] * row["ebv"])
