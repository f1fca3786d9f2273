"""One plate's file, or one spectrum's -> records. Both give the same: fibres are matched by number, never by order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmu.fits import FitsFile, open_fits
from mmu.rows import missing, positions
from mmu.schema import table_of
from mmu.survey import Paths, Records, Release
from surveys.sdss.archive import Unit, files, parse
from surveys.sdss.spectrum import Flat, Pixels, lattice_index, lists, together, trimmed

NO_DATA = "no pixel with data"
PLANES = ("flux", "IVAR", "ANDMASK", "ORMASK", "WAVEDISP")
COLUMNS = ("FLUX", "IVAR", "AND_MASK", "OR_MASK", "WDISP")
BLOCK = 100
"""Spectra that are worked on at once."""

Fibres = NDArray[np.int64]


def read(release: Release, unit: str, paths: Paths, rows: pa.Table) -> Records:
    """Records of one plate, or of one spectrum."""
    name, path = parse(unit), paths[files(release, unit)[0].path]
    ids = rows["object_id"].to_numpy(zero_copy_only=False)
    fibres = rows["FIBERID"].to_numpy().astype(np.int64)
    lost, flat = one_spectrum(path, name, fibres) if name.fibre else whole_plate(path, name, fibres)
    kept = np.flatnonzero(~np.isin(fibres, list(lost)))
    empty = flat["length"] == 0
    excluded = {str(one): lost[fibre] for one, fibre in zip(ids, fibres.tolist(), strict=True) if fibre in lost}
    excluded |= dict.fromkeys(ids[kept[empty]].tolist(), NO_DATA)
    table = rows.take(pa.array(kept[~empty]))
    values: dict[str, Any] = {column: table[column] for column in table.column_names}
    return Records(table_of(release.schema, values | {"spectrum": lists(flat)}), excluded)


def one_spectrum(path: Path, unit: Unit, fibres: Fibres) -> tuple[dict[int, str], Flat]:
    """The spectrum of a file of its own, lite or full: its first table holds the coadd, whatever names are called.

    Returns what `whole_plate` does; only the unit's own fibre can be had.

    Raises:
        FormatError: it is of another object, lacks a table or a column, or is not on the lattice.
    """
    with open_fits(path) as file:
        _refuse_other(file, unit)
        table = "COADD" if file.has("COADD") else 1
        columns = file.columns(table, ["LOGLAM", *COLUMNS])
        loglam = columns.pop("LOGLAM").astype(np.float64)
        if not len(loglam):
            raise file.error("its spectrum has no pixels")
        first = lattice_index(loglam[0], 1e-4)
        if first is None or np.abs(loglam * 1e4 - (first + np.arange(len(loglam)))).max() > 0.05:
            raise file.error("LOGLAM is not in steps of 0.0001 on whole multiples of it")
    lost = dict.fromkeys(fibres[fibres != unit.fibre].tolist(), "not in the spectrum's file")
    pixels = Pixels(first, *(columns[name][None, :][: len(fibres) - len(lost)] for name in COLUMNS))
    return lost, trimmed(pixels)


def _refuse_other(file: FitsFile, unit: Unit) -> None:
    """The second table repeats the catalogue's row: is it the spectrum asked for?"""
    key = next((name for name in ("SPECOBJ", "SPALL") if file.has(name)), 2)
    row = file.columns(key, ["PLATE", "MJD", "FIBERID"])
    found = [tuple(values) for values in zip(*(row[name].tolist() for name in row), strict=True)]
    if found != [(unit.plate, unit.mjd, unit.fibre)]:
        raise file.error(f"it is of plate, night and fibre {found}, not {(unit.plate, unit.mjd, unit.fibre)}")


def whole_plate(path: Path, unit: Unit, fibres: Fibres) -> tuple[dict[int, str], Flat]:
    """Spectra of those fibres that the plate's file has, in the order given; and why the others cannot be had.

    Raises:
        FormatError: it is another plate's, lacks an HDU, its planes differ in shape, or it is not on the lattice.
    """
    with open_fits(path) as file:
        header = file.hdu(0)
        found = header.count("PLATEID"), header.count("MJD")
        if found != (unit.plate, unit.mjd):
            raise file.error(f"it is of plate and night {found}, not {(unit.plate, unit.mjd)}")
        listed = file.columns(_key(file, 5, "PLUGMAP"), ["FIBERID"])["FIBERID"].astype(np.int64)
        if np.any(np.diff(listed) <= 0):  # rows of the planes are known by PLUGMAP alone; the archive's are in order
            raise file.error("PLUGMAP does not list its fibres in their order")
        planes = [file.plane(_key(file, number, name)) for number, name in enumerate(PLANES)]
        if len({plane.shape for plane in planes}) > 1 or len(planes[0]) != len(listed):
            raise file.error(f"planes of shapes {[plane.shape for plane in planes]} for {len(listed)} fibres")
        at_first = header.number("CRVAL1") + (1 - header.number("CRPIX1", 1)) * header.number("CD1_1")
        first = lattice_index(at_first, header.number("CD1_1"))
        if first is None:
            raise file.error("its wavelengths are not in steps of 0.0001 on whole multiples of it")
        lost = {int(fibre): why for fibre, why in missing(fibres, listed, "plate").items()}
        wanted = positions(fibres[~np.isin(fibres, list(lost))], listed)
        parts = (trimmed(Pixels(first, *(plane[rows] for plane in planes))) for rows in _blocks(wanted))
        return lost, together(parts)


def _blocks(rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """A few rows at a time: no second copy of the file. At least one block, though it may be empty."""
    for start in range(0, max(len(rows), 1), BLOCK):
        yield rows[start : start + BLOCK]


def _key(file: FitsFile, number: int, name: str) -> str | int:
    """An HDU by its name; in older reductions HDUs have none, and are known by their number."""
    if number == 0 or file.has(name):
        return name if number else 0
    if 0 < number <= len(file.names) and file.names[number - 1]:
        raise file.error(f"no HDU {name}; it has {', '.join(file.names)}")
    return number
