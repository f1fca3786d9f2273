"""Where SDSS's spectra are, which are wanted, and how they are best fetched.

One catalogue, specObj, lists every spectrum of every survey; it is served only whole, so it is fetched once and read a
stretch of rows at a time, of the wanted columns only. A unit is a plate's observation, called `00358-51818-26` (plate,
night, reduction: a plate may be observed on several nights, with other objects in its fibres). Its spectra are in one
file, spPlate; or each in a file of its own, a unit then, called `00358-51818-26-0504`. Which moves fewer bytes depends
on how many of the plate's spectra are selected, so it is settled once they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmu.fits import FitsFile, open_fits, same_text
from mmu.sky.region import Region
from mmu.survey import Candidates, File, Group, Paths, Release
from surveys.sdss.columns import BANDS, CATALOGUE, FIVE, KEYS, in_bands

SPECOBJ = File("sdss/spectro/redux/specObj-dr17.fits", 6_700_000_000)
ROWS = 250_000
"""Rows of the catalogue that are read as one."""


class Kind(NamedTuple):
    """A spectrograph's reductions: where they are, and the bytes of a plate's file and of one spectrum's."""

    folder: str
    plate_bytes: int
    spectrum_bytes: int


LEGACY = Kind("sdss/spectro/redux", 59_500_000, 175_000)  # 640 fibres of about 3850 pixels
BOSS = Kind("eboss/spectro/redux", 112_000_000, 221_000)  # 1000 fibres of about 4640 pixels


class Unit(NamedTuple):
    """A unit's name, taken apart; fibre 0 stands for the whole plate."""

    plate: int
    mjd: int
    run2d: str
    fibre: int

    @property
    def kind(self) -> Kind:
        """Reductions of the first spectrographs are numbered, BOSS's have versions."""
        return LEGACY if self.run2d.isdigit() else BOSS


def bootstrap(release: Release) -> tuple[File, ...]:
    """The catalogue of all spectra: nothing can be planned without it."""
    return (SPECOBJ,)


def groups(release: Release, paths: Paths, region: Region, walk: bool) -> Iterator[Group]:
    """The catalogue, a stretch of rows at a time; it is in no order on the sky, so a region costs as much as all."""
    with open_fits(paths[SPECOBJ.path]) as file:
        count = len(file.table(1))
        if not count:
            raise file.error("it lists no spectrum")
    for start in range(0, count, ROWS):
        yield Group(f"rows-{start:08d}-{min(start + ROWS, count):08d}", (SPECOBJ,))


def select(release: Release, group: Group, paths: Paths) -> Candidates:
    """The spectra of the release's survey in a stretch of rows, and why some are not wanted."""
    path = paths[SPECOBJ.path]
    start, stop = map(int, group.name.split("-")[1:])
    with open_fits(path) as file:
        survey = file.column(1, "SURVEY")[start:stop]
        rows = start + np.flatnonzero(same_text(survey, release.facts["survey"]))
        numbers = file.columns(1, ["PLATE", "MJD", "PLUG_RA", "PLUG_DEC", "SPECPRIMARY"], rows=rows)
        words = _texts(file, ["SPECOBJID", "RUN2D", "TARGETTYPE", "PLATEQUALITY"], rows)
    return Candidates(
        object_id=words["SPECOBJID"],
        ra=numbers["PLUG_RA"],
        dec=numbers["PLUG_DEC"],
        unit=_unit_names(numbers["PLATE"], numbers["MJD"], words["RUN2D"]),
        cuts={
            "not a science target": words["TARGETTYPE"] != "SCIENCE",
            "the plate is not good": words["PLATEQUALITY"] != "good",
            "not the object's primary spectrum": numbers["SPECPRIMARY"] != 1,
        },
        carried=partial(_carried, path, rows),
    )


def files(release: Release, unit: str) -> tuple[File, ...]:
    """The one file of a unit: a plate's, or a spectrum's."""
    name = parse(unit)
    folder, plate = f"{name.kind.folder}/{name.run2d}", f"{name.plate:04d}"
    if not name.fibre:
        return (File(f"{folder}/{plate}/spPlate-{plate}-{name.mjd}.fits", name.kind.plate_bytes),)
    spectrum = f"spec-{plate}-{name.mjd}-{name.fibre:04d}.fits"
    return (File(f"{folder}/spectra/lite/{plate}/{spectrum}", name.kind.spectrum_bytes),)


def plan_units(release: Release, objects: pa.Table) -> NDArray[Any]:
    """Whole plates where that moves fewer bytes, and single spectra of the others."""
    codes = pc.dictionary_encode(objects["unit"].combine_chunks())
    plates, index = codes.dictionary.to_pylist(), np.asarray(codes.indices)
    count = np.bincount(index, minlength=len(plates))
    kinds = [parse(plate).kind for plate in plates]
    whole = np.array([n * k.spectrum_bytes > k.plate_bytes for n, k in zip(count.tolist(), kinds, strict=True)], bool)
    names = np.array(plates, dtype="U40")[index]
    single = np.char.add(names, np.char.mod("-%04d", np.asarray(objects["FIBERID"])))
    return np.where(whole[index], names, single)


def route(release: Release, units: Collection[str]) -> str:
    """`12 plates whole, 340 spectra one by one`, and why."""
    count = Counter(parse(unit).fibre == 0 for unit in units)
    words = f"{count[True]:,} plates whole, {count[False]:,} spectra one by one"
    return f"{words}: whichever moves fewer bytes for the spectra selected on a plate"


def parse(unit: str) -> Unit:
    """`00358-51818-26` or `00358-51818-26-0504`, taken apart."""
    plate, mjd, run2d, *fibre = unit.split("-")
    return Unit(int(plate), int(mjd), run2d, int(fibre[0]) if fibre else 0)


def _unit_names(plate: NDArray[Any], mjd: NDArray[Any], run2d: NDArray[Any]) -> NDArray[Any]:
    """The name of each row's plate, made once for each distinct one."""
    runs, run = np.unique(run2d, return_inverse=True)
    keys = np.stack([plate, mjd, run.reshape(-1)]).astype(np.int64)
    distinct, place = np.unique(keys, axis=1, return_inverse=True)
    names = [f"{p:05d}-{m}-{runs[r]}" for p, m, r in distinct.T.tolist()]
    return np.array(names, dtype="U40")[place.reshape(-1)]


def _carried(path: Path, rows: NDArray[np.intp], kept: NDArray[np.intp]) -> dict[str, Any]:
    """The catalogue's columns of the objects selected."""
    wanted = [*KEYS, *CATALOGUE]
    with open_fits(path) as file:
        found: dict[str, Any] = file.columns(1, [c.name for c in wanted if c.dtype != "string"], rows=rows[kept])
        found |= _texts(file, [c.name for c in wanted if c.dtype == "string"], rows[kept])
        for name, values in file.columns(1, FIVE, rows=rows[kept]).items():
            if values.shape[1:] != (len(BANDS),):
                raise file.error(f"column {name} has the shape {values.shape[1:]}, not ({len(BANDS)},)")
            found |= dict(zip(in_bands(name), np.ascontiguousarray(values.T), strict=True))
    return {name: values if values.dtype.kind != "U" else values.astype(object) for name, values in found.items()}


def _texts(
    file: FitsFile, names: list[str], rows: NDArray[np.intp], table: str | int = 1
) -> dict[str, NDArray[np.str_]]:
    """Text columns without their padding, blanks or NULs, on either side: numbers are set to the right."""
    return {name: np.char.strip(values, " \x00") for name, values in file.columns(table, names, rows=rows).items()}
