"""Is a file what its name says, whole and to its end? Looked at before it may enter the cache; data are not decoded."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from mmu.errors import FormatError

_FITS_BLOCK = 2880
_MAX_CARDS = 360_000
_MAX_HDUS = 100_000
_RATIO, _FREE_BYTES, _MAX_BYTES = 200, 1 << 20, 16 << 30
_AGAIN = "fetch it again, or look at it where it comes from"


def probe(path: Path, name: str | None = None) -> None:
    """Check a file against the format its name stands for (`name` where the file itself lies under another one).

    Raises:
        FormatError: it is something else, is cut short, is damaged, or would unpack to something absurd.
    """
    name = (name or path.name).rpartition("/")[2].lower()
    with path.open("rb") as handle:
        head = handle.read(512)
        if not head:
            raise FormatError(f"{name} is empty; {_AGAIN}.")
        _refuse_page(head, name)
        handle.seek(0)
        for suffix, check in _CHECKS.items():
            if name.endswith(suffix):
                check(handle, name)


def _refuse_page(head: bytes, name: str) -> None:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) and not name.endswith((".html", ".htm")):
        raise FormatError(f"the archive sent a web page instead of {name}; {_AGAIN}.")


def _size(handle: IO[bytes]) -> int:
    return handle.seek(0, 2)


def _fits(handle: IO[bytes], name: str) -> None:
    """Walk the HDUs by their headers; the last one must end where the file does."""
    size, here, index = _size(handle), 0, 0
    if size % _FITS_BLOCK:
        raise FormatError(f"{name} is {size} bytes long; not a multiple of 2880, so it is cut short: {_AGAIN}.")
    while here < size:
        handle.seek(here)
        cards = _header(handle, name, b"XTENSION=" if index else b"SIMPLE  =", index)
        here = handle.tell() + _data_bytes(cards, name, index)
        index += 1
        if index > _MAX_HDUS:
            raise FormatError(f"{name} has more than {_MAX_HDUS} HDUs; it is refused.")
    if here > size:
        raise FormatError(f"{name} is cut short: HDU {index - 1} ends at byte {here}, the file at {size}; {_AGAIN}.")


def _header(handle: IO[bytes], name: str, first: bytes, index: int) -> dict[str, str]:
    """The structural cards of the header at the handle, which is left at the data's start."""
    cards: dict[str, str] = {}
    count = 0
    while block := handle.read(_FITS_BLOCK):
        if count == 0 and not block.startswith(first):
            raise FormatError(
                f"{name} is not a FITS file: HDU {index} starts with {block[:20]!r}, not {first.decode()!r}; {_AGAIN}."
            )
        for start in range(0, _FITS_BLOCK, 80):
            card = block[start : start + 80]
            key = card[:8].rstrip().decode("ascii", "replace")
            if key == "END":
                return cards
            if key.startswith(("NAXIS", "BITPIX", "PCOUNT", "GCOUNT", "GROUPS")) and card[8:10] == b"= ":
                cards.setdefault(key, card[10:].partition(b"/")[0].strip().decode("ascii", "replace"))
        count += _FITS_BLOCK // 80
        if count > _MAX_CARDS:
            break
    raise FormatError(f"{name} is cut short or damaged: the header of HDU {index} does not end; {_AGAIN}.")


