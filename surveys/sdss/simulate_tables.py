"""The catalogue of all simulated spectra, specObj: the archive's columns, widths and padding."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from mmu.simulate import Sky
from mmu.simulate.files import records
from mmu.simulate.noise import generator
from mmu.simulate.photometry import nanomaggies
from mmu.simulate.sed import KM_S, velocity_dispersion
from surveys.sdss.simulate_plates import EMPTY, PLATES, SCIENCE, Drilled, Plate, drilled, fibre_share

Table = npt.NDArray[np.void]

SMALL_DELTA_CHI2, UNPLUGGED = 1 << 2, 1 << 7
_COLUMNS = """
SURVEY:S6 INSTRUMENT:S4 CHUNK:S16 PROGRAMNAME:S23 PLATERUN:S16 PLATEQUALITY:S8 PLATESN2:f4 DEREDSN2:f4 LAMBDA_EFF:f4
BLUEFIBER:i4 ZOFFSET:f4 SNTURNOFF:f4 NTURNOFF:i4 SPECPRIMARY:u1 SPECSDSS:u1 SPECLEGACY:u1 SPECSEGUE:u1 SPECSEGUE1:u1
SPECSEGUE2:u1 SPECBOSS:u1 BOSS_SPECOBJ_ID:i4 SPECOBJID:S22 FLUXOBJID:S19 BESTOBJID:S19 TARGETOBJID:S22 PLATEID:S19
NSPECOBS:i2 FIRSTRELEASE:S4 RUN2D:S7 RUN1D:S7 DESIGNID:i4 CX:f8 CY:f8 CZ:f8 XFOCAL:f4 YFOCAL:f4 SOURCETYPE:S21
TARGETTYPE:S8 THING_ID_TARGETING:i8 THING_ID:i4 PRIMTARGET:i4 SECTARGET:i4 LEGACY_TARGET1:i4 LEGACY_TARGET2:i4
SPECIAL_TARGET1:i8 SPECIAL_TARGET2:i8 SEGUE1_TARGET1:i4 SEGUE1_TARGET2:i4 SEGUE2_TARGET1:i4 SEGUE2_TARGET2:i4
MARVELS_TARGET1:i4 MARVELS_TARGET2:i4 BOSS_TARGET1:i8 BOSS_TARGET2:i8 EBOSS_TARGET0:i8 EBOSS_TARGET1:i8
EBOSS_TARGET2:i8 EBOSS_TARGET_ID:i8 ANCILLARY_TARGET1:i8 ANCILLARY_TARGET2:i8 SPECTROGRAPHID:i2 PLATE:i4 TILE:i4 MJD:i4
FIBERID:i4 OBJID:5i4 PLUG_RA:f8 PLUG_DEC:f8 CLASS:S6 SUBCLASS:S21 Z:f4 Z_ERR:f4 RCHI2:f4 DOF:i4 RCHI2DIFF:f4 TFILE:S24
TCOLUMN:10i4 NPOLY:i4 THETA:10f4 VDISP:f4 VDISP_ERR:f4 VDISPZ:f4 VDISPZ_ERR:f4 VDISPCHI2:f4 VDISPNPIX:f4 VDISPDOF:i4
WAVEMIN:f4 WAVEMAX:f4 WCOVERAGE:f4 ZWARNING:i4 SN_MEDIAN_ALL:f4 SN_MEDIAN:5f4 CHI68P:f4 FRACNSIGMA:10f4 FRACNSIGHI:10f4
FRACNSIGLO:10f4 SPECTROFLUX:5f4 SPECTROFLUX_IVAR:5f4 SPECTROSYNFLUX:5f4 SPECTROSYNFLUX_IVAR:5f4 SPECTROSKYFLUX:5f4
ANYANDMASK:i4 ANYORMASK:i4 SPEC1_G:f4 SPEC1_R:f4 SPEC1_I:f4 SPEC2_G:f4 SPEC2_R:f4 SPEC2_I:f4 ELODIE_FILENAME:S25
ELODIE_OBJECT:S21 ELODIE_SPTYPE:S10 ELODIE_BV:f4 ELODIE_TEFF:f4 ELODIE_LOGG:f4 ELODIE_FEH:f4 ELODIE_Z:f4
ELODIE_Z_ERR:f4 ELODIE_Z_MODELERR:f4 ELODIE_RCHI2:f4 ELODIE_DOF:i4 Z_NOQSO:f4 Z_ERR_NOQSO:f4 ZNUM_NOQSO:i4
ZWARNING_NOQSO:i4 CLASS_NOQSO:S6 SUBCLASS_NOQSO:S21 RCHI2DIFF_NOQSO:f4 Z_PERSON:f4 CLASS_PERSON:i4 Z_CONF_PERSON:i4
COMMENTS_PERSON:S19 CALIBFLUX:5f4 CALIBFLUX_IVAR:5f4
"""
DTYPE = [(name, code) for name, _, code in (entry.partition(":") for entry in _COLUMNS.split())]


@functools.lru_cache(maxsize=4)
def spec_obj(sky: Sky) -> Table:
    """Every fibre of every plate, plate after plate."""
    tables = {plate: plate_rows(plate, sky) for plate in PLATES}
    whole = np.concatenate(list(tables.values()))
    ids = np.concatenate([drilled(plate, sky).objects["true_id"] for plate in tables])
    _mark_primary(whole, ids)
    return whole


def rows_of(plate: Plate, sky: Sky) -> Table:
    """The catalogue's rows of one plate, in fibre order."""
    start = sum(other.fibres for other in PLATES[: PLATES.index(plate)])
    return spec_obj(sky)[start : start + plate.fibres]


