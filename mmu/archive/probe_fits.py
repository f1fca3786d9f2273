"""A FITS file looked at from its first header to its last byte: structure, bounds, and the sums that it carries.

Data are never decoded. An image that unpacks to more than it should is refused by what its header declares, and
DATASUM and CHECKSUM, where a header has them, must be those of the bytes as they stand.
"""

from __future__ import annotations

from math import prod
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mmu.errors import FormatError

BLOCK, CARD = 2880, 80
MAX_CARDS = 36_000
MAX_HDUS = 100_000
MAX_AXES = MAX_FIELDS = 999
MAX_BYTES = 16 << 30
"""What a whole file may unpack to at most."""
FREE_BYTES, RATIO = 256 << 20, 64
"""What one HDU may unpack to where the survey does not say: this, or so many times the file's size if that is more."""

AGAIN = "fetch it again, or look at it where it comes from"
_PREFIXES = ("NAXIS", "ZNAXIS", "ZTILE")
_KEYS = frozenset("BITPIX PCOUNT GCOUNT GROUPS TFIELDS ZIMAGE ZTABLE ZBITPIX CHECKSUM DATASUM".split())
_ONES = 0xFFFFFFFF
_STEP = 1 << 20

Cards = dict[str, str]


def check_fits(handle: IO[bytes], name: str, *, listed: bool = False, unpacked: int = 0) -> None:
    """Walk the HDUs by their headers; the last one must end where the file does.

    Args:
        listed: a checksum list vouched for the bytes, so the file's own sums need not be looked at.
        unpacked: the most bytes that any of its HDUs may unpack to; 0 for the default.

    Raises:
        FormatError: it is cut short, damaged or something else, or declares something absurd.
    """
    size, here, index, total = handle.seek(0, 2), 0, 0, 0
    most = min(unpacked or max(FREE_BYTES, RATIO * size), MAX_BYTES)
    if size % BLOCK:
        raise FormatError(f"{name} is {size} bytes long; not a multiple of 2880, so it is cut short: {AGAIN}.")
    while here < size:
        handle.seek(here)
        cards, header_sum = _header(handle, name, b"XTENSION=" if index else b"SIMPLE  =", index)
        start, length = handle.tell(), data_bytes(cards, name, index)
        total += _refuse_bomb(cards, name, index, most)
        if total > MAX_BYTES:
            raise FormatError(f"{name} declares {total} bytes unpacked, at most {MAX_BYTES} are allowed.")
        here = start + length
        if here <= size and not listed:
            _check_sums(handle, name, index, cards, header_sum, length)
        index += 1
        if index > MAX_HDUS:
            raise FormatError(f"{name} has more than {MAX_HDUS} HDUs; it is refused.")
    if here > size:
        raise FormatError(f"{name} is cut short: HDU {index - 1} ends at byte {here}, the file at {size}; {AGAIN}.")


def _header(handle: IO[bytes], name: str, first: bytes, index: int) -> tuple[Cards, int]:
    """The cards that matter of the header at the handle, and its words' sum; the handle is left at the data's start."""
    cards: Cards = {}
    count = total = 0
    while len(block := handle.read(BLOCK)) == BLOCK:
        if count == 0 and not block.startswith(first):
            raise FormatError(
                f"{name} is not a FITS file: HDU {index} starts with {block[:20]!r}, not {first.decode()!r}; {AGAIN}."
            )
        total += _words(np.frombuffer(block, np.uint8))
        for start in range(0, BLOCK, CARD):
            key = block[start : start + 8].rstrip().decode("ascii", "replace")
            if key == "END":
                return cards, total
            if (key in _KEYS or key.startswith(_PREFIXES)) and block[start + 8 : start + 10] == b"= ":
                cards.setdefault(key, block[start + 10 : start + CARD].decode("ascii", "replace"))
        count += BLOCK // CARD
        if count > MAX_CARDS:
            break
    raise FormatError(f"{name} is cut short or damaged: the header of HDU {index} does not end; {AGAIN}.")


def _number(cards: Cards, key: str, default: int | None = None) -> int:
    """A card's whole number; KeyError or ValueError where there is none."""
    if key not in cards and default is not None:
        return default
    return int(cards[key].partition("/")[0])


def _true(cards: Cards, key: str) -> bool:
    return cards.get(key, "").partition("/")[0].strip() == "T"


def _text(cards: Cards, key: str) -> str:
    """A card's text, "" without such a card."""
    return cards.get(key, "").partition("'")[2].partition("'")[0].strip()


def _axes(cards: Cards, key: str) -> list[int]:
    """The lengths that `key`, a number of axes, and its numbered cards give."""
    count = _number(cards, key)
    if not 0 <= count <= MAX_AXES:
        raise ValueError(f"{key} = {count}")
    return [_number(cards, f"{key}{axis}") for axis in range(1, count + 1)]


