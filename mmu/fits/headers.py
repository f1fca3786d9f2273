"""FITS headers as far as mapping the data takes: names, shapes, types and places of a file's HDUs.

Astropy's headers cost as much as a hundred spectra a file, for cards that nobody asks for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import IO

import numpy as np
from numpy.typing import NDArray

RECORD, CARD = 2880, 80
MOST_RECORDS = 1000
_TEXT = re.compile(rb" *'((?:[^']|'')*)'")


@dataclass(frozen=True)
class Hdu:
    """One HDU: EXTNAME in capitals, cards as they stand, where its data are in bytes, and the header as one block."""

    name: str
    cards: dict[bytes, bytes]
    start: int
    size: int
    block: bytes = b""

    def text(self, key: str) -> str:
        """A card's text without trailing blanks, empty without such a card."""
        match = _TEXT.match(self.cards.get(key.encode(), b""))
        return match[1].replace(b"''", b"'").decode("ascii").rstrip() if match else ""

    def number(self, key: str, default: float | None = None) -> float:
        """A card's number.

        Raises:
            ValueError: there is none, and no default.
        """
        raw = self.cards.get(key.encode())
        if raw is None:
            if default is None:
                raise ValueError(f"no {key} in the header of {self.name or 'the primary HDU'}")
            return default
        return float(raw.partition(b"/")[0].replace(b"D", b"E"))

    def count(self, key: str, default: int | None = None) -> int:
        """A card's whole number."""
        return int(self.number(key, default))

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes, slowest first; empty without data."""
        return tuple(self.count(f"NAXIS{axis}") for axis in range(self.count("NAXIS"), 0, -1))

    def has(self, key: str) -> bool:
        """True if there is such a card."""
        return key.encode() in self.cards

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape of the image, also of one stored as a table of compressed tiles."""
        if not self.compressed:
            return self.shape
        return tuple(self.count(f"ZNAXIS{axis}") for axis in range(self.count("ZNAXIS"), 0, -1))

    @property
    def tile_pixels(self) -> NDArray[np.int64]:
        """Pixels of each tile of a compressed image, in the order of the rows; those at the edges are smaller."""
        pixels = np.ones(1, dtype=np.int64)
        for axis, length in enumerate(reversed(self.image_shape), start=1):
            tile = max(1, self.count(f"ZTILE{axis}", length if axis == 1 else 1))
            starts = np.arange(0, length, tile)
            pixels = np.multiply.outer(np.minimum(tile, length - starts), pixels).reshape(-1)
        return pixels

    @property
    def is_table(self) -> bool:
        """True for a binary table that is one, not an image in compressed tiles."""
        return self.text("XTENSION") == "BINTABLE" and not self.compressed

    @property
    def unpacked_bytes(self) -> int:
        """Bytes that the data fill once they are unpacked, as the header declares them."""
        if not self.compressed:
            return self.size
        return prod(self.image_shape) * abs(self.count("ZBITPIX")) // 8

    @property
    def compressed(self) -> bool:
        """True for an image stored as a table of compressed tiles."""
        return self.cards.get(b"ZIMAGE", b"").partition(b"/")[0].strip() == b"T"


def read_headers(file: IO[bytes]) -> list[Hdu]:
    """The HDUs of a file, the primary one first; what follows the last is ignored.

    Raises:
        ValueError: it is no FITS file, or ends before its data do.
    """
    length = file.seek(0, 2)
    found: list[Hdu] = []
    place = 0
    while place < length:
        file.seek(place)
        text = _header(file, b"XTENSION=" if found else b"SIMPLE  =")
        if not text and not found:
            raise ValueError("it does not begin as one")
        if not text:
            break
        found.append(_hdu(text, place + len(text)))
        place = found[-1].start + -(-found[-1].size // RECORD) * RECORD
        if place > length:
            raise ValueError(f"truncated: {length} bytes of at least {place}")
    if not found:
        raise ValueError("it is empty")
    return found


def _header(file: IO[bytes], first: bytes) -> bytes:
    """The records of one header, up to its END; nothing if it does not begin with that card."""
    records = [file.read(RECORD)]
    if not records[0].startswith(first):
        return b""
    while not _ends(records[-1]):
        records.append(file.read(RECORD))
        if len(records[-1]) < RECORD or len(records) > MOST_RECORDS:
            raise ValueError("truncated: a header without END")
    return b"".join(records)


def _ends(record: bytes) -> bool:
    tail = record.rstrip(b" ")
    return tail.endswith(b"END") and len(tail) % CARD == len(b"END")


def _hdu(text: bytes, start: int) -> Hdu:
    """One header's cards that have a value (the first of each name), and the bytes of its data."""
    cards: dict[bytes, bytes] = {}
    for place in range(0, len(text), CARD):
        if text[place + 8 : place + 10] == b"= ":
            cards.setdefault(text[place : place + 8].rstrip(), text[place + 10 : place + CARD])
    bare = Hdu("", cards, start, 0)
    pixels = prod(bare.shape) if bare.shape else 0
    size = abs(bare.count("BITPIX")) // 8 * bare.count("GCOUNT", 1) * (bare.count("PCOUNT", 0) + pixels)
    if min([size, bare.count("PCOUNT", 0), *bare.shape]) < 0:
        raise ValueError("a header declares a negative size")
    return Hdu(bare.text("EXTNAME").upper(), cards, start, size, text)