def spec_obj_id(plate: Plate, fibre: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """SPECOBJID: plate, fibre, night and reduction in one number of 64 bits."""
    run = int(plate.run2d) if not plate.boss else _version(plate.run2d)
    fixed = (plate.plate << 50) | ((plate.mjd - 50000) << 24) | (run << 10)
    return np.asarray(np.uint64(fixed) | (fibre.astype(np.uint64) << np.uint64(38)))


def _version(run2d: str) -> int:
    major, minor, patch = (int(part) for part in run2d.removeprefix("v").split("_"))
    return (major - 5) * 10000 + minor * 100 + patch


def _mark_primary(table: Table, ids: npt.NDArray[np.int64]) -> None:
    """SPECPRIMARY and NSPECOBS: of an object's spectra the first on a good plate; in place."""
    good = np.char.strip(table["PLATEQUALITY"]) == b"good"
    order = np.lexsort((np.arange(len(ids)), ~good, ids))
    _, first, place, count = np.unique(ids[order], return_index=True, return_inverse=True, return_counts=True)
    table["SPECPRIMARY"][order[first]] = 1
    table["NSPECOBS"][order] = count[place]
    table["SPECPRIMARY"][ids < 0] = 1  # blank sky competes with nobody
    table["NSPECOBS"][ids < 0] = 1


def plate_rows(plate: Plate, sky: Sky) -> Table:
    """One plate's rows, but for what depends on other plates."""
    drill, n = drilled(plate, sky), plate.fibres
    objects, fibre = drill.objects, np.arange(1, plate.fibres + 1)
    pad = _nul if plate.boss else _blanks  # as the archive's two pipelines write text
    ids = spec_obj_id(plate, fibre).astype(str)
    texts = {
        "SURVEY": plate.survey, "INSTRUMENT": "BOSS" if plate.boss else "SDSS", "CHUNK": "chunk7",
        "PROGRAMNAME": plate.program, "PLATERUN": "dr2000.5", "PLATEQUALITY": plate.quality,
        "FIRSTRELEASE": "dr8", "RUN2D": plate.run2d, "RUN1D": plate.run2d if plate.boss else "",
        "TARGETTYPE": drill.target, "SOURCETYPE": np.where(drill.target == SCIENCE, objects["kind"], ""),
        "CLASS": np.where(objects["kind"] == "star", "STAR", "GALAXY"), "TFILE": "spEigenGal-55740.fits",
        "SUBCLASS": np.where(objects["kind"] == "star", "K1", ""),
        "ELODIE_SPTYPE": np.where(objects["kind"] == "star", "K1V", ""),
    }  # fmt: skip
    texts["CLASS_NOQSO"] = texts["CLASS"] if plate.boss else ""
    columns: dict[str, Any] = {name: pad(values, dict(DTYPE)[name], n) for name, values in texts.items()}
    for name in ("SPECOBJID", "TARGETOBJID"):
        columns[name] = np.char.rjust(ids, 22).astype("S22")
    for name in ("BESTOBJID", "FLUXOBJID"):
        number = np.where(objects["true_id"] >= 0, 1237600000000000000 + objects["true_id"], 0)
        columns[name] = np.where(number > 0, number.astype("S19"), b" " * 19)
    columns |= {
        "PLATE": plate.plate, "MJD": plate.mjd, "FIBERID": fibre, "PLUG_RA": objects["ra"], "PLUG_DEC": objects["dec"],
        "PLATESN2": 21.3, "SPECBOSS": plate.boss, "SPECLEGACY": plate.survey == "sdss", "WAVEMIN": plate.wavelength[0],
        "WAVEMAX": plate.wavelength[-1], "SPECTROGRAPHID": 1 + (fibre > n // 2), "ANYANDMASK": 1 << 23,
        "ANYORMASK": 3 << 23, **_fit(plate, sky, drill),
    }  # fmt: skip
    return records(DTYPE, columns, n)


def _fit(plate: Plate, sky: Sky, drill: Drilled) -> dict[str, Any]:
    """What the pipeline found: the truth within its error, and at times a failure that ZWARNING admits."""
    rng, objects, n = generator(sky.seed, "fit", plate.plate, plate.mjd), drill.objects, plate.fibres
    star, real = objects["kind"] == "star", objects["true_id"] >= 0
    share = fibre_share(objects, plate.boss)
    flux = {b: np.nan_to_num(nanomaggies(objects[f"mag_{b}"])) * share for b in "griz"}
    signal = flux["r"] * (1.0 if plate.boss else 0.5)
    truth = np.where(star, np.nan_to_num(objects["radial_velocity"]) / KM_S, np.nan_to_num(objects["z"]))
    failed = (rng.random(n) < 0.2 * np.exp(-signal / 2) + 0.01) | ~real
    error = 2e-5 * (1 + truth) / np.clip(np.sqrt(signal / 20 + 1e-9), 0.3, 3)
    z = np.where(failed, rng.uniform(0, 1, n), truth + rng.normal(0, 1, n) * error)
    warning = np.where(failed, SMALL_DELTA_CHI2, 0) | np.where(drill.target == EMPTY, UNPLUGGED, 0)
    five = np.stack([0.4 * flux["g"], *(flux[b] for b in "griz")], axis=1)
    galaxy = real & ~star
    velocity = np.where(galaxy, velocity_dispersion(np.nan_to_num(objects["log_stellar_mass"])), 0)
    ivar = np.array([2.0, 4.0, 3.0, 2.0, 0.9]) * (1 if plate.boss else 0.6)
    no_quasar = {"Z_NOQSO": z, "Z_ERR_NOQSO": error, "ZWARNING_NOQSO": warning} if plate.boss else {}
    return {
        "Z": z, "Z_ERR": np.where(failed, -1.0, error), "ZWARNING": warning, "RCHI2": rng.normal(1.0, 0.05, n),
        "RCHI2DIFF": np.where(failed, 0.001, 0.02 * signal), "DOF": plate.pixels - 20, "SN_MEDIAN_ALL": signal,
        "VDISP": np.where(velocity > 0, velocity + rng.normal(0, 5, n), 0), "VDISP_ERR": np.where(velocity > 0, 5.0, 0),
        "SPECTROFLUX": (five + rng.normal(0, 1, (n, 5)) / np.sqrt(ivar)) * real[:, None], "SPECTROFLUX_IVAR": ivar,
        "SPECTROSYNFLUX": five, "SPECTROSYNFLUX_IVAR": ivar, "ELODIE_TEFF": np.nan_to_num(objects["teff"]),
        "ELODIE_LOGG": np.nan_to_num(objects["logg"]), "ELODIE_FEH": np.nan_to_num(objects["feh"]), **no_quasar,
    }  # fmt: skip


def _blanks(values: Any, code: str, rows: int) -> npt.NDArray[np.bytes_]:
    return np.char.ljust(np.broadcast_to(values, rows).astype(str), int(code[1:])).astype(code)


def _nul(values: Any, code: str, rows: int) -> npt.NDArray[np.bytes_]:
    return np.broadcast_to(values, rows).astype(code)
