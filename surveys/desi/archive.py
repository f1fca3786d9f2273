"""Where DESI's files are, and which spectra are wanted.

A unit is one coadd file: the spectra of one nside-64 pixel, survey and program, called `09144-main-dark` so that names
sort by pixel. Which of a target's spectra is primary is said by the summary catalogue of all redshifts (zall-pix), tens
of gigabytes; for a region it is recomputed from the redrock files of the pixels it touches, by the catalogue's rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmu.fits import FitsFile, open_fits, same_text, text
from mmu.sky.region import Region
from mmu.survey import Candidates, File, Group, Paths, Release

ORDER = 6
REDROCK_BYTES, COADD_BYTES = 700_000, 220_000_000
ZALL = "zall"
_BASE = 4**ORDER  # nside-64 pixels of one of the twelve base cells

Bools = NDArray[np.bool_]


def bootstrap(release: Release) -> tuple[File, ...]:
    """The list of pixels the tiles touch: more than have files, never fewer."""
    return (File(_tilepix(release), 12_000_000),)


def groups(release: Release, paths: Paths, region: Region, walk: bool) -> Iterator[Group]:
    """One group of redrock files a pixel; for a large part of the sky the summary catalogue, a base cell at a time."""
    pixels, surveys, programs = _observed(release, paths, region)
    if not walk and len(pixels) * REDROCK_BYTES > release.facts["zall_bytes"]:
        whole = File(f"{release.facts['redux']}/{release.facts['zall']}", release.facts["zall_bytes"])
        for cell in np.unique(pixels // _BASE).tolist():
            yield Group(f"{ZALL}-{cell:02d}", (whole,))
        return
    starts = np.flatnonzero(np.diff(pixels, prepend=-1)).tolist()
    for start, stop in pairwise([*starts, len(pixels)]):
        rows = zip(
            pixels[start:stop].tolist(), surveys[start:stop].tolist(), programs[start:stop].tolist(), strict=True
        )
        files = tuple(File(path_of(release, "redrock", *row), REDROCK_BYTES, required=False) for row in rows)
        yield Group(f"{pixels[start]:05d}", files)


def select(release: Release, group: Group, paths: Paths) -> Candidates:
    """Every spectrum listed in the group's files, and why some are not wanted."""
    if group.name.startswith(ZALL):
        columns = _from_zall(release, paths[group.files[0].path], int(group.name.rpartition("-")[2]))
    else:
        columns = _from_redrock(release, [paths[file.path] for file in group.files if file.path in paths])
    keys, place = np.unique(columns["unit"], return_inverse=True)
    names = np.array([unit_name(*key.split("/")) for key in keys.tolist()], dtype="U40")
    return Candidates(
        object_id=columns["TARGETID"].astype(np.str_),
        ra=columns["TARGET_RA"],
        dec=columns["TARGET_DEC"],
        unit=names[place],
        cuts={
            "other survey": ~columns["own"],
            "not a target": ~columns["target"],
            "bad fibre": columns["COADD_FIBERSTATUS"] != 0,
            "not the primary spectrum": ~columns["primary"],
        },
    )


def files(release: Release, unit: str) -> tuple[File, ...]:
    """A unit's coadd file and its redshifts."""
    pixel, survey, program = unit.split("-")
    kinds = (("coadd", COADD_BYTES), ("redrock", REDROCK_BYTES))
    return tuple(File(path_of(release, kind, int(pixel), survey, program), size) for kind, size in kinds)


def path_of(release: Release, kind: str, pixel: int, survey: str, program: str) -> str:
    """Path of a coadd or redrock file, relative to the archive's root."""
    folder = f"{release.facts['redux']}/healpix/{survey}/{program}/{pixel // 100}/{pixel}"
    return f"{folder}/{kind}-{survey}-{program}-{pixel}.fits"


def unit_name(pixel: str, survey: str, program: str) -> str:
    """`09144-main-dark`."""
    return f"{int(pixel):05d}-{survey}-{program}"


def refuse_other(file: FitsFile, unit: str) -> None:
    """A file of one pixel says in its first header which it is of.

    Raises:
        FormatError: it is of another pixel, survey or program.
    """
    first, wanted = file.hdu(0), unit.split("-")
    if first.text("SPGRP") != "healpix":
        return
    found = [str(first.count("SPGRPVAL")) if first.has("SPGRPVAL") else "", first.text("SURVEY"), first.text("PROGRAM")]
    wanted[0] = str(int(wanted[0]))
    if any(mine and mine != his for mine, his in zip(found, wanted, strict=True)):
        raise file.error(f"it is of the pixel, survey and program {'-'.join(found)}, not {'-'.join(wanted)}")


def primary(target: NDArray[Any], zwarn: NDArray[Any], tsnr2: NDArray[Any], among: Bools) -> Bools:
    """True for the best spectrum of each target among those of `among`.

    ZWARN 0 first, then the highest TSNR2_LRG, then the first listed: `find_primary_spectra` of desispec.
    """
    rows = np.flatnonzero(among)
    order = rows[np.lexsort((rows, -tsnr2[rows].astype(np.float64), zwarn[rows] != 0, target[rows]))]
    best = np.zeros(len(target), dtype=bool)
    best[order[np.flatnonzero(np.diff(target[order], prepend=target[order[:1]] - 1))]] = True
    return best


