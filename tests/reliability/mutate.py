"""Ways in which a file can be bad: (file, random numbers) -> its bytes, and whether a right answer is still possible.

Three families: bytes (as transfers and disks damage them), structure (as a pipeline's mistake or another data model
would have it; the file is written anew, without checksums of its own), and whole files that are something else.
"""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits

from mmu.fits import Hdu, read_headers

BLOCK, CARD = 2880, 80
Random = np.random.Generator
Change = Callable[[bytes, Random], bytes | None]
"""A mutation; None where it cannot be done to such a file."""


@dataclass(frozen=True)
class Kind:
    """A way to spoil a file.

    Attributes:
        change: what it does.
        keeps: whatever comes of it is right or refused, though nothing vouches for the bytes: the mutation leaves
            every value beside its id, or takes it away.
        bytewise: it is done to the file as it lies (a transfer's damage), not to what is inside.
    """

    change: Change
    keeps: bool
    bytewise: bool = False


# -- bytes --------------------------------------------------------------------------------------------------------


def _span(data: bytes, random: Random, most: int = 4096) -> tuple[int, int]:
    start = int(random.integers(0, len(data)))
    return start, min(len(data), start + int(random.integers(1, most)))


def _flip(data: bytes, random: Random, first: int, last: int) -> bytes:
    place = int(random.integers(first, max(first + 1, last)))
    out = bytearray(data)
    out[min(place, len(data) - 1)] ^= 1 << int(random.integers(8))
    return bytes(out)


def flip_header(data: bytes, random: Random) -> bytes | None:
    if data.startswith(b"SIMPLE"):
        hdus = read_headers(io.BytesIO(data))
        hdu = hdus[int(random.integers(len(hdus)))]
        first = hdu.start - len(hdu.block)
        used = first + hdu.block.rfind(b"END     ") if b"END     " in hdu.block else hdu.start
        return _flip(data, random, first, used)
    return _flip(data, random, 0, min(len(data), 512))


def flip_data(data: bytes, random: Random) -> bytes | None:
    if data.startswith(b"SIMPLE"):
        hdus = [hdu for hdu in read_headers(io.BytesIO(data)) if hdu.size]
        if not hdus:
            return None
        hdu = hdus[int(random.integers(len(hdus)))]
        return _flip(data, random, hdu.start, hdu.start + hdu.size)
    return _flip(data, random, 0, len(data))


def cut(data: bytes, random: Random) -> bytes | None:
    return data[: int(random.integers(0, len(data)))]


def cut_at_block(data: bytes, random: Random) -> bytes | None:
    blocks = len(data) // BLOCK
    return data[: BLOCK * int(random.integers(1, blocks))] if blocks > 1 else None


def insert(data: bytes, random: Random) -> bytes | None:
    place, count = int(random.integers(0, len(data))), int(random.integers(1, 2 * BLOCK))
    return data[:place] + random.bytes(count) + data[place:]


def remove(data: bytes, random: Random) -> bytes | None:
    start, end = _span(data, random)
    return data[:start] + data[end:]


def zero(data: bytes, random: Random) -> bytes | None:
    start, end = _span(data, random)
    return data[:start] + bytes(end - start) + data[end:]


