"""Which simulated objects DESI observed, and what the tables of one coadd file say about them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mmu.simulate import Sky
from mmu.simulate.files import records
from mmu.simulate.noise import generator
from mmu.simulate.photometry import nanomaggies
from mmu.simulate.population import OBJECT
from mmu.simulate.sed import KM_S
from mmu.simulate.sky import healpix, source_id
from mmu.simulate.targets import NORTH_OF, identities
from mmu.simulate.targets import chosen as targeted

Floats = npt.NDArray[np.float64]
Objects = npt.NDArray[np.void]

ORDER = 6  # nside 64
PROGRAMS = ("bright", "dark")
TYPICAL_TSNR2 = {"bright": 28.0, "dark": 90.0}  # TSNR2_LRG
TRACERS = ("GPBDARK", "ELG", "GPBBRIGHT", "LYA", "BGS", "GPBBACKUP", "QSO", "LRG")
TRACER_SHARE = {
    "GPBDARK": 120.0,
    "ELG": 1.5,
    "GPBBRIGHT": 25.0,
    "LYA": 0.8,
    "BGS": 90.0,
    "GPBBACKUP": 190.0,
    "QSO": 0.4,
    "LRG": 1.0,
}  # TSNR2 of a tracer relative to TSNR2_LRG
STELLAR_FIBRE_SHARE = 0.77  # of a point source's light enters a fibre
SKY_BIT = 1 << 59
SMALL_DELTA_CHI2, NODATA, UNPLUGGED = 1 << 2, 1 << 9, 1 << 1


@dataclass(frozen=True)
class Release:
    """What differs between releases."""

    root: str
    catalogue: str
    survey: str
    north: bool
    unsigned_mask: bool


RELEASES = {
    "dr1_main": Release("dr1/spectro/redux/iron", "zcatalog/v1/zall-pix-iron.fits", "main", True, False),
    "edr_sv3": Release("edr/spectro/redux/fuji", "zcatalog/zall-pix-fuji.fits", "sv3", False, True),
}


@functools.lru_cache(maxsize=16)
def pixels_seen(spec: Release, sky: Sky) -> tuple[int, ...]:
    """The nside-64 pixels that hold objects this release can see."""
    fields = [field for field in sky.fields if spec.north or field.dec < NORTH_OF]
    cells = Sky(sky.seed, tuple(fields)).cells()
    pixels = np.unique(cells >> 2 * (8 - ORDER))
    return tuple(int(pixel) for pixel in pixels if len(sky.in_healpix(ORDER, [pixel])))


def absent_pair(spec: Release, sky: Sky) -> tuple[str, int] | None:
    """The pair that was observed but whose files the archive lacks."""
    pixels = pixels_seen(spec, sky)
    return ("bright", pixels[0]) if len(pixels) > 1 else None


def pairs(spec: Release, sky: Sky) -> list[tuple[str, int]]:
    """Program and pixel of every coadd file in the archive."""
    found = [(program, pixel) for program in PROGRAMS for pixel in pixels_seen(spec, sky)]
    return [pair for pair in found if pair != absent_pair(spec, sky)]


def chosen(spec: Release, sky: Sky, program: str, pixel: int) -> Objects:
    """Truth of the targets observed in one program and pixel, ordered by true_id."""
    objects = sky.in_healpix(ORDER, [pixel])
    return np.asarray(objects[targeted(sky, objects, spec.survey, program)])


@dataclass(frozen=True)
class Observed:
    """One coadd file's targets.

    Truth (sky fibres last, with NaN truth) and the tables that the files share.
    """

    objects: Objects
    fibermap: npt.NDArray[np.void]
    redshifts: npt.NDArray[np.void]
    tsnr2: npt.NDArray[np.void]
    fibre: npt.NDArray[np.int64]


@functools.lru_cache(maxsize=32)
def observe(spec: Release, sky: Sky, program: str, pixel: int) -> Observed:
    """Everything about one coadd file but its spectra."""
    rng = generator(sky.seed, "desi", spec.root, program, pixel)
    targets = chosen(spec, sky, program, pixel)
    blank = _sky_positions(rng, sky, pixel, max(2, len(targets) // 20))
    objects = np.concatenate([targets, blank])
    n = len(objects)
    fibermap = _fibermap(spec, sky, rng, program, objects)
    order = np.argsort(fibermap["TARGETID"])
    objects, fibermap = objects[order], fibermap[order]
    lrg = TYPICAL_TSNR2[program] * rng.lognormal(0, 0.3, n)
    tsnr2 = _tsnr2(rng, lrg, fibermap["TARGETID"])
    redshifts = _redshifts(rng, objects, fibermap, lrg)
    return Observed(objects, fibermap, redshifts, tsnr2, rng.choice(5000, n, replace=False))


def _sky_positions(rng: np.random.Generator, sky: Sky, pixel: int, count: int) -> Objects:
    """Positions of sky fibres in a pixel, near where the targets are; all but ra and dec is NaN."""
    blank = np.zeros(count, OBJECT)
    for name in OBJECT.names or ():
        if OBJECT[name] == np.dtype("f8"):
            blank[name] = np.nan
    objects = sky.in_healpix(ORDER, [pixel])
    near = objects[rng.integers(0, len(objects), count)]
    blank["ra"], blank["dec"] = near["ra"], near["dec"] + 0.002
    outside = healpix(blank, ORDER) != pixel
    blank["dec"][outside] -= 0.002
    blank["true_id"], blank["ebv"] = -1, near["ebv"]
    return blank


TARGET_COLUMNS: list[Any] = [
    ("PMRA", "f4"), ("PMDEC", "f4"), ("REF_EPOCH", "f4"), ("FA_TARGET", "i8"), ("FA_TYPE", "u1"),
    ("OBJTYPE", "S3"),
    ("SUBPRIORITY", "f8"), ("OBSCONDITIONS", "i4"), ("RELEASE", "i2"), ("BRICKNAME", "S8"), ("BRICKID", "i4"),
    ("BRICK_OBJID", "i4"), ("MORPHTYPE", "S4"), ("EBV", "f4"),
    *[(f"FLUX_{band}", "f4") for band in ("G", "R", "Z", "W1", "W2")],
    *[(f"FLUX_IVAR_{band}", "f4") for band in ("G", "R", "Z", "W1", "W2")],
    *[(f"{stem}_{band}", "f4") for stem in ("FIBERFLUX", "FIBERTOTFLUX") for band in "GRZ"],
    ("MASKBITS", "i2"), ("SERSIC", "f4"), ("SHAPE_R", "f4"), ("SHAPE_E1", "f4"), ("SHAPE_E2", "f4"),
    ("REF_ID", "i8"),
    ("REF_CAT", "S2"), *[(f"GAIA_PHOT_{band}_MEAN_MAG", "f4") for band in ("G", "BP", "RP")],
    ("PARALLAX", "f4"),
    ("PHOTSYS", "S1"), ("PRIORITY_INIT", "i8"), ("NUMOBS_INIT", "i8"),
]  # fmt: skip
COADD_COLUMNS: list[Any] = [
    ("PLATE_RA", "f8"), ("PLATE_DEC", "f8"), ("COADD_NUMEXP", "i2"), ("COADD_EXPTIME", "f4"),
    ("COADD_NUMNIGHT", "i2"), ("COADD_NUMTILE", "i2"), ("MEAN_DELTA_X", "f4"), ("RMS_DELTA_X", "f4"),
    ("MEAN_DELTA_Y", "f4"), ("RMS_DELTA_Y", "f4"), ("MEAN_PSF_TO_FIBER_SPECFLUX", "f4"),
    ("MEAN_FIBER_RA", "f8"),
    ("STD_FIBER_RA", "f4"), ("MEAN_FIBER_DEC", "f8"), ("STD_FIBER_DEC", "f4"),
]  # fmt: skip
BIT_COLUMNS = ("DESI_TARGET", "BGS_TARGET", "MWS_TARGET", "SCND_TARGET")
TSNR2_NAMES = [f"TSNR2_{tracer}{arm}" for arm in ("_B", "_R", "_Z", "") for tracer in TRACERS]
REDSHIFT_COLUMNS: list[Any] = [
    ("TARGETID", "i8"), ("Z", "f8"), ("ZERR", "f8"), ("ZWARN", "i8"), ("CHI2", "f8"), ("COEFF", "f8", (10,)),
    ("NPIXELS", "i8"), ("SPECTYPE", "S6"), ("SUBTYPE", "S20"), ("NCOEFF", "i8"), ("DELTACHI2", "f8"),
]  # fmt: skip


def _fibermap_dtype(spec: Release) -> list[Any]:
    """Columns of a coadd's FIBERMAP."""
    bits = [(f"SV3_{name}", "i8") for name in BIT_COLUMNS] if spec.survey == "sv3" else []
    first = [("TARGETID", "i8"), ("COADD_FIBERSTATUS", "i4"), ("TARGET_RA", "f8"), ("TARGET_DEC", "f8")]
    return [*first, *TARGET_COLUMNS, *bits, *[(name, "i8") for name in BIT_COLUMNS], *COADD_COLUMNS]


