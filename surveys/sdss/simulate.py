"""The simulated sky as SDSS's archive serves it: the catalogue of all spectra, plates' files, and spectra one by one.

Paths are relative to https://data.sdss.org/sas/dr17/ . HDUs of the older reductions have names in the spectra's own
files and none in the plates', columns in small letters; BOSS's the other way round, as in the files we have seen. A
plate has all its 640 or 1000 fibres, of which simulated objects fill some.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from mmu.fits import read_headers
from mmu.simulate import Sky
from mmu.simulate.files import records, table_hdu, write_fits
from surveys.sdss.simulate_plates import EMPTY, PLATES, Plate, drilled, fibre, plates
from surveys.sdss.simulate_tables import rows_of, spec_obj

CATALOGUE = "sdss/spectro/redux/specObj-dr17.fits"
_PATH = re.compile(r"/(?:spPlate|spec)-(\d+)-(\d+)(?:-(\d+))?\.fits$")
_FLUX_UNIT, _IVAR_UNIT = "1E-17 erg/cm^2/s/Ang", "1/(1E-17 erg/cm^2/s/Ang)^2"
_SPECTRUM = ("flux", "loglam", "ivar", "and_mask", "or_mask", "wdisp", "sky", "model")
_PLUGMAP = [
    ("OBJID", "5i4"), ("HOLETYPE", "S6"), ("RA", "f8"), ("DEC", "f8"), ("MAG", "5f4"), ("OBJTYPE", "S16"),
    ("SPECTROGRAPHID", "i4"), ("FIBERID", "i4"), ("PRIMTARGET", "i4"), ("SECTARGET", "i4"), ("SOURCETYPE", "S21"),
    ("LAMBDA_EFF", "f4"), ("CALIBFLUX", "5f4"), ("SFD_EBV", "f4"),
]  # fmt: skip


def files(release: str, sky: Sky) -> dict[str, int]:
    """Every file of a release in the simulated archive, with its approximate size in bytes."""
    found = {CATALOGUE: 1100 * sum(plate.fibres for plate in PLATES)}
    if not (own := plates(release)):
        msg = f"sdss has no simulated release {release!r}; allowed are {', '.join(sorted({p.survey for p in PLATES}))}"
        raise ValueError(msg)
    for plate in own:
        found[plate_path(plate)] = plate.fibres * (24 * plate.pixels + 200)
        for number in np.flatnonzero(drilled(plate, sky).target != EMPTY) + 1:
            found[spectrum_path(plate, int(number))] = 32 * plate.pixels + 15_000
    return found


def write(path: str, sky: Sky, destination: Path) -> None:
    """Write one file of the simulated archive, named as in `files`."""
    match = _PATH.search(path)
    plate, number = _named(match) if match else (None, 0)
    if path == CATALOGUE:
        write_fits(destination, [table_hdu(spec_obj(sky))])
        _pad(destination, 1, spec_obj(sky))
    elif plate is not None and path == plate_path(plate):
        write_fits(destination, plate_hdus(plate, sky, np.arange(1, plate.fibres + 1)))
    elif plate is not None and 0 < number <= plate.fibres and path == spectrum_path(plate, number):
        write_fits(destination, _spectrum(plate, sky, number))
        _pad(destination, 2, rows_of(plate, sky)[number - 1 : number])
    else:
        msg = f"{path!r} is not in the simulated SDSS archive; allowed are the paths files() lists"
        raise FileNotFoundError(msg)


def _pad(destination: Path, hdu: int, table: npt.NDArray[np.void]) -> None:
    """Put a table's text back as it is padded in the archive: Astropy writes NULs for blanks."""
    with destination.open("r+b") as file:
        file.seek(read_headers(file)[hdu].start)
        file.write(table.astype(table.dtype.newbyteorder(">")).tobytes())


def plate_path(plate: Plate) -> str:
    """Path of a plate's file."""
    return f"{_folder(plate)}/{plate.plate:04d}/spPlate-{plate.plate:04d}-{plate.mjd}.fits"


def spectrum_path(plate: Plate, number: int) -> str:
    """Path of a spectrum's own file."""
    name = f"spec-{plate.plate:04d}-{plate.mjd}-{number:04d}.fits"
    return f"{_folder(plate)}/spectra/lite/{plate.plate:04d}/{name}"