def swap_blocks(data: bytes, random: Random) -> bytes | None:
    size = 512 if len(data) < 8 * BLOCK else BLOCK
    if len(data) < 3 * size:
        return None
    a, b = sorted(random.choice(len(data) // size, 2, replace=False).tolist())
    first, second = data[a * size : (a + 1) * size], data[b * size : (b + 1) * size]
    return data[: a * size] + second + data[(a + 1) * size : b * size] + first + data[(b + 1) * size :]


def garbage_tail(data: bytes, random: Random) -> bytes | None:
    return data + random.bytes(int(random.integers(1, 3 * BLOCK)))


# -- FITS ---------------------------------------------------------------------------------------------------------

Part = tuple[bytes, bytes]
"""Header and data of an HDU, both whole records."""


def parts(data: bytes) -> list[Part] | None:
    """The HDUs of a FITS file without their checksums, as if whoever wrote it meant it so; None if it is none."""
    if not data.startswith(b"SIMPLE"):
        return None
    found = []
    for hdu in read_headers(io.BytesIO(data)):
        whole = -(-hdu.size // BLOCK) * BLOCK
        block = re.sub(rb"(CHECKSUM|DATASUM )=.{71}", b" " * CARD, hdu.block)
        found.append((block, data[hdu.start : hdu.start + whole]))
    return found


def _whole(found: list[Part]) -> bytes:
    return b"".join(header + content + bytes(-len(content) % BLOCK) for header, content in found)


def _hdu(part: Part) -> Hdu:
    """A part's cards; extensions are read as they are."""
    return read_headers(io.BytesIO(part[0].replace(b"XTENSION=", b"SIMPLE  =", 1) + part[1]))[0]


def _tables(found: list[Part]) -> list[int]:
    return [n for n, part in enumerate(found) if b"'BINTABLE'" in part[0][:CARD] and _hdu(part).count("NAXIS2") > 0]


def _pick(choices: Any, random: Random) -> Any:
    return choices[int(random.integers(len(choices)))]


def _set_card(header: bytes, key: str, value: str) -> bytes:
    """A card's value, in place; a header without it is left as it is."""
    name = key.encode().ljust(8) + b"="
    for start in range(0, len(header), CARD):
        if header[start : start + 9] == name:
            card = f"{key:<8}= {value:>20}".encode()[:CARD].ljust(CARD)
            return header[:start] + card + header[start + CARD :]
    return header


def on_parts(change: Callable[[list[Part], Random], list[Part] | None]) -> Change:
    """A change of HDUs as a change of bytes."""

    def changed(data: bytes, random: Random) -> bytes | None:
        found = parts(data)
        after = change(found, random) if found else None
        return _whole(after) if after else None

    return changed


_NUMBERS = ("-1", "0", "1", "2", "7", "1000", "65535", "2147483648", "1E300", "NaN", "'text'", "T", "", "10000000000")
_CARDS: dict[str, tuple[str, ...]] = {
    "NAXIS": ("0", "1", "2", "3", "999", "1000", "-2"),
    "NAXIS1": _NUMBERS,
    "NAXIS2": _NUMBERS,
    "BITPIX": ("8", "16", "-32", "-64", "64", "0", "7", "'x'"),
    "PCOUNT": ("0", "-8", "8", "2880", "99999999999"),
    "GCOUNT": ("0", "2", "-1", "100000"),
    "TFIELDS": ("0", "1", "500", "1000", "-1"),
    "EXTNAME": ("''", "'OTHER'", "'FIBERMAP'", "3"),
    "XTENSION": ("'IMAGE   '", "'TABLE   '", "'A3DTABLE'", "''"),
    "BZERO": ("32768", "2147483648", "0.5", "'x'", "1E400"),
    "BSCALE": ("0", "2", "NaN"),
    "ZNAXIS1": _NUMBERS,
    "ZNAXIS2": _NUMBERS,
    "ZTILE1": _NUMBERS,
    "ZTILE2": _NUMBERS,
    "ZBITPIX": ("8", "16", "32", "-32", "-64", "3"),
    "ZCMPTYPE": ("'GZIP_1'", "'RICE_1'", "'HCOMPRESS_1'", "'NOT'", "3"),
    "ZIMAGE": ("F", "T"),
    "CTYPE1": ("'RA---SIN'", "'GLON-TAN'", "'X'", "3"),
    "CTYPE2": ("'DEC--SIN'", "'GLAT-TAN'", "'X'", "3"),
    "CRVAL1": ("0.0", "1E300", "NaN", "'x'", "-720"),
    "CRVAL2": ("90.0", "-90.0", "1E300", "'x'", "91"),
    "CRPIX1": ("0", "1E300", "-1E9", "'x'"),
    "CD1_1": ("0", "1E-300", "1", "'x'"),
    "CD2_2": ("0", "-1", "'x'"),
}
_PER_COLUMN: dict[str, tuple[str, ...]] = {
    "TFORM": ("'K'", "'J'", "'D'", "'E'", "'8A'", "'PE(9)'", "'0E'", "'1000000E'", "'L'", "'X'", "'?'", "'-3J'"),
    "TTYPE": ("'OTHER'", "''", "'TARGETID'", "3"),
    "TZERO": ("1", "32768", "9223372036854775808", "'x'"),
    "TSCAL": ("2", "0", "NaN"),
}


def card(found: list[Part], random: Random) -> list[Part] | None:
    """One card of one header says something else."""
    for _ in range(50):
        n = int(random.integers(len(found)))
        header, content = found[n]
        if random.random() < 0.35:
            stem = _pick(list(_PER_COLUMN), random)
            key, value = f"{stem}{int(random.integers(1, 30))}", _pick(_PER_COLUMN[stem], random)
        else:
            key = _pick(list(_CARDS), random)
            value = _pick(_CARDS[key], random)
        changed = _set_card(header, key, value)
        if changed != header:
            return [*found[:n], (changed, content), *found[n + 1 :]]
    return None


def hdu_removed(found: list[Part], random: Random) -> list[Part] | None:
    n = int(random.integers(1, len(found))) if len(found) > 1 else 0
    return [*found[:n], *found[n + 1 :]] if n else None


def hdu_twice(found: list[Part], random: Random) -> list[Part] | None:
    if len(found) < 2:
        return None
    n = int(random.integers(1, len(found)))
    place = int(random.integers(1, len(found) + 1))
    return [*found[:place], found[n], *found[place:]]


def hdus_shuffled(found: list[Part], random: Random) -> list[Part] | None:
    return [found[0], *(found[n + 1] for n in random.permutation(len(found) - 1))] if len(found) > 2 else None


def _rows(part: Part) -> tuple[np.ndarray[Any, Any], bytes, int]:
    """A table's rows as bytes (N, width), what follows them (the heap), and the width."""
    hdu = _hdu(part)
    count, width = hdu.shape
    rows = np.frombuffer(part[1], np.uint8, count * width).reshape(count, width)
    return rows, part[1][count * width : hdu.size], width


def _with_rows(part: Part, order: np.ndarray[Any, Any]) -> Part:
    rows, heap, _ = _rows(part)
    content = rows[order].tobytes() + heap
    header = _set_card(part[0], "NAXIS2", str(len(order)))
    return header, content + bytes(-len(content) % BLOCK)


def rows_of_one(how: str) -> Callable[[list[Part], Random], list[Part] | None]:
    """Rows of one table in another order, twice, or gone."""

    def changed(found: list[Part], random: Random) -> list[Part] | None:
        tables = [n for n in _tables(found) if b"ZIMAGE  =" not in found[n][0]]
        if not tables:
            return None
        n = _pick(tables, random)
        count = _hdu(found[n]).count("NAXIS2")
        some = random.integers(0, count, 1 + int(random.integers(3)))
        order = {
            "shuffled": random.permutation(count),
            "turned": np.roll(np.arange(count), 1 + int(random.integers(count))),
            "twice": np.sort(np.append(np.arange(count), some)),
            "replaced": np.where(np.isin(np.arange(count), some), (np.arange(count) + 1) % count, np.arange(count)),
            "dropped": np.setdiff1d(np.arange(count), some),
            "all gone": np.empty(0, dtype=int),
        }[how]
        return [*found[:n], _with_rows(found[n], order), *found[n + 1 :]]

    return changed


def rows_of_all(found: list[Part], random: Random) -> list[Part] | None:
    """Every table and every image with as many rows as the first table, in one other order: a healthy file."""
    tables = [n for n in _tables(found) if b"ZIMAGE  =" not in found[n][0]]
    if not tables:
        return None
    count = _hdu(found[tables[0]]).count("NAXIS2")
    order, out = random.permutation(count), []
    for n, part in enumerate(found):
        hdu = _hdu(part)
        if n in tables and hdu.count("NAXIS2") == count:
            out.append(_with_rows(part, order))
        elif n not in tables and len(hdu.shape) > 1 and hdu.shape[0] == count and hdu.size:
            content = np.frombuffer(part[1], np.uint8, hdu.size).reshape(count, -1)[order].tobytes()
            out.append((part[0], content + bytes(-len(content) % BLOCK)))
        else:
            out.append(part)
    return out


def plane_rows(how: str) -> Callable[[list[Part], Random], list[Part] | None]:
    """An image with one row more or less than it should have."""

    def changed(found: list[Part], random: Random) -> list[Part] | None:
        images = [n for n, part in enumerate(found) if _hdu(part).size and b"'IMAGE" in part[0][:CARD]]
        images = [n for n in images if len(_hdu(found[n]).shape) > 1]
        if not images:
            return None
        n = _pick(images, random)
        hdu = _hdu(found[n])
        rows = np.frombuffer(found[n][1], np.uint8, hdu.size).reshape(hdu.shape[0], -1)
        kept = np.append(rows, rows[:1], axis=0) if how == "more" else rows[1:]
        header = _set_card(found[n][0], f"NAXIS{len(hdu.shape)}", str(len(kept)))
        content = kept.tobytes()
        return [*found[:n], (header, content + bytes(-len(content) % BLOCK)), *found[n + 1 :]]

    return changed


def column(how: str) -> Callable[[list[Part], Random], list[Part] | None]:
    """One column of one table under another name, gone, of another type, of another length, or in another place."""

    def changed(found: list[Part], random: Random) -> list[Part] | None:
        tables = [n for n in _tables(found) if b"ZIMAGE  =" not in found[n][0]]
        if not tables:
            return None
        n = _pick(tables, random)
        if how == "renamed":
            key = f"TTYPE{1 + int(random.integers(_hdu(found[n]).count('TFIELDS')))}"
            return [*found[:n], (_set_card(found[n][0], key, "'renamed'"), found[n][1]), *found[n + 1 :]]
        hdu: Any = fits.BinTableHDU.fromstring(found[n][0] + found[n][1])
        columns = [fits.Column(c.name, c.format, array=np.array(hdu.data[c.name])) for c in hdu.columns]
        place = int(random.integers(len(columns)))
        one = columns[place]
        values = np.array(hdu.data[one.name])
        if how == "gone":
            del columns[place]
        elif how == "elsewhere":
            columns.append(columns.pop(place))
        elif how == "retyped":
            if values.dtype.kind in "SU":
                columns[place] = fits.Column(one.name, "D", array=np.zeros(len(values)))
            elif random.random() < 0.3 or values.ndim > 1 or values.dtype.kind == "O":  # rows of several lengths
                columns[place] = fits.Column(one.name, "20A", array=np.full(len(values), "n/a"))
            else:
                columns[place] = fits.Column(one.name, "E" if random.random() < 0.5 else "D", array=values)
        else:
            columns[place] = fits.Column(one.name, "3E", array=np.zeros((len(values), 3)))
        with np.errstate(all="ignore"):
            new = fits.BinTableHDU.from_columns(columns, name=hdu.name)
        new.header.update({k: hdu.header[k] for k in ("BRICK", "BRICKID", "BANDS") if k in hdu.header})
        buffer = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), new]).writeto(buffer)
        return [*found[:n], (parts(buffer.getvalue()) or [])[1], *found[n + 1 :]]

    return changed


