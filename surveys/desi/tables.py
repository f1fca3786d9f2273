"""FITS tables and planes by name, with an error that says what is missing and where."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from numpy.typing import NDArray

from mmu.errors import FormatError

AGAIN = "fetch it again, or check that it is of this release's data model"
SIGN = np.int32(-(1 << 31))
_CODES = {"L": "u1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}


class FitsFile:
    """An open FITS file: HDUs by name, tables as the records on disk, planes as arrays mapped from disk."""

    def __init__(self, path: Path, hdus: Any) -> None:
        self.path = path
        self._hdus = {hdu.name: hdu for hdu in hdus[1:]}
        self.names = list(self._hdus)
        self._tables: dict[str, NDArray[Any]] = {}

    def error(self, what: str) -> FormatError:
        """What is wrong with this file, as an error to raise."""
        return FormatError(f"{self.path.name}: {what}; {AGAIN}.")

    def hdu(self, name: str) -> Any:
        """The HDU of that name.

        Raises:
            FormatError: there is none; the message names those there are.
        """
        if name not in self._hdus:
            raise self.error(f"no HDU {name}; it has {', '.join(self.names)}")
        return self._hdus[name]

    def table(self, name: str) -> NDArray[Any]:
        """A binary table as stored, mapped: big-endian numbers, bytes for text, `T`/`F` for flags.

        Made from the header's TFORM cards: astropy's own table costs as much as 50 spectra, for its columns alone.
        """
        if name not in self._tables:
            hdu = self.hdu(name)
            header, place = hdu.header, hdu.fileinfo()["datLoc"]
            if header.get("XTENSION", "").strip() != "BINTABLE":
                raise self.error(f"HDU {name} is not a binary table")
            dtype = np.dtype([self._field(header, number + 1) for number in range(header["TFIELDS"])])
            if dtype.itemsize != header["NAXIS1"]:
                raise self.error(f"the columns of {name} do not add up to its rows of {header['NAXIS1']} bytes")
            rows = int(header["NAXIS2"])
            empty = np.empty(0, dtype=dtype)
            self._tables[name] = np.memmap(self.path, dtype, "r", place, (rows,)) if rows else empty
        return self._tables[name]

    def _field(self, header: Any, number: int) -> tuple[Any, ...]:
        """NumPy's description of one column."""
        match = re.fullmatch(r"(\d*)([LBIJKEDA])\d*", str(header[f"TFORM{number}"]).strip())
        if match is None:
            raise self.error(f"column {header.get(f'TTYPE{number}')} has the format {header[f'TFORM{number}']}")
        count, code = int(match[1] or 1), match[2]
        name = str(header[f"TTYPE{number}"])
        if code == "A":
            return name, f"S{count}"
        return (name, _CODES[code]) if count == 1 else (name, _CODES[code], (count,))

    def column(self, table: str, name: str) -> NDArray[Any]:
        """One column of a table, as stored.

        Raises:
            FormatError: the table or the column is not there.
        """
        values = self.table(table)
        if name not in (values.dtype.names or ()):
            raise self.error(f"no column {name} in {table}")
        return np.asarray(values[name])

    def plane(self, name: str) -> NDArray[Any]:
        """An image as stored (plain or compressed), big-endian and mapped where it can be."""
        return np.asarray(self.hdu(name).data)

    def flips_sign(self, name: str) -> bool:
        """True for unsigned integers: FITS stores them less 2^31, that is with the topmost bit the other way."""
        return bool(self.hdu(name).header.get("BZERO", 0) == 1 << 31)


@contextmanager
def open_fits(path: Path) -> Iterator[FitsFile]:
    """A FITS file, mapped; a truncated or foreign one is a `FormatError`."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="File may have been truncated")
            with fits.open(path, memmap=True, do_not_scale_image_data=True) as hdus:
                yield FitsFile(path, hdus)
    except FormatError:
        raise
    except (OSError, TypeError, ValueError, AstropyUserWarning) as problem:
        msg = f"{path.name}: not a whole FITS file ({problem}); {AGAIN}."
        raise FormatError(msg) from problem


def same_text(values: NDArray[Any], wanted: str) -> NDArray[np.bool_]:
    """True where a fixed-width text is `wanted`, padded with NUL or blanks."""
    plain = wanted.encode()
    return np.asarray((values == plain) | (values == plain.ljust(values.dtype.itemsize)))


def text(values: NDArray[Any]) -> NDArray[np.str_]:
    """Fixed-width bytes as text without its padding."""
    return np.asarray(np.char.rstrip(np.char.decode(np.ascontiguousarray(values), "ascii"), " \x00"))
