"""Is a file what its name says, whole and to its end? Looked at before it may enter the cache; data are not decoded."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from mmu.archive.probe_fits import AGAIN as _AGAIN
from mmu.archive.probe_fits import BLOCK as _FITS_BLOCK
from mmu.archive.probe_fits import check_fits
from mmu.errors import FormatError

_RATIO, _FREE_BYTES, _MAX_BYTES = 200, 1 << 20, 16 << 30
_FREE_MEMBERS, _LEAST_MEMBER = 1000, 1024
_PACKED = (".xz", ".bz2", ".zst", ".lz4", ".lzma", ".z", ".zip", ".7z", ".rar", ".tgz")


def probe(path: Path, name: str | None = None, *, listed: bool = False, unpacked: int = 0) -> None:
    """Check a file against the format its name stands for (`name` where the file itself lies under another one).

    Args:
        listed: the archive's checksum list vouched for these bytes; sums in the file are not looked at again.
        unpacked: the most bytes that the file, or any HDU of it, may unpack to; 0 for defaults.

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
        if name.endswith(_PACKED):
            raise FormatError(f"{name} is packed in a way that is not read here; gzip is.")
        if name.endswith((".fits", ".fit", ".fz")):
            check_fits(handle, name, listed=listed, unpacked=unpacked)
        elif name.endswith(".gz"):
            _gzip(handle, name, unpacked)
        for suffix, check in _CHECKS.items():
            if name.endswith(suffix):
                check(handle, name)


def _refuse_page(head: bytes, name: str) -> None:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) and not name.endswith((".html", ".htm")):
        raise FormatError(f"the archive sent a web page instead of {name}; {_AGAIN}.")


def _size(handle: IO[bytes]) -> int:
    return handle.seek(0, 2)


def _gzip(handle: IO[bytes], name: str, unpacked: int) -> None:
    """Unpack into nothing: every member's CRC and length, the first bytes, and a bound on what comes out.

    What the survey declared (`unpacked`) may pack as well as it likes; beyond it the ratio is bounded.
    """
    inner, size, given, first = name.removesuffix(".gz"), 0, 0, b""
    for out, read in _inflate(handle, name):
        size, given = size + len(out), read
        first += out[: 512 - len(first)]
        if size > _MAX_BYTES or (size > max(_FREE_BYTES, unpacked) and (unpacked or size > _RATIO * given)):
            raise FormatError(
                f"{name} unpacks to more than {unpacked or min(size, _MAX_BYTES)} bytes from {given}; at most "
                f"{f'{unpacked} bytes' if unpacked else f'{_RATIO}:1'} and 16 GiB are allowed, so it is refused."
            )
    _refuse_page(first, inner)
    if inner.endswith((".fits", ".fit")) and (size % _FITS_BLOCK or not first.startswith(b"SIMPLE  =")):
        raise FormatError(f"{name} does not hold a whole FITS file ({size} bytes unpacked); {_AGAIN}.")


def _inflate(handle: IO[bytes], name: str) -> Iterator[tuple[bytes, int]]:
    """Unpacked pieces of at most 1 MiB, each with the number of packed bytes read so far."""
    handle.seek(0)
    read, left, members = 0, b"", 0
    while True:
        members += 1
        if members > _FREE_MEMBERS and members * _LEAST_MEMBER > read:
            raise FormatError(f"{name} is made of {members} gzip streams in {read} bytes, so it is refused.")
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
    ".jpg": _ends(b"\xff\xd8\xff", b"\xff\xd9", "JPEG"),
    ".jpeg": _ends(b"\xff\xd8\xff", b"\xff\xd9", "JPEG"),
    ".png": _ends(b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82", "PNG"),
    ".hdf5": _hdf5,
    ".h5": _hdf5,
}