def no_numbers(found: list[Part], random: Random) -> list[Part] | None:
    """Values that are no numbers, or absurd ones, in a float image or a float column."""
    bad = np.array([np.nan, np.inf, -np.inf, 1e38, -1e38, 1e-45])
    images = [
        n for n, p in enumerate(found) if _hdu(p).size and b"'IMAGE" in p[0][:CARD] and _hdu(p).count("BITPIX") < 0
    ]
    tables = [n for n in _tables(found) if b"ZIMAGE  =" not in found[n][0]]
    if not images + tables:
        return None
    n = _pick(images + tables, random)
    header, content = found[n]
    if n in images:
        kind = ">f4" if _hdu(found[n]).count("BITPIX") == -32 else ">f8"
        values = np.frombuffer(content, kind, _hdu(found[n]).size // np.dtype(kind).itemsize).copy()
        values[random.integers(0, len(values), 1 + len(values) // 20)] = _pick(bad, random)
        return [*found[:n], (header, values.tobytes() + content[values.nbytes :]), *found[n + 1 :]]
    hdu: Any = fits.BinTableHDU.fromstring(header + content)
    rows = np.array(hdu.data.view(np.ndarray))
    floats = [name for name in rows.dtype.names or () if rows.dtype[name].base.kind == "f"]
    if not floats:
        return None
    with np.errstate(all="ignore"):
        rows[_pick(floats, random)][random.integers(0, len(rows))] = _pick(bad, random)
    new = rows.tobytes()
    return [*found[:n], (header, new + content[len(new) :]), *found[n + 1 :]]


# -- text tables --------------------------------------------------------------------------------------------------


def on_lines(change: Callable[[list[str], list[str], list[str], Random], str | None]) -> Change:
    """A change of a CSV file with a header of `#` lines: (header, names, rows) -> text."""

    def changed(data: bytes, random: Random) -> bytes | None:
        try:
            lines = data.decode().splitlines()
        except UnicodeDecodeError:
            return None
        head = [line for line in lines if line.startswith("#")]
        rest = lines[len(head) :]
        if len(rest) < 3 or "," not in rest[0]:
            return None
        text = change(head, rest[0].split(","), rest[1:], random)
        return None if text is None else text.encode()

    return changed


def _csv(head: list[str], names: list[str], rows: list[str], end: str = "\n") -> str:
    return end.join([*head, ",".join(names), *rows]) + end


def _fields(row: str) -> list[str]:
    return re.findall(r'(?:^|,)("[^"]*"|[^,]*)', row)


def csv_column(how: str) -> Change:
    def changed(head: list[str], names: list[str], rows: list[str], random: Random) -> str:
        place = int(random.integers(len(names)))
        if how == "renamed":
            names[place] = "renamed"
            return _csv(head, names, rows)
        table = [names, *(_fields(row) for row in rows)]
        for row in table:
            value = row.pop(place)
            if how == "elsewhere":
                row.append(value)
        return _csv(head, table[0], [",".join(row) for row in table[1:]])

    return on_lines(changed)


def csv_rows(how: str) -> Change:
    def changed(head: list[str], names: list[str], rows: list[str], random: Random) -> str:
        n = int(random.integers(len(rows)))
        if how == "shuffled":
            rows = [rows[i] for i in random.permutation(len(rows))]
        elif how == "twice":
            rows.insert(int(random.integers(len(rows))), rows[n])
        elif how == "dropped":
            del rows[n]
        elif how == "too short":
            rows[n] = rows[n].rpartition(",")[0]
        elif how == "too long":
            rows[n] += ",1,2"
        elif how == "empty line":
            rows.insert(n, "")
        elif how == "cut in the middle":
            rows = [*rows[:n], rows[n][: int(random.integers(len(rows[n])))]]
        return _csv(head, names, rows)

    return on_lines(changed)


def csv_cell(values: tuple[str, ...]) -> Change:
    def changed(head: list[str], names: list[str], rows: list[str], random: Random) -> str:
        n = int(random.integers(len(rows)))
        fields = _fields(rows[n])
        fields[int(random.integers(len(fields)))] = _pick(values, random)
        rows[n] = ",".join(fields)
        return _csv(head, names, rows)

    return on_lines(changed)


def csv_letters(how: str) -> Change:
    def changed(head: list[str], names: list[str], rows: list[str], random: Random) -> str:
        text = _csv(head, names, rows, {"CRLF": "\r\n", "CR": "\r"}.get(how, "\n"))
        place = int(random.integers(len(text)))
        extra = {"NUL": "\0", "quote": '"', "Latin": "é"}.get(how, "")
        text = text[:place] + extra + text[place:]
        return "\ufeff" + text if how == "BOM" else text

    return on_lines(changed)


# -- HDF5 ---------------------------------------------------------------------------------------------------------


def hdf5(how: str) -> Change:
    """One dataset of an HDF5 file under another name, gone, shorter, or every one in one other order."""

    def changed(data: bytes, random: Random) -> bytes | None:
        if not data.startswith(b"\x89HDF"):
            return None
        import h5py

        buffer = io.BytesIO(data)
        with h5py.File(buffer, "r+") as file:
            names: list[str] = []
            file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
            name = _pick(names, random)
            values = file[name][()]
            if how == "renamed":
                file.move(name, f"{name}_renamed")
            elif how == "all shuffled":
                count = len(file[names[0]])
                order = random.permutation(count)
                for each in names:
                    if file[each].shape[:1] == (count,):
                        file[each][...] = file[each][()][order]
            else:
                del file[name]
                if how == "shorter":
                    file[name] = values[:-1]
        return buffer.getvalue()

    return changed


# -- all of them --------------------------------------------------------------------------------------------------


def instead(content: bytes) -> Change:
    """The file is something else altogether."""
    return lambda data, random: content


_PAGE = b"<!DOCTYPE html>\n<html><body><h1>503 Service Unavailable</h1></body></html>\n"
_ODD = ("abc", "1e999", "99999999999999999999999", "-1", "null", "NaN", "", "0x10", "1.5", '"[1, 2]"', "True", "1 2")

KINDS: dict[str, Kind] = {
    "a bit of a header flipped": Kind(flip_header, keeps=False, bytewise=True),
    "a bit of the data flipped": Kind(flip_data, keeps=False, bytewise=True),
    "cut at a byte": Kind(cut, keeps=True, bytewise=True),
    "cut at a block": Kind(cut_at_block, keeps=True, bytewise=True),
    "bytes put in": Kind(insert, keeps=False, bytewise=True),
    "bytes taken out": Kind(remove, keeps=False, bytewise=True),
    "bytes zeroed": Kind(zero, keeps=False, bytewise=True),
    "blocks swapped": Kind(swap_blocks, keeps=False, bytewise=True),
    "garbage at the end": Kind(garbage_tail, keeps=True, bytewise=True),
    "empty": Kind(instead(b""), keeps=True, bytewise=True),
    "a web page": Kind(instead(_PAGE), keeps=True, bytewise=True),
    "some text": Kind(instead(b"Too many requests; try again later.\n"), keeps=True, bytewise=True),
    "a card of a header": Kind(on_parts(card), keeps=False),
    "an HDU gone": Kind(on_parts(hdu_removed), keeps=True),
    "an HDU twice": Kind(on_parts(hdu_twice), keeps=True),
    "HDUs in another order": Kind(on_parts(hdus_shuffled), keeps=True),
    "rows of a table shuffled": Kind(on_parts(rows_of_one("shuffled")), keeps=True),
    "rows of a table turned": Kind(on_parts(rows_of_one("turned")), keeps=True),
    "rows of a table twice": Kind(on_parts(rows_of_one("twice")), keeps=True),
    "rows of a table in place of others": Kind(on_parts(rows_of_one("replaced")), keeps=True),
    "rows of a table dropped": Kind(on_parts(rows_of_one("dropped")), keeps=True),
    "a table without rows": Kind(on_parts(rows_of_one("all gone")), keeps=True),
    "all rows in another order": Kind(on_parts(rows_of_all), keeps=True),
    "an image with a row more": Kind(on_parts(plane_rows("more")), keeps=True),
    "an image with a row less": Kind(on_parts(plane_rows("less")), keeps=True),
    "a column renamed": Kind(on_parts(column("renamed")), keeps=True),
    "a column gone": Kind(on_parts(column("gone")), keeps=True),
    "a column elsewhere": Kind(on_parts(column("elsewhere")), keeps=True),
    "a column of another type": Kind(on_parts(column("retyped")), keeps=False),
    "a column of another length": Kind(on_parts(column("longer")), keeps=False),
    "values that are no numbers": Kind(on_parts(no_numbers), keeps=False),
    "a CSV column renamed": Kind(csv_column("renamed"), keeps=True),
    "a CSV column gone": Kind(csv_column("gone"), keeps=True),
    "a CSV column elsewhere": Kind(csv_column("elsewhere"), keeps=True),
    "CSV rows shuffled": Kind(csv_rows("shuffled"), keeps=True),
    "a CSV row twice": Kind(csv_rows("twice"), keeps=True),
    "a CSV row dropped": Kind(csv_rows("dropped"), keeps=True),
    "a CSV row too short": Kind(csv_rows("too short"), keeps=True),
    "a CSV row too long": Kind(csv_rows("too long"), keeps=True),
    "an empty line in a CSV": Kind(csv_rows("empty line"), keeps=True),
    "a CSV cut in a row": Kind(csv_rows("cut in the middle"), keeps=True),
    "an odd CSV cell": Kind(csv_cell(_ODD), keeps=False),
    "a CSV with a BOM": Kind(csv_letters("BOM"), keeps=True),
    "a CSV with CR LF": Kind(csv_letters("CRLF"), keeps=True),
    "a CSV with CR": Kind(csv_letters("CR"), keeps=True),
    "a CSV with a NUL": Kind(csv_letters("NUL"), keeps=False),
    "a CSV with a quote too many": Kind(csv_letters("quote"), keeps=False),
    "a CSV that is not ASCII": Kind(csv_letters("Latin"), keeps=False),
    "an HDF5 dataset renamed": Kind(hdf5("renamed"), keeps=True),
    "an HDF5 dataset gone": Kind(hdf5("gone"), keeps=True),
    "an HDF5 dataset shorter": Kind(hdf5("shorter"), keeps=True),
    "HDF5 rows in another order": Kind(hdf5("all shuffled"), keeps=True),
}


def with_sums(data: bytes) -> bytes:
    """A FITS file whose HDUs carry CHECKSUM and DATASUM, as many pipelines write them."""
    buffer = io.BytesIO()
    with fits.open(io.BytesIO(data), disable_image_compression=True) as hdus:
        for hdu in hdus:
            hdu.add_checksum()
        hdus.writeto(buffer)
    return buffer.getvalue()


@dataclass(frozen=True)
class Mutated:
    """A file's new bytes; `sealed`: a gzip member's own CRC stands against the change."""

    data: bytes
    sealed: bool = False


def mutated(name: str, data: bytes, random: Random, packed: bool) -> Mutated | None:
    """A file after a mutation; what is inside a gzip file is changed and packed again, or its bytes as they lie are.

    None where such a file cannot be changed so, or would be the same.
    """
    kind = KINDS[name]
    inside = packed and (not kind.bytewise or random.random() < 0.3)
    plain = gzip.decompress(data) if inside else data
    changed = kind.change(plain, random) if plain else None
    if changed is None or changed == plain:
        return None
    return Mutated(gzip.compress(changed, compresslevel=1, mtime=0) if inside else changed, packed and not inside)
