"""The simulated sky as MaNGA's archive serves it: two summary tables, and a cube and maps for each galaxy observed.

Paths are relative to https://data.sdss.org/sas/ . The brightest nearby galaxies are observed with bundles of 19 or 37
fibres; the brightest of all twice, on two plates. One is not in the DAP's catalogue, one could not be analysed; neither
has maps.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from mmu.simulate import Sky
from mmu.simulate.files import records, table_hdu, write_fits
from mmu.simulate.noise import uniform
from mmu.simulate.photometry import nanomaggies
from surveys.manga.simulate_cube import cube_hdus
from surveys.manga.simulate_maps import DAPTYPE, map_hdus
from surveys.manga.simulate_targets import CRITICAL, Target, fwhm_arcsec, targets

REDUX, ANALYSIS = "dr17/manga/spectro/redux/v3_1_1", "dr17/manga/spectro/analysis/v3_1_1/3.1.0"
DRPALL, DAPALL = f"{REDUX}/drpall-v3_1_1.fits", f"{ANALYSIS}/dapall-v3_1_1-3.1.0.fits"
DAPTYPES = ("SPX-MILESHC-MASTARSSP", "VOR10-MILESHC-MASTARSSP", DAPTYPE, "HYB10-MILESHC-MASTARHC2")
RELEASES = ("manga", "manga_spaxels")
MISSING = -9999.0

_PATH = re.compile(r"/manga-(\d+-\d+)-(LOGCUBE|MAPS-[A-Z0-9-]+)\.fits\.gz$")
_DRPALL_COLUMNS: list[Any] = [
    ("plate", "i8"), ("ifudsgn", "S12"), ("plateifu", "S11"), ("mangaid", "S11"), ("versdrp2", "S8"),
    ("versdrp3", "S8"), ("srvymode", "S12"), *[(f"ifu{name}", "f8") for name in ("ra", "dec", "glon", "glat")],
    ("objra", "f8"), ("objdec", "f8"), ("ebvgal", "f8"), ("nexp", "i8"), ("exptime", "f8"), ("drp3qual", "i8"),
    ("bluesn2", "f8"), ("redsn2", "f8"), ("harname", "S53"), ("mjdmin", "i8"), ("mjdmed", "i8"), ("mjdmax", "i8"),
    *[(f"{band}fwhm", "f8") for band in "griz"], *[(f"mngtarg{number}", "i8") for number in (1, 2, 3)],
    ("ifudesignsize", "i8"), ("z", "f8"), ("nsa_nsaid", "i8"), ("nsa_iauname", "S19"), ("nsa_z", "f8"),
    ("nsa_zdist", "f8"), *[(f"nsa_sersic_{name}", "f8") for name in ("n", "ba", "phi", "th50")],
    ("nsa_elpetro_ba", "f8"), ("nsa_elpetro_phi", "f8"), ("nsa_elpetro_th50_r", "f8"), ("nsa_elpetro_mass", "f8"),
    ("nsa_elpetro_flux", "f8", (7,)), ("nsa_elpetro_absmag", "f8", (7,)),
]  # fmt: skip
_DAPALL_COLUMNS: list[Any] = [
    ("PLATE", "i8"), ("IFUDESIGN", "i8"), ("PLATEIFU", "S12"), ("MANGAID", "S10"), ("DRPALLINDX", "i8"),
    ("MODE", "S4"), ("DAPTYPE", "S30"), ("DAPDONE", "?"), ("OBJRA", "f8"), ("OBJDEC", "f8"), ("IFURA", "f8"),
    ("IFUDEC", "f8"), ("Z", "f8"), ("NSA_Z", "f8"), ("DRP3QUAL", "i8"), ("DAPQUAL", "i8"), ("BINSNR", "f8"),
    ("STELLAR_SIGMA_1RE", "f8"), ("EMLINE_GFLUX_1RE", "f8", (35,)), ("SFR_1RE", "f8"), ("SFR_TOT", "f8"),
]  # fmt: skip


def files(release: str, sky: Sky) -> dict[str, int]:
    """Every file of the simulated archive, with its approximate size in bytes; both releases are made of the same."""
    if release not in RELEASES:
        msg = f"manga has no simulated release {release!r}; allowed are {', '.join(RELEASES)}"
        raise ValueError(msg)
    found = {DRPALL: 40_000, DAPALL: 60_000}
    for target in targets(sky):
        size = target.side**2
        found[f"{REDUX}/{target.plate}/stack/manga-{target.name}-LOGCUBE.fits.gz"] = 6500 * size
        if target.done:
            found[_maps_path(target)] = 1500 * size
    return found


def write(path: str, sky: Sky, destination: Path) -> None:
    """Write one file of the simulated archive, named as in `files`."""
    match = _PATH.search(path)
    if path not in files("manga", sky):
        msg = f"{path!r} is not in the simulated MaNGA archive; allowed are the paths files() lists"
        raise FileNotFoundError(msg)
    if match is None:
        write_fits(destination, drpall(sky) if path == DRPALL else dapall(sky))
        return
    target = next(target for target in targets(sky) if target.name == match[1])
    make = cube_hdus if match[2] == "LOGCUBE" else map_hdus
    write_fits(destination, make(sky, target), compress=True, level=1)


def _maps_path(target: Target) -> str:
    folder = f"{ANALYSIS}/{DAPTYPE}/{target.plate}/{target.design}"
    return f"{folder}/manga-{target.name}-MAPS-{DAPTYPE}.fits.gz"


def drpall(sky: Sky) -> list[fits.BinTableHDU]:
    """HDUs of the summary table of the DRP: the galaxies, and the stars of another survey on the same plates."""
    found = targets(sky)
    truth = np.array([target.truth for target in found])
    known = np.array([target.in_nsa for target in found], dtype=bool)
    n = len(found)
    columns: dict[str, Any] = {
        "plate": [target.plate for target in found], "ifudsgn": [str(target.design) for target in found],
        "plateifu": [target.name for target in found], "mangaid": [target.mangaid for target in found],
        "versdrp2": b"v3_1_1", "versdrp3": b"v3_1_1", "srvymode": b"MaNGA dither", "harname": b"ma015-56685-1.par",
        "ifura": [target.ra for target in found], "ifudec": [target.dec for target in found],
        "objra": [target.truth["ra"] for target in found], "objdec": [target.truth["dec"] for target in found],
        "ebvgal": [target.truth["ebv"] for target in found], "nexp": 9, "exptime": 8100.9,
        "drp3qual": [target.quality for target in found], "bluesn2": 22.7, "redsn2": 54.1, "mjdmin": 57132,
        "mjdmed": 57132, "mjdmax": 57133, "mngtarg1": 1 << 10, "mngtarg3": 0,
        "ifudesignsize": [target.fibres for target in found], "nsa_nsaid": np.arange(n),
        "z": [target.truth["z"] for target in found],
        **{f"{band}fwhm": [fwhm_arcsec(target, band) for target in found] for band in "griz"},
    }  # fmt: skip
    if n:
        columns |= _nsa(truth, known)
    galaxies = records(_DRPALL_COLUMNS, columns, n)
    stars = records(_DRPALL_COLUMNS[:8], {"plate": 9000, "plateifu": b"9000-701", "mangaid": b"3-1"}, 1)
    return [table_hdu(galaxies, "MANGA"), table_hdu(stars, "MASTAR")]


def _nsa(truth: Any, known: Any) -> dict[str, Any]:
    """Columns of the targeting catalogue, -9999 for a galaxy that is not in it."""
    flux = np.stack([nanomaggies(truth[f"mag_{band}"]) for band in "gggggriz"[1:]], axis=1)
    columns = {
        "nsa_z": truth["z"], "nsa_zdist": truth["z"], "nsa_sersic_n": truth["sersic_n"],
        "nsa_sersic_ba": truth["axis_ratio"], "nsa_sersic_phi": truth["position_angle"],
        "nsa_sersic_th50": truth["r_half_arcsec"], "nsa_elpetro_ba": truth["axis_ratio"],
        "nsa_elpetro_phi": truth["position_angle"], "nsa_elpetro_th50_r": truth["r_half_arcsec"],
        "nsa_elpetro_mass": 10 ** truth["log_stellar_mass"] * 0.7**2, "nsa_elpetro_flux": flux,
        "nsa_elpetro_absmag": 22.5 - 2.5 * np.log10(flux) - 38.0,
    }  # fmt: skip
    masked = {
        name: np.where(known.reshape(-1, *[1] * (values.ndim - 1)), values, MISSING) for name, values in columns.items()
    }
    names = [f"J{row['ra']:010.6f}{row['dec']:+08.4f}"[:19] for row in truth]
    return masked | {"nsa_iauname": np.where(known, names, "")}


def dapall(sky: Sky) -> list[fits.BinTableHDU]:
    """HDUs of the summary table of the DAP: one a type of analysis, for the galaxies that were tried."""
    tried = [target for target in targets(sky) if target.tried]
    hdus = []
    for daptype in DAPTYPES:
        columns: dict[str, Any] = {
            "PLATE": [target.plate for target in tried], "IFUDESIGN": [target.design for target in tried],
            "PLATEIFU": [target.name for target in tried], "MANGAID": [target.mangaid for target in tried],
            "MODE": b"CUBE", "DAPTYPE": daptype.encode(), "DAPDONE": [target.done for target in tried],
            "DRPALLINDX": [targets(sky).index(target) for target in tried],
            "IFURA": [target.ra for target in tried], "IFUDEC": [target.dec for target in tried],
            "Z": [target.truth["z"] for target in tried], "DRP3QUAL": [target.quality for target in tried],
            "DAPQUAL": [CRITICAL if target.quality else 0 for target in tried], "BINSNR": 10.0,
            "SFR_TOT": [10 ** target.truth["log_sfr"] for target in tried],
            "STELLAR_SIGMA_1RE": 100.0 + uniform(np.arange(len(tried)), sky.seed, "manga", "sigma"),
        }  # fmt: skip
        # the archive sorts each type in its own way: rows are matched by name
        rows = records(_DAPALL_COLUMNS, columns, len(tried))[::-1]
        hdus.append(table_hdu(np.ascontiguousarray(rows), daptype))
    return hdus


__all__ = ["files", "write"]
