"""FITS files, mapped: tables and planes by name, and an error that says what is missing and where."""

from __future__ import annotations

import gzip
import io
import os
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from mmu.errors import FormatError, MmuError
from mmu.fits.headers import Hdu, read_headers

AGAIN = "fetch it again, or check that it is of this release's data model"
SIGN = np.int32(-(1 << 31))
LARGEST = 1 << 30
"""Bytes that one HDU may unpack to, unless the caller expects more."""
LARGEST_FILE = 16 << 30

_CODES = {"L": "u1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
_OPAQUE = {"P": 8, "Q": 16, "C": 8, "M": 16}
_PIXELS = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_FORM = re.compile(r"(\d*)([LBIJKEDAXPQCM]).*")
_UNSIGNED = {"uint8": (-128, "i1"), "int16": (1 << 15, "u2"), "int32": (1 << 31, "u4"), "int64": (1 << 63, "u8")}
_BLOCK = 1 << 20
_TILE_HEAD = 10
"""Bytes before the data of an HCOMPRESS tile: a magic number and the lengths of its two sides."""
_DEFECTS = (OSError, ValueError, TypeError, LookupError, EOFError, AstropyWarning, zlib.error)

Key = str | int
"""An HDU's EXTNAME in capitals, or its number (0: the primary one)."""


class FitsFile:
    """An open FITS file: HDUs by name or number, tables as the records on disk, planes as arrays mapped from disk."""

    def __init__(self, path: Path, file: IO[bytes], unpack: ExitStack, largest: int = LARGEST) -> None:
        self.path, self.largest = path, largest
        self.hdus = read_headers(file)
        self.names = [hdu.name for hdu in self.hdus[1:]]
        self._by_name = {hdu.name: hdu for hdu in reversed(self.hdus[1:]) if hdu.name}
        self._file, self._unpack = file, unpack
        self._bytes: NDArray[np.uint8]
        if isinstance(file, io.BytesIO):
            self._bytes = np.frombuffer(file.getbuffer(), np.uint8)
        else:
            self._bytes = np.memmap(file, np.uint8, "r")
        self._tables: dict[int, NDArray[Any]] = {}
        self._unpacked: Any = None

    def error(self, what: str) -> FormatError:
        """What is wrong with this file, as an error to raise."""
        return FormatError(f"{self.path.name}: {what}; {AGAIN}.")

    def hdu(self, key: Key) -> Hdu:
        """An HDU's header.

        Raises:
            FormatError: there is none of that name or number (the message names those there are).
        """
        found = self._by_name.get(key) if isinstance(key, str) else dict(enumerate(self.hdus)).get(key)
        if found is None:
            raise self.error(f"no HDU {key}; it has {', '.join(name or 'one without a name' for name in self.names)}")
        return found

    def header(self, key: Key) -> fits.Header:
        """An HDU's header as Astropy has it, for world coordinates."""
        return fits.Header.fromstring(self.hdu(key).block)

    def has(self, name: str) -> bool:
        """True if there is an HDU of that name."""
        return name in self._by_name

    def table(self, key: Key) -> NDArray[Any]:
        """A binary table as stored, mapped: big-endian numbers, bytes for text, `T`/`F` for flags.

        Raises:
            FormatError: no HDU of that name (the message names those there are), or it is not such a table.
        """
        hdu = self.hdu(key)
        if hdu.start not in self._tables:
            if hdu.text("XTENSION") != "BINTABLE":
                raise self.error(f"HDU {key} is not a binary table")
            dtype = np.dtype([self._field(hdu, number + 1) for number in range(hdu.count("TFIELDS"))])
            rows, width = hdu.shape
            if dtype.itemsize != width:
                raise self.error(f"the columns of {key} do not add up to its rows of {width} bytes")
            self._tables[hdu.start] = np.ndarray((rows,), dtype, self._bytes.data, hdu.start)
        return self._tables[hdu.start]

    def _field(self, hdu: Hdu, number: int) -> tuple[Any, ...]:
        """NumPy's description of one column; raw bytes for what is not read here (bits, lists, complex numbers)."""
        name, form = hdu.text(f"TTYPE{number}"), hdu.text(f"TFORM{number}").strip()
        match = _FORM.fullmatch(form)
        if match is None:
            raise self.error(f"column {name} has the format {form}")
        count, code = int(match[1] or 1), match[2]
        if code == "A":
            return name, f"S{count}"
        if code not in _CODES:
            return name, f"V{-(-count // 8) if code == 'X' else count * _OPAQUE[code]}"
        return (name, _CODES[code]) if count == 1 else (name, _CODES[code], (count,))

    def column(self, table: Key, name: str) -> NDArray[Any]:
        """One column of a table, as stored.

        Raises:
            FormatError: the table or the column is not there.
        """
        values = self.table(table)
        if name not in (values.dtype.names or ()):
            raise self.error(f"no column {name} in {table}")
        return np.asarray(values[name])

    def columns(
        self,
        table: Key,
        names: Iterable[str],
        optional: Iterable[str] = (),
        rows: NDArray[np.intp] | slice | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Columns as native numbers, text (without padding) and booleans, under upper-case names whatever their case.

        Only the columns named are touched; `optional` ones may be absent. Copies: they outlive the file.

        Raises:
            FormatError: a column is missing (all that are missing are named), or is of a type not read here.
        """
        names = list(names)
        stored = {name.upper(): name for name in self.table(table).dtype.names or ()}
        missing = sorted({name.upper() for name in names} - stored.keys())
        if missing:
            raise self.error(f"no column {', '.join(missing)} in {table} among its {len(stored)}")
        wanted = [*names, *(name for name in optional if name.upper() in stored)]
        return {name: self._native(table, stored[name.upper()], rows) for name in wanted}

    def _native(self, table: Key, name: str, rows: NDArray[np.intp] | slice | None) -> NDArray[Any]:
        hdu, values = self.hdu(table), self.column(table, name)
        number = (self.table(table).dtype.names or ()).index(name) + 1
        if rows is not None:
            values = values[rows]
        zero, scale = hdu.number(f"TZERO{number}", 0), hdu.number(f"TSCAL{number}", 1)
        form = hdu.text(f"TFORM{number}")
        if values.dtype.kind == "V":
            raise self.error(f"column {name} of {table} has the format {form}, which is not expected")
        if values.dtype.kind == "S":
            return text(values)
        if "L" in form:
            return np.asarray(values == ord("T"))
        native = values.astype(values.dtype.newbyteorder("="))
        if zero == 0 and scale == 1:
            return native
        offset, kind = _UNSIGNED.get(native.dtype.name, (0, ""))
        if scale == 1 and zero == offset and kind:
            top = np.array(1 << (8 * native.itemsize - 1), dtype=f"u{native.itemsize}")
            return np.asarray((native.view(top.dtype) ^ top).view(kind))
        return np.asarray(native * scale + zero)

    def plane(self, key: Key) -> NDArray[Any]:
        """An image as stored: big-endian and mapped, or unpacked if it is compressed.

        Raises:
            FormatError: no HDU of that name (the message names those there are), it is not an image, or it would
                unpack to more than `largest` bytes.
        """
        hdu = self.hdu(key)
        if hdu.unpacked_bytes > self.largest:
            raise self.error(f"HDU {key} declares {hdu.unpacked_bytes} bytes, more than the {self.largest} expected")
        if hdu.compressed:
            self._refuse_lying_tiles(key, hdu)
            if self._unpacked is None:
                self._file.seek(0)
                self._unpacked = self._unpack.enter_context(fits.open(self._file, do_not_scale_image_data=True))
            try:
                return np.asarray(self._unpacked[self.hdus.index(hdu)].data)
            except MemoryError:
                raise
            except Exception as problem:  # the codecs have an error of their own, which is not public
                raise self.error(f"HDU {key} cannot be unpacked ({problem})") from problem
        kind = _PIXELS.get(hdu.count("BITPIX"))
        if (key != 0 and hdu.text("XTENSION") != "IMAGE") or kind is None or not hdu.shape:
            raise self.error(f"HDU {key} is not an image")
        return np.ndarray(hdu.shape, kind, self._bytes.data, hdu.start)

    def _refuse_lying_tiles(self, key: Key, hdu: Hdu) -> None:
        """HCOMPRESS's decoder believes what a tile says of its size: a lie ends the process, or writes beyond its room.

        Raises:
            FormatError: a tile lies outside the file, or is not as large as the header has it.
        """
        if not hdu.text("ZCMPTYPE").startswith("HCOMPRESS"):
            return
        table = self.column(key, "COMPRESSED_DATA")
        number = (self.table(key).dtype.names or ()).index("COMPRESSED_DATA") + 1
        kind = ">i8" if "Q" in hdu.text(f"TFORM{number}") else ">i4"
        size, place = np.ascontiguousarray(table).view(kind).reshape(len(table), 2).astype(np.int64).T
        there, pixels = size != 0, hdu.tile_pixels  # an empty one is kept in another column, by another codec
        place = place + hdu.count("THEAP", prod(hdu.shape))
        good = (
            len(pixels) == len(table)
            and ((size >= _TILE_HEAD) & (place >= 0) & (place + size <= hdu.size))[there].all()
        )
        if good:
            heads = self._bytes[hdu.start + place[there, None] + np.arange(_TILE_HEAD)]
            sides = np.ascontiguousarray(heads[:, 2:]).view(">i4").astype(np.int64)
            good = (heads[:, :2] == (0xDD, 0x99)).all() and (sides > 0).all()
            good = good and (sides[:, 0] * sides[:, 1] == pixels[there]).all()
        if not good:
            raise self.error(f"HDU {key} has damaged tiles")

    def flips_sign(self, key: Key) -> bool:
        """True for unsigned integers: FITS stores them less 2^31, that is with the topmost bit the other way."""
        return self.hdu(key).number("BZERO", 0) == 1 << 31


@contextmanager
def open_fits(path: Path, largest: int = LARGEST) -> Iterator[FitsFile]:
    """A FITS file, mapped; a `.gz` one is unpacked to a nameless scratch file first.

    Args:
        largest: bytes that one image may unpack to; one that declares more is refused before it is read.

    Raises:
        FormatError: it is truncated, foreign or damaged; the message names it.
    """
    try:
        with ExitStack() as stack:
            file: IO[bytes] = stack.enter_context(path.open("rb"))
            if path.name.endswith(".gz"):
                file = stack.enter_context(_inflated(file))
            yield FitsFile(path, file, stack, largest)
    except MmuError:
        raise
    except _DEFECTS as problem:
        msg = f"{path.name}: not a whole FITS file ({problem}); {AGAIN}."
        raise FormatError(msg) from problem


@contextmanager
def fits_of_bytes(name: str, content: bytes, largest: int = LARGEST) -> Iterator[FitsFile]:
    """A FITS file that is a member of another file, `name` in messages; nothing is copied.

    Raises:
        FormatError: as `open_fits`.
    """
    try:
        with ExitStack() as stack:
            yield FitsFile(Path(name), io.BytesIO(content), stack, largest)
    except FormatError:
        raise
    except _DEFECTS as problem:
        msg = f"{name}: not a whole FITS file ({problem}); {AGAIN}."
        raise FormatError(msg) from problem


@contextmanager
def _inflated(packed: IO[bytes]) -> Iterator[IO[bytes]]:
    """The contents of a gzip file in a scratch file that the system removes however we end."""
    with tempfile.TemporaryFile() as scratch, gzip.open(packed) as unpacked:
        while block := unpacked.read(_BLOCK):
            if scratch.tell() + len(block) > LARGEST_FILE:
                raise ValueError(f"it unpacks to more than {LARGEST_FILE} bytes")
            scratch.write(block)
        scratch.flush()
        with os.fdopen(os.dup(scratch.fileno()), "rb") as readable:
            yield readable


def same_text(values: NDArray[Any], wanted: str) -> NDArray[np.bool_]:
    """True where a fixed-width text is `wanted`, padded with NUL or blanks."""
    plain = wanted.encode()
    return np.asarray((values == plain) | (values == plain.ljust(values.dtype.itemsize)))


def text(values: NDArray[Any]) -> NDArray[np.str_]:
    """Fixed-width bytes as text without its padding."""
    return np.asarray(np.char.rstrip(np.char.decode(np.ascontiguousarray(values), "ascii"), " \x00"))