def _fibermap(
    spec: Release, sky: Sky, rng: np.random.Generator, program: str, objects: Objects
) -> npt.NDArray[np.void]:
    """FIBERMAP rows: who the targets are, what the imaging says about them, how they were observed."""
    n, blank, star = len(objects), objects["true_id"] < 0, objects["kind"] == "star"
    known = identities(sky)
    names = known[np.clip(np.searchsorted(known["true_id"], objects["true_id"]), 0, len(known) - 1)]
    release = np.where(objects["dec"] >= NORTH_OF, 9011, 9010).astype(np.int64)
    target = (release << 42) | (names["BRICKID"].astype(np.int64) << 22) | names["BRICK_OBJID"]
    target = np.where(blank, SKY_BIT | rng.integers(0, 1 << 41, n), target)
    exposures = rng.integers(1, 5, n)
    bad = rng.random(n) < 0.03
    bits = 1 << (60 if program == "bright" else 0)
    columns: dict[str, Any] = {
        "TARGETID": target, "COADD_FIBERSTATUS": np.where(bad, UNPLUGGED << 8, 0), "TARGET_RA": objects["ra"],
        "TARGET_DEC": objects["dec"], "FA_TYPE": np.where(blank, 4, 1),
        "OBJTYPE": np.where(blank, b"SKY", b"TGT"),
        "SUBPRIORITY": rng.random(n), "OBSCONDITIONS": 4 if program == "bright" else 1, "RELEASE": release,
        "BRICKID": names["BRICKID"], "BRICKNAME": names["BRICKNAME"], "BRICK_OBJID": names["BRICK_OBJID"],
        "FA_TARGET": bits, "EBV": objects["ebv"], "PHOTSYS": np.where(release == 9011, b"N", b"S"),
        "PRIORITY_INIT": 2000, "NUMOBS_INIT": 2, "PLATE_RA": objects["ra"], "PLATE_DEC": objects["dec"],
        "COADD_NUMEXP": exposures, "COADD_EXPTIME": exposures * (180.0 if program == "bright" else 900.0),
        "COADD_NUMNIGHT": np.minimum(exposures, 2), "COADD_NUMTILE": 1, "MEAN_PSF_TO_FIBER_SPECFLUX": 0.78,
        "RMS_DELTA_X": 0.004, "RMS_DELTA_Y": 0.004, "MEAN_DELTA_X": rng.normal(0, 0.002, n),
        "MEAN_DELTA_Y": rng.normal(0, 0.002, n), "MEAN_FIBER_RA": objects["ra"] + rng.normal(0, 1e-5, n),
        "MEAN_FIBER_DEC": objects["dec"] + rng.normal(0, 1e-5, n), "STD_FIBER_RA": 0.1, "STD_FIBER_DEC": 0.1,
        "REF_EPOCH": np.where(star, 2016.0, 2015.5), **_imaging(rng, objects),
    }  # fmt: skip
    prefix = "SV3_" if spec.survey == "sv3" else ""
    columns[f"{prefix}DESI_TARGET"] = np.where(blank, 1 << 32, bits)
    return records(_fibermap_dtype(spec), columns, n)