def _data_bytes(cards: dict[str, str], name: str, index: int) -> int:
    """Bytes of an HDU's data with their padding."""
    try:
        axes = [int(cards[f"NAXIS{axis}"]) for axis in range(1, int(cards["NAXIS"]) + 1)]
        width, extra, groups = abs(int(cards["BITPIX"])) // 8, int(cards.get("PCOUNT", 0)), int(cards.get("GCOUNT", 1))
    except (KeyError, ValueError) as problem:
        msg = f"{name} is not a FITS file one can walk: HDU {index} lacks sizes ({problem}); {_AGAIN}."
        raise FormatError(msg) from problem
    if axes and axes[0] == 0 and cards.get("GROUPS") == "T":
        axes = axes[1:]
    count = 1 if axes else 0
    for axis in axes:
        count *= axis
    used = width * groups * (extra + count)
    if used < 0 or min([0, *axes]) < 0:
        raise FormatError(f"{name}: HDU {index} declares a negative size; {_AGAIN}.")
    return -(-used // _FITS_BLOCK) * _FITS_BLOCK


def _gzip(handle: IO[bytes], name: str) -> None:
    """Unpack into nothing: every member's CRC and length, the first bytes, and a bound on what comes out."""
    inner, size, given, first = name.removesuffix(".gz"), 0, 0, b""
    for out, read in _inflate(handle, name):
        size, given = size + len(out), read
        first += out[: 512 - len(first)]
        if size > _MAX_BYTES or (size > _FREE_BYTES and size > _RATIO * given):
            raise FormatError(
                f"{name} unpacks to more than {min(size, _MAX_BYTES)} bytes from {given}; at most {_RATIO}:1 "
                "and 16 GiB are allowed, so it is refused."
            )
    _refuse_page(first, inner)
    if inner.endswith((".fits", ".fit")) and (size % _FITS_BLOCK or not first.startswith(b"SIMPLE  =")):
        raise FormatError(f"{name} does not hold a whole FITS file ({size} bytes unpacked); {_AGAIN}.")


def _inflate(handle: IO[bytes], name: str) -> Iterator[tuple[bytes, int]]:
    """Unpacked pieces of at most 1 MiB, each with the number of packed bytes read so far."""
    handle.seek(0)
    read, left = 0, b""
    while True:
        stream = zlib.decompressobj(wbits=31)
        while not stream.eof:
            if not left:
                left = handle.read(_FREE_BYTES)
                read += len(left)
            ended = not left
            try:
                out = stream.decompress(left, _FREE_BYTES)
            except zlib.error as problem:
                msg = f"{name} is not an undamaged gzip file ({problem}); {_AGAIN}."
                raise FormatError(msg) from problem
            if ended and not out and not stream.eof:
                raise FormatError(f"{name} is cut short in the middle of its gzip stream; {_AGAIN}.")
            left = stream.unconsumed_tail
            yield out, read
        more = b"" if stream.unused_data else handle.read(_FREE_BYTES)
        left, read = (stream.unused_data + more).lstrip(b"\0"), read + len(more)
        if not left:
            return


def _ends(start: bytes, end: bytes, kind: str) -> Callable[[IO[bytes], str], None]:
    """A check that a file starts and ends with its format's marks (padding after them is let pass)."""

    def check(handle: IO[bytes], name: str) -> None:
        given = handle.read(len(start))
        handle.seek(max(0, _size(handle) - 512))
        tail = handle.read()
        if given != start:
            raise FormatError(f"{name} is not a {kind} file: it starts with {given!r}; {_AGAIN}.")
        if not tail.rstrip(b"\0\r\n ").endswith(end.rstrip(b"\0\r\n ")):
            raise FormatError(f"{name} is cut short: the end mark of a {kind} file is missing; {_AGAIN}.")

    return check


def _hdf5(handle: IO[bytes], name: str) -> None:
    """Signature, and the end of file that the superblock states."""
    head = handle.read(64)
    if not head.startswith(b"\x89HDF\r\n\x1a\n") or len(head) < 64:
        raise FormatError(f"{name} is not an HDF5 file: it starts with {head[:8]!r}; {_AGAIN}.")
    offset = {0: 40, 1: 44}.get(head[8], 28)
    end = int.from_bytes(head[offset : offset + 8], "little")
    if end > _size(handle):
        raise FormatError(f"{name} is cut short: {end} bytes are declared, {_size(handle)} are there; {_AGAIN}.")


_CHECKS: dict[str, Callable[[IO[bytes], str], None]] = {
    ".fits": _fits,
    ".fit": _fits,
    ".fz": _fits,
    ".gz": _gzip,
    ".jpg": _ends(b"\xff\xd8\xff", b"\xff\xd9", "JPEG"),
    ".jpeg": _ends(b"\xff\xd8\xff", b"\xff\xd9", "JPEG"),
    ".png": _ends(b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82", "PNG"),
    ".hdf5": _hdf5,
    ".h5": _hdf5,
}
