"""FITS tables and planes by name, with an error that says what is missing and where."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from mmu.errors import FormatError
from surveys.desi.headers import Hdu, read_headers

AGAIN = "fetch it again, or check that it is of this release's data model"
SIGN = np.int32(-(1 << 31))
_CODES = {"L": "u1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
_PIXELS = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_FORM = re.compile(r"(\d*)([LBIJKEDA])\d*")


class FitsFile:
    """An open FITS file: HDUs by name, tables as the records on disk, planes as arrays mapped from disk."""

    def __init__(self, path: Path, hdus: list[Hdu], unpack: ExitStack) -> None:
        self.path = path
        self._hdus = {hdu.name: hdu for hdu in hdus[1:]}
        self.names = list(self._hdus)
        self._bytes = np.memmap(path, np.uint8, "r")
        self._tables: dict[str, NDArray[Any]] = {}
        self._unpack = unpack
        self._unpacked: Any = None

    def error(self, what: str) -> FormatError:
        """What is wrong with this file, as an error to raise."""
        return FormatError(f"{self.path.name}: {what}; {AGAIN}.")

    def _hdu(self, name: str) -> Hdu:
        if name not in self._hdus:
            raise self.error(f"no HDU {name}; it has {', '.join(self.names)}")
        return self._hdus[name]

    def table(self, name: str) -> NDArray[Any]:
        """A binary table as stored, mapped: big-endian numbers, bytes for text, `T`/`F` for flags.

        Raises:
            FormatError: no HDU of that name (the message names those there are), or it is not such a table.
        """
        if name not in self._tables:
            hdu = self._hdu(name)
            if hdu.text("XTENSION") != "BINTABLE":
                raise self.error(f"HDU {name} is not a binary table")
            dtype = np.dtype([self._field(hdu, number + 1) for number in range(hdu.count("TFIELDS"))])
            rows, width = hdu.shape
            if dtype.itemsize != width:
                raise self.error(f"the columns of {name} do not add up to its rows of {width} bytes")
            self._tables[name] = np.ndarray((rows,), dtype, self._bytes.data, hdu.start)
        return self._tables[name]

    def _field(self, hdu: Hdu, number: int) -> tuple[Any, ...]:
        """NumPy's description of one column."""
        name, form = hdu.text(f"TTYPE{number}"), hdu.text(f"TFORM{number}").strip()
        match = _FORM.fullmatch(form)
        if match is None:
            raise self.error(f"column {name} has the format {form}")
        count, code = int(match[1] or 1), match[2]
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
        """An image as stored: big-endian and mapped, or unpacked if it is compressed.

        Raises:
            FormatError: no HDU of that name (the message names those there are), or it is not an image.
        """
        hdu = self._hdu(name)
        if hdu.compressed:
            if self._unpacked is None:
                self._unpacked = self._unpack.enter_context(fits.open(self.path, do_not_scale_image_data=True))
            return np.asarray(self._unpacked[name].data)
        kind = _PIXELS.get(hdu.count("BITPIX"))
        if hdu.text("XTENSION") != "IMAGE" or kind is None:
            raise self.error(f"HDU {name} is not an image")
        return np.ndarray(hdu.shape, kind, self._bytes.data, hdu.start)

    def flips_sign(self, name: str) -> bool:
        """True for unsigned integers: FITS stores them less 2^31, that is with the topmost bit the other way."""
        return self._hdu(name).number("BZERO", 0) == 1 << 31


@contextmanager
def open_fits(path: Path) -> Iterator[FitsFile]:
    """A FITS file, mapped; a truncated or foreign one is a `FormatError`."""
    try:
        with path.open("rb") as file, ExitStack() as unpack:
            yield FitsFile(path, read_headers(file), unpack)
    except FormatError:
        raise
    except (OSError, TypeError, ValueError) as problem:
        msg = f"{path.name}: not a whole FITS file ({problem}); {AGAIN}."
        raise FormatError(msg) from problem


def same_text(values: NDArray[Any], wanted: str) -> NDArray[np.bool_]:
    """True where a fixed-width text is `wanted`, padded with NUL or blanks."""
    plain = wanted.encode()
    return np.asarray((values == plain) | (values == plain.ljust(values.dtype.itemsize)))


def text(values: NDArray[Any]) -> NDArray[np.str_]:
    """Fixed-width bytes as text without its padding."""
    return np.asarray(np.char.rstrip(np.char.decode(np.ascontiguousarray(values), "ascii"), " \x00"))