def _folder(plate: Plate) -> str:
    return f"{'eboss' if plate.boss else 'sdss'}/spectro/redux/{plate.run2d}"


def _named(match: re.Match[str]) -> tuple[Plate | None, int]:
    found = (plate for plate in PLATES if (plate.plate, plate.mjd) == (int(match[1]), int(match[2])))
    return next(found, None), int(match[3] or 0)


def _cards(plate: Plate) -> dict[str, Any]:
    """What the headers of both kinds of file say."""
    return {
        "TELESCOP": "SDSS 2.5-M", "PLATEID": plate.plate, "MJD": plate.mjd, "RUN2D": plate.run2d, "VACUUM": True,
        "NWORDER": 2, "COEFF0": plate.first / 1e4, "COEFF1": 1e-4, "DC-FLAG": 1, "BUNIT": _FLUX_UNIT,
    }  # fmt: skip


def plate_hdus(plate: Plate, sky: Sky, numbers: npt.NDArray[np.int64]) -> list[Any]:
    """All HDUs of a plate's file; the archive's have all fibres, in their order."""
    made = [fibre(plate, sky, int(number)) for number in numbers]
    planes = {name: np.stack([one[name] for one in made]) for name in made[0]}
    first = fits.PrimaryHDU(planes["flux"])
    lattice = {"CRVAL1": plate.first / 1e4, "CD1_1": 1e-4, "CRPIX1": 1, "CTYPE1": "LINEAR"}
    first.header.update({**_cards(plate), **lattice})
    hdus: list[Any] = [first]
    others = {"IVAR": "ivar", "ANDMASK": "and_mask", "ORMASK": "or_mask", "WAVEDISP": "wdisp", "SKY": "sky"}
    for name, key in others.items():
        hdu = fits.ImageHDU(planes[key], name=name if plate.boss else None)
        hdu.header.update({"ivar": {"BUNIT": _IVAR_UNIT}, "wdisp": {"BUNIT": "pixels"}}.get(key, {}))
        hdus.append(hdu)
    hdus.insert(5, table_hdu(_plugmap(rows_of(plate, sky)[numbers - 1]), "PLUGMAP" if plate.boss else ""))
    return hdus


def _plugmap(row: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    columns = {name: row[f"PLUG_{name}"] for name in ("RA", "DEC")}
    columns |= {name: row[name] for name in ("FIBERID", "SPECTROGRAPHID", "SOURCETYPE")}
    return records(_PLUGMAP, {**columns, "HOLETYPE": b"OBJECT", "LAMBDA_EFF": 5400.0}, len(row))


def _spectrum(plate: Plate, sky: Sky, number: int) -> list[Any]:
    """All HDUs of a lite file: the coadd from its first to its last pixel with data, the catalogue's row, the lines."""
    one = fibre(plate, sky, number)
    data = np.flatnonzero(one["ivar"])
    here = slice(data[0], data[-1] + 1) if len(data) else slice(0, 5)  # the pipeline leaves a few pixels of nothing
    one["loglam"] = ((plate.first + np.arange(plate.pixels)) / 1e4).astype("f4")
    one["model"] = np.zeros(plate.pixels, "f4")
    columns = {(name.upper() if plate.boss else name): one[name][here] for name in _SPECTRUM}
    first = fits.PrimaryHDU()
    first.header.update({**_cards(plate), "FIBERID": number})
    names = ("", "", "") if plate.boss else ("COADD", "SPECOBJ", "SPZLINE")
    coadd = records([(name, values.dtype.str) for name, values in columns.items()], columns, here.stop - here.start)
    row = rows_of(plate, sky)[number - 1 : number]
    lines = [
        ("PLATE", "i4"),
        ("MJD", "i4"),
        ("FIBERID", "i4"),
        ("LINENAME", "S13"),
        ("LINEWAVE", "f8"),
        ("LINEZ", "f4"),
    ]
    fitted = {"PLATE": plate.plate, "MJD": plate.mjd, "FIBERID": number, "LINENAME": b"H_alpha", "LINEWAVE": 6564.6}
    tables = (coadd, row, records(lines, {**fitted, "LINEZ": row["Z"]}, 1))
    return [first, *(table_hdu(table, name) for table, name in zip(tables, names, strict=True))]


__all__ = ["files", "write"]