def _imaging(rng: np.random.Generator, objects: Objects) -> dict[str, Any]:
    """Columns that targeting copied from the imaging catalogues."""
    star, blank = objects["kind"] == "star", objects["true_id"] < 0
    fibre = STELLAR_FIBRE_SHARE * fibre_share(objects)
    columns: dict[str, Any] = {
        "MORPHTYPE": np.select([blank, star, objects["sersic_n"] > 2.5], [b"", b"PSF", b"DEV"], b"EXP"),
        "SERSIC": np.nan_to_num(objects["sersic_n"]), "SHAPE_R": np.nan_to_num(objects["r_half_arcsec"]),
        "REF_CAT": np.where(star, b"G2", b""), "REF_ID": np.where(star, source_id(objects), 0),
        "PMRA": np.nan_to_num(objects["pmra"]), "PMDEC": np.nan_to_num(objects["pmdec"]),
        "PARALLAX": np.nan_to_num(objects["parallax_mas"]),
    }  # fmt: skip
    ratio = np.nan_to_num(objects["axis_ratio"], nan=1.0)
    angle = np.deg2rad(2 * np.nan_to_num(objects["position_angle"]))
    columns["SHAPE_E1"] = (1 - ratio) / (1 + ratio) * np.cos(angle)
    columns["SHAPE_E2"] = (1 - ratio) / (1 + ratio) * np.sin(angle)
    for band, ivar in (("G", 900.0), ("R", 400.0), ("Z", 80.0), ("W1", 3.0), ("W2", 0.7)):
        truth = np.nan_to_num(nanomaggies(objects[f"mag_{band.lower() if band in 'GRZ' else 'z'}"]))
        flux = truth + rng.normal(0, ivar**-0.5, len(objects)) * ~blank
        columns |= {f"FLUX_{band}": flux, f"FLUX_IVAR_{band}": np.where(blank, 0.0, ivar)}
        if band in "GRZ":
            columns |= {f"FIBERFLUX_{band}": flux * fibre, f"FIBERTOTFLUX_{band}": flux * fibre}
    for band in ("G", "BP", "RP"):
        columns[f"GAIA_PHOT_{band}_MEAN_MAG"] = np.nan_to_num(objects[f"mag_{band}"])
    return columns