def _tilepix(release: Release) -> str:
    return f"{release.facts['redux']}/healpix/tilepix.fits"


def _observed(release: Release, paths: Paths, region: Region) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """Pixel, survey and program of the files that may hold what decides about the region, sorted."""
    with open_fits(paths[_tilepix(release)]) as file:
        table = {name: file.column("TILEPIX", name).copy() for name in ("HEALPIX", "SURVEY", "PROGRAM")}
        if not len(table["HEALPIX"]):
            raise file.error("it lists no pixel")
    pixel = table["HEALPIX"].astype(np.int64)
    wanted = np.isin(pixel, region.pixels(ORDER)) if not region.whole else np.ones(len(pixel), dtype=bool)
    wanted &= np.logical_or.reduce([same_text(table["SURVEY"], name) for name in release.facts["primary_among"]])
    own = np.unique(pixel[wanted & same_text(table["SURVEY"], release.facts["survey"])])
    wanted &= np.isin(pixel, own)  # where the survey itself was not, there is nothing to decide
    rows = np.unique(_triples(pixel[wanted], text(table["SURVEY"][wanted]), text(table["PROGRAM"][wanted])))
    return rows["pixel"].astype(np.int64), rows["survey"], rows["program"]


def _from_zall(release: Release, path: Path, cell: int) -> dict[str, NDArray[Any]]:
    """One base cell of the summary catalogue; reads 22 GB for a few columns, but holds only them."""
    with open_fits(path) as file:
        rows = np.flatnonzero(file.column("ZCATALOG", "HEALPIX") // _BASE == cell)
        wanted = ("HEALPIX", "SURVEY", "PROGRAM", "OBJTYPE", release.facts["primary"])
        pixel, survey, program, kind, flag = (file.column("ZCATALOG", name)[rows] for name in wanted)
        return {
            "unit": _unit_key(pixel, text(survey), text(program)),
            "own": same_text(survey, release.facts["survey"]),
            "target": same_text(kind, "TGT"),
            "primary": flag == ord("T"),
            **_plain(file, "ZCATALOG", rows),
        }


def _from_redrock(release: Release, paths: list[Path]) -> dict[str, NDArray[Any]]:
    """The spectra of one pixel in all programs, with the primary of each target recomputed."""
    parts = [_redrock(path) for path in paths] or [_NOTHING]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in _NOTHING}
    columns["own"] = columns["survey"] == release.facts["survey"]
    among = np.isin(columns["survey"], release.facts["primary_among"])
    columns["primary"] = primary(columns["TARGETID"], columns["ZWARN"], columns["TSNR2_LRG"], among)
    return columns


_NOTHING: dict[str, NDArray[Any]] = {
    "unit": np.empty(0, "U40"),
    "survey": np.empty(0, "U7"),
    "target": np.empty(0, bool),
    "ZWARN": np.empty(0, np.int64),
    "TSNR2_LRG": np.empty(0, np.float32),
    "TARGETID": np.empty(0, np.int64),
    "TARGET_RA": np.empty(0, np.float64),
    "TARGET_DEC": np.empty(0, np.float64),
    "COADD_FIBERSTATUS": np.empty(0, np.int32),
}


def _redrock(path: Path) -> dict[str, NDArray[Any]]:
    with open_fits(path) as file:
        listed = [file.column(table, "TARGETID") for table in ("FIBERMAP", "REDSHIFTS", "TSNR2")]
        if not all(np.array_equal(listed[0], other) for other in listed[1:]):
            raise file.error("FIBERMAP, REDSHIFTS and TSNR2 list different targets")
        if not len(listed[0]):
            raise file.error("it lists no target")
        _, survey, program, pixel = path.stem.split("-")
        refuse_other(file, unit_name(pixel, survey, program))
        rows = np.arange(len(listed[0]))
        return {
            "unit": np.full(len(rows), f"{pixel}/{survey}/{program}", dtype="U40"),
            "survey": np.full(len(rows), survey, dtype="U7"),
            "target": same_text(file.column("FIBERMAP", "OBJTYPE"), "TGT"),
            "ZWARN": file.column("REDSHIFTS", "ZWARN").astype(np.int64),
            "TSNR2_LRG": file.column("TSNR2", "TSNR2_LRG").astype(np.float32),
            **_plain(file, "FIBERMAP", rows),
        }


def _plain(file: FitsFile, table: str, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    kinds = {"TARGETID": np.int64, "TARGET_RA": np.float64, "TARGET_DEC": np.float64, "COADD_FIBERSTATUS": np.int32}
    return {name: file.column(table, name)[rows].astype(kind) for name, kind in kinds.items()}


def _unit_key(pixel: NDArray[Any], survey: NDArray[Any], program: NDArray[Any]) -> NDArray[Any]:
    """`pixel/survey/program` of each row, made once for each distinct triple."""
    distinct, place = np.unique(_triples(pixel, survey, program), return_inverse=True)
    keys = np.array(["/".join(map(str, triple)) for triple in distinct.tolist()], dtype="U40")
    return np.asarray(keys[place])


def _triples(pixel: NDArray[Any], survey: NDArray[Any], program: NDArray[Any]) -> NDArray[Any]:
    rows = np.empty(len(pixel), dtype=[("pixel", "i4"), ("survey", "U8"), ("program", "U8")])
    rows["pixel"], rows["survey"], rows["program"] = pixel, survey, program
    return rows
