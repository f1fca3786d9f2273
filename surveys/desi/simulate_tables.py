"""DESI's tables about many files: exposures, pixels touched by tiles, and the catalogue of all redshifts."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mmu.simulate import Sky
from mmu.simulate.files import records
from mmu.simulate.noise import generator
from surveys.desi.simulate_targets import (
    BIT_COLUMNS,
    COADD_COLUMNS,
    REDSHIFT_COLUMNS,
    TARGET_COLUMNS,
    TSNR2_NAMES,
    Observed,
    Release,
    absent_pair,
    observe,
    pairs,
    pixels_seen,
)


def exposure_table(observed: Observed, spec: Release, sky: Sky, program: str, pixel: int) -> npt.NDArray[np.void]:
    """EXP_FIBERMAP: one row for each exposure of each target."""
    rng = generator(sky.seed, "exposures", spec.root, program, pixel)
    row = np.repeat(np.arange(len(observed.objects)), observed.fibermap["COADD_NUMEXP"])
    n, fibermap, fibre = len(row), observed.fibermap[row], observed.fibre[row]
    night = 20210301 + rng.integers(0, 28, n)
    columns: dict[str, Any] = {
        "TARGETID": fibermap["TARGETID"], "PRIORITY": 2000, "SUBPRIORITY": fibermap["SUBPRIORITY"],
        "NIGHT": night,
        "EXPID": 80000 + (night - 20210301) * 40 + rng.integers(0, 40, n), "MJD": 59274.0 + night - 20210301,
        "TILEID": _tile(program, pixel), "EXPTIME": fibermap["COADD_EXPTIME"] / fibermap["COADD_NUMEXP"],
        "PETAL_LOC": fibre // 500, "DEVICE_LOC": fibre % 500, "LOCATION": fibre // 500 * 1000 + fibre % 500,
        "FIBER": fibre, "FIBERSTATUS": fibermap["COADD_FIBERSTATUS"], "LAMBDA_REF": 5400.0,
        "PLATE_RA": fibermap["PLATE_RA"], "PLATE_DEC": fibermap["PLATE_DEC"], "NUM_ITER": 2,
        "FIBER_RA": fibermap["TARGET_RA"], "FIBER_DEC": fibermap["TARGET_DEC"], "PSF_TO_FIBER_SPECFLUX": 0.78,
    }  # fmt: skip
    dtype = [
        ("TARGETID", "i8"), ("PRIORITY", "i4"), ("SUBPRIORITY", "f8"), ("NIGHT", "i4"), ("EXPID", "i4"),
        ("MJD", "f8"), ("TILEID", "i4"), ("EXPTIME", "f8"), ("PETAL_LOC", "i2"), ("DEVICE_LOC", "i4"),
        ("LOCATION", "i8"), ("FIBER", "i4"), ("FIBERSTATUS", "i4"), ("FIBERASSIGN_X", "f4"),
        ("FIBERASSIGN_Y", "f4"),
        ("LAMBDA_REF", "f4"), ("PLATE_RA", "f8"), ("PLATE_DEC", "f8"), ("NUM_ITER", "i8"), ("FIBER_X", "f8"),
        ("FIBER_Y", "f8"), ("DELTA_X", "f8"), ("DELTA_Y", "f8"), ("FIBER_RA", "f8"), ("FIBER_DEC", "f8"),
        ("PSF_TO_FIBER_SPECFLUX", "f8"),
    ]  # fmt: skip
    return records(dtype, columns, n)


def _tile(program: str, pixel: int) -> int:
    return (1000 if program == "dark" else 20000) + pixel % 1000


def tilepix(spec: Release, sky: Sky) -> npt.NDArray[np.void]:
    """Which tiles and petals touched which pixels.

    All pairs with files, the absent one, and other surveys' pixels.
    """
    found = [(spec.survey, *pair) for pair in pairs(spec, sky)]
    absent = absent_pair(spec, sky)
    found += [(spec.survey, *absent)] if absent else []
    found += [("sv1", "other", pixel) for pixel in pixels_seen(spec, sky)[:2]]
    rows = [(_tile(p, pixel), survey, p, petal, pixel) for survey, p, pixel in found for petal in (pixel % 7, 8, 9)]
    dtype = [("TILEID", "i4"), ("SURVEY", "S7"), ("PROGRAM", "S6"), ("PETAL_LOC", "i2"), ("HEALPIX", "i4")]
    return np.array(rows, dtype=dtype)


def zcatalog(spec: Release, sky: Sky) -> npt.NDArray[np.void]:
    """zall-pix: every spectrum of the release.

    A few rows of another survey, and which spectrum is primary.
    """
    primary = [(f"{stem}_{what}", dtype) for stem in ("SV", "MAIN", "ZCAT")
               for what, dtype in (("NSPEC", "i2"), ("PRIMARY", "?"))]  # fmt: skip
    other = [(f"{prefix}{name}", "i8") for prefix in ("SV1_", "SV2_", "SV3_") for name in BIT_COLUMNS]
    dtype = [
        ("TARGETID", "i8"), ("SURVEY", "S7"), ("PROGRAM", "S6"), ("HEALPIX", "i4"), ("SPGRPVAL", "i4"),
        *REDSHIFT_COLUMNS[1:], ("COADD_FIBERSTATUS", "i4"), ("TARGET_RA", "f8"), ("TARGET_DEC", "f8"),
        *TARGET_COLUMNS, ("CMX_TARGET", "i8"), *other, *[(name, "i8") for name in BIT_COLUMNS],
        *COADD_COLUMNS,
        ("MIN_MJD", "f8"), ("MAX_MJD", "f8"), ("MEAN_MJD", "f8"), *[(name, "f4") for name in TSNR2_NAMES],
        *primary, ("DESINAME", "S22"),
    ]  # fmt: skip
    parts = [_zcatalog_rows(spec, sky, dtype, *pair) for pair in pairs(spec, sky)]
    table = np.concatenate([np.zeros(0, np.dtype(dtype)), *parts])
    stray = table[:10].copy()
    stray["SURVEY"], stray["PROGRAM"] = "special", "dark"
    stray["TSNR2_LRG"] *= 0.1
    own = "SV" if spec.survey == "sv3" else "MAIN"
    _mark_primary(table, own)
    table = np.concatenate([table, stray])
    _mark_primary(table, "ZCAT")
    return table


def _zcatalog_rows(spec: Release, sky: Sky, dtype: list[Any], program: str, pixel: int) -> npt.NDArray[np.void]:
    """The catalogue's rows of one coadd file."""
    observed = observe(spec, sky, program, pixel)
    names = {name[0] for name in dtype}
    columns: dict[str, Any] = {"SURVEY": spec.survey, "PROGRAM": program, "HEALPIX": pixel, "SPGRPVAL": pixel}
    for source in (observed.fibermap, observed.redshifts, observed.tsnr2):
        columns |= {name: source[name] for name in source.dtype.names or () if name in names}
    columns |= {"MIN_MJD": 59274.0, "MAX_MJD": 59302.0, "MEAN_MJD": 59288.0}
    ra, dec = observed.fibermap["TARGET_RA"], observed.fibermap["TARGET_DEC"]
    columns["DESINAME"] = [f"DESI J{a:08.4f}{d:+08.4f}" for a, d in zip(ra, dec, strict=True)]
    return records(dtype, columns, len(ra))


def _mark_primary(table: npt.NDArray[np.void], stem: str) -> None:
    """Mark the best spectrum of each target: ZWARN = 0 first, then the highest TSNR2_LRG; in place."""
    order = np.lexsort((-table["TSNR2_LRG"], table["ZWARN"] != 0, table["TARGETID"]))
    _, first, inverse, count = np.unique(
        table["TARGETID"][order], return_index=True, return_inverse=True, return_counts=True
    )
    table[f"{stem}_PRIMARY"][order[first]] = True
    table[f"{stem}_NSPEC"][order] = count[inverse]