def fibre_share(objects: Objects) -> Floats:
    """Light in a fibre relative to a point source's.

    1 for stars, less for large galaxies, 0 for blank sky.
    """
    share = 1 / (1 + (np.nan_to_num(objects["r_half_arcsec"]) / 0.9) ** 1.5)
    return np.asarray(np.where(objects["true_id"] < 0, 0.0, share))


def _tsnr2(rng: np.random.Generator, lrg: Floats, target: npt.NDArray[np.int64]) -> npt.NDArray[np.void]:
    """TSNR2 of every tracer and arm; the sums over arms stand last."""
    columns: dict[str, Any] = {"TARGETID": target}
    for tracer in TRACERS:
        total = lrg if tracer == "LRG" else lrg * TRACER_SHARE[tracer] * rng.lognormal(0, 0.05, len(lrg))
        for arm, share in (("_B", 0.01), ("_R", 0.42), ("_Z", 0.57), ("", 1.0)):
            columns[f"TSNR2_{tracer}{arm}"] = total * share
    return records([("TARGETID", "i8"), *[(name, "f4") for name in TSNR2_NAMES]], columns, len(lrg))


def _redshifts(
    rng: np.random.Generator, objects: Objects, fibermap: npt.NDArray[np.void], lrg: Floats
) -> npt.NDArray[np.void]:
    """What redrock found: the truth within its error, and at times a failure that ZWARN admits."""
    n, blank, star = len(objects), objects["true_id"] < 0, objects["kind"] == "star"
    truth = np.where(star, np.nan_to_num(objects["radial_velocity"]) / KM_S, np.nan_to_num(objects["z"]))
    signal = np.nan_to_num(nanomaggies(objects["mag_r"])) * fibre_share(objects) * np.sqrt(lrg)
    failed = (rng.random(n) < 0.25 * np.exp(-signal / 12.0) + 0.01) | blank
    zwarn = np.where(failed, SMALL_DELTA_CHI2, 0) | np.where(fibermap["COADD_FIBERSTATUS"] != 0, NODATA, 0)
    error = 3e-5 * (1 + truth) / np.clip(np.sqrt(signal / 30.0), 0.3, 3.0)
    z = np.where(failed, rng.uniform(0.0, 1.6, n), truth + rng.normal(0, 1, n) * error)
    columns: dict[str, Any] = {
        "TARGETID": fibermap["TARGETID"], "Z": z, "ZERR": error, "ZWARN": zwarn, "NPIXELS": 7920,
        "CHI2": rng.normal(8000, 130, n), "DELTACHI2": np.where(failed, rng.uniform(0, 9, n),
        20 + 30 * signal),
        "SPECTYPE": np.where(star, b"STAR", b"GALAXY"), "NCOEFF": np.where(star, 5, 10),
        "SUBTYPE": np.where(star, np.where(np.nan_to_num(objects["teff"]) < 3900, b"M", b"G"), b""),
        "COEFF": rng.normal(0, 100, (n, 10)) * np.where(star[:, None], np.arange(10) < 5, True),
    }  # fmt: skip
    return records(REDSHIFT_COLUMNS, columns, n)
