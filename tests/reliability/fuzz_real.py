"""Real files, and the functions of each survey that read such a file: path -> {row's id: its values}."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmu.errors import FormatError
from mmu.fits import open_fits
from mmu.rows import missing
from surveys.desi.archive import _redrock
from surveys.desi.read import merged_spectra, targets
from surveys.gaia.read import read_xp
from surveys.legacysurvey.archive import object_ids, survey_bricks
from surveys.legacysurvey.fitsfile import read_columns, read_plane
from surveys.legacysurvey.read import read_sources

Rows = dict[Any, Any]
Read = Callable[[Path], Rows]


def _coadd(path: Path) -> Rows:
    with open_fits(path) as file:
        listed = targets(file, "FIBERMAP")
        wanted = listed[[str(one) not in missing(listed, listed, "coadd") for one in listed.tolist()]]
        found = vars(merged_spectra(file, wanted))
    return _by_row(wanted, found)


def _redshifts(path: Path) -> Rows:
    plain = path.with_name("redrock-main-dark-100.fits")  # its name says what it is of
    plain.unlink(missing_ok=True)
    plain.symlink_to(path)
    try:
        found = _redrock(plain)
    except FormatError as problem:
        raise FormatError(str(problem).replace(plain.name, path.name)) from problem
    finally:
        plain.unlink()
    return _by_row(found["TARGETID"], {key: found[key] for key in ("ZWARN", "TSNR2_LRG", "TARGET_RA", "TARGET_DEC")})


def _xp(path: Path) -> Rows:
    table = read_xp(path)
    ids = table["source_id"].to_pylist()
    return {one: table.slice(n, 1).to_pylist() for n, one in enumerate(ids) if ids.count(one) == 1}


def _plane(path: Path) -> Rows:
    plane, _ = read_plane(path, "fiu")
    return {path.name: plane[:1900:7, :900:7].copy()}


def _tractor(path: Path) -> Rows:
    table = read_sources(path, "grz", "Z")
    return _by_row(object_ids(table), table)


def _sweep(path: Path) -> Rows:
    table = read_columns(path, ["BRICKNAME", "OBJID", "RA", "DEC", "FLUX_Z", "TYPE", "MASKBITS", "REF_ID"])
    return _by_row(object_ids(table), table)


def _bricks(path: Path) -> Rows:
    table = survey_bricks(path, "grz")
    return _by_row(table["BRICKNAME"], table)


def _by_row(ids: Any, columns: dict[str, Any]) -> Rows:
    """Rows by their id; those whose id comes twice are for the caller to leave out."""
    names = np.asarray(ids).tolist()
    return {
        name: {key: np.asarray(values)[n] for key, values in columns.items()}
        for n, name in enumerate(names)
        if names.count(name) == 1
    }


READERS: dict[str, dict[str, Read]] = {
    "desi": {
        "coadd-4-80613-thru20210324.fits": _coadd,
        "coadd-1-80693-thru20210204.fits": _coadd,
        "redrock-4-80613-thru20210324.fits": _redshifts,
        "redrock-test.fits": _redshifts,
    },
    "gaia": {
        "XP_CONTINUOUS_RAW.csv": _xp,
        "XP_CONTINUOUS_RAW.fits": _xp,
    },
    "legacysurvey": {
        "legacysurvey-0959p805-nexp-g.fits.fz": _plane,
        "tractor-1054p567.fits": _tractor,
        "tractor-3301m002.fits": _sweep,
        "sweep-310m005-320p000.fits": _sweep,
    },
}