def data_bytes(cards: Cards, name: str, index: int) -> int:
    """Bytes of an HDU's data with their padding."""
    try:
        axes = _axes(cards, "NAXIS")
        width, extra = abs(_number(cards, "BITPIX")) // 8, _number(cards, "PCOUNT", 0)
        groups, fields = _number(cards, "GCOUNT", 1), _number(cards, "TFIELDS", 0)
    except (KeyError, ValueError) as problem:
        msg = f"{name} is not a FITS file one can walk: HDU {index} lacks sizes ({problem}); {AGAIN}."
        raise FormatError(msg) from problem
    if axes and axes[0] == 0 and _true(cards, "GROUPS"):
        axes = axes[1:]
    if min([extra, groups, fields, *axes]) < 0:
        raise FormatError(f"{name}: HDU {index} declares a negative size; {AGAIN}.")
    if fields > MAX_FIELDS:
        raise FormatError(f"{name}: HDU {index} declares {fields} columns, a FITS table has at most {MAX_FIELDS}.")
    used = width * groups * (extra + (prod(axes) if axes else 0))
    return -(-used // BLOCK) * BLOCK


def _refuse_bomb(cards: Cards, name: str, index: int, most: int) -> int:
    """Bytes that a compressed HDU declares to unpack to, 0 for any other."""
    try:
        if _true(cards, "ZIMAGE"):
            axes, width = _axes(cards, "ZNAXIS"), max(1, abs(_number(cards, "ZBITPIX")) // 8)
            tile = [_number(cards, f"ZTILE{n}", axes[0] if n == 1 else 1) for n in range(1, len(axes) + 1)]
            sizes = (width * prod(axes), width * prod(tile))
        elif _true(cards, "ZTABLE"):
            axes = tile = [_number(cards, "ZNAXIS1"), _number(cards, "ZNAXIS2")]
            sizes = (prod(axes), 0)
        else:
            return 0
    except (KeyError, ValueError, IndexError) as problem:
        msg = f"{name}: the compressed HDU {index} does not say how large it is ({problem}); {AGAIN}."
        raise FormatError(msg) from problem
    if min([0, *axes, *tile]) < 0:
        raise FormatError(f"{name}: HDU {index} declares a negative size; {AGAIN}.")
    if max(sizes) > most:
        raise FormatError(f"{name}: HDU {index} unpacks to {max(sizes)} bytes, more than the {most} allowed for it.")
    return sizes[0]


def _check_sums(handle: IO[bytes], name: str, index: int, cards: Cards, header_sum: int, length: int) -> None:
    """DATASUM and CHECKSUM of the HDU whose data the handle stands at; an empty card says nothing.

    A DATASUM above 0 of an HDU without data was copied with the header of another one: then neither says anything.
    """
    declared, whole = _text(cards, "DATASUM"), _text(cards, "CHECKSUM")
    if not (declared or whole) or (length == 0 and declared not in ("", "0")):
        return
    data_sum = _data_sum(handle, length)
    if declared and declared != str(data_sum) and not (declared.isascii() and _same(declared, data_sum)):
        raise FormatError(
            f"{name} is damaged: the data of HDU {index} sum to {data_sum}, its DATASUM says {declared[:20]}; {AGAIN}."
        )
    if whole and _folded(header_sum + data_sum) not in (0, _ONES):
        raise FormatError(f"{name} is damaged: HDU {index} does not agree with its CHECKSUM; {AGAIN}.")


def _same(declared: str, found: int) -> bool:
    """0 and 2^32 - 1 are the same number in ones-complement arithmetic."""
    return declared.isdigit() and int(declared) % _ONES == found % _ONES and int(declared) <= _ONES


def _data_sum(handle: IO[bytes], length: int) -> int:
    """The 32-bit ones-complement sum of so many bytes from where the handle stands."""
    total, buffer = 0, bytearray(min(length, _STEP))
    view, words = memoryview(buffer), np.frombuffer(buffer, np.uint8)
    while length:
        got = handle.readinto(view[: min(length, _STEP)])  # type: ignore[attr-defined]
        if not got or got % 4:
            raise FormatError(f"a file became shorter while it was looked at; {AGAIN}.")
        total += _words(words[:got])
        length -= got
    return _folded(total)


def _words(data: NDArray[np.uint8]) -> int:
    """The plain sum of big-endian 32-bit words."""
    return int(data.view(">u4").sum(dtype=np.uint64))


def _folded(total: int) -> int:
    """Carries added back in at the lower end."""
    while total > _ONES:
        total = (total & _ONES) + (total >> 32)
    return total
