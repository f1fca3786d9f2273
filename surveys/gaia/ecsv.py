"""Gaia's bulk files: gzipped ECSV (a header of `#` lines, then CSV), read in blocks at the speed of the CSV parser.

`null` and nothing at all both mean a missing value. Arrays are text in a cell, "[1, 2]" or "(1, 2)".
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
from numpy.typing import NDArray

from mmu.errors import FormatError

NULLS = ["null", "", "NULL", "NaN", "nan"]
RATIO = 60
"""A CSV file of numbers compresses about three times; one that unpacks to more than this is not what it says."""
LEAST = 1 << 20
BLOCK_BYTES = 16 << 20
LONGEST_LINE = 1 << 20
AGAIN = "fetch it again"
_MOST_SAID = 200
_ENDS = bytes.maketrans(b",])", b"\n\n\n")


class _Bounded(io.RawIOBase):
    """A gzip stream that refuses to unpack without end."""

    def __init__(self, path: Path, ratio: int) -> None:
        self._path, self._left = path, max(path.stat().st_size * ratio, LEAST)
        self._inner: Any = gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # noqa: SIM115

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = int(self._inner.readinto(buffer))
        self._left -= count
        if self._left < 0:
            raise FormatError(f"{self._path.name}: unpacks to more than {RATIO} times its size; {AGAIN}.")
        return count

    def close(self) -> None:
        self._inner.close()
        super().close()


def read_blocks(path: Path, types: Mapping[str, str], ratio: int = RATIO) -> Iterator[pa.Table]:
    """Those columns (name -> Arrow type name), a block of rows at a time; a file without rows gives no block.

    Raises:
        FormatError: not gzip, not such a CSV, a column is missing, or it unpacks to more than `ratio` times its size.
    """
    kinds = {name: pa.type_for_alias(kind) for name, kind in types.items()}
    convert = csv.ConvertOptions(
        column_types=kinds,
        include_columns=list(types),
        null_values=NULLS,
        strings_can_be_null=True,
        true_values=["True", "true", "TRUE", "T", "1"],
        false_values=["False", "false", "FALSE", "F", "0"],
    )
    try:
        with io.BufferedReader(_Bounded(path, ratio), BLOCK_BYTES) as stream:
            while stream.peek(1)[:1] == b"#":
                if len(stream.readline(LONGEST_LINE)) == LONGEST_LINE:
                    raise FormatError(f"{path.name}: a line of its header does not end; {AGAIN}.")
            with csv.open_csv(stream, csv.ReadOptions(block_size=BLOCK_BYTES), csv.ParseOptions(), convert) as reader:
                for batch in reader:
                    yield pa.Table.from_batches([batch])
    except (OSError, EOFError, zlib.error, pa.ArrowInvalid, pa.ArrowKeyError) as problem:
        msg = f"{path.name}: not a gzipped Gaia CSV file with columns {_few(types)} ({_told(problem)}); {AGAIN}."
        raise FormatError(msg) from problem


def read_table(path: Path, types: Mapping[str, str]) -> pa.Table:
    """All rows of those columns."""
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in types.items()])
    return pa.concat_tables([schema.empty_table(), *read_blocks(path, types)])


def parse_arrays(cells: pa.Array | pa.ChunkedArray, length: int) -> NDArray[np.float32]:
    """Cells "[1, 2, ...]" or "(1, 2, ...)" as float32 (N, length); a missing or empty cell is a row of NaN.

    Raises:
        FormatError: a cell does not hold `length` numbers.
    """
    if isinstance(cells, pa.ChunkedArray):
        cells = cells.combine_chunks()
    out = np.full((len(cells), length), np.nan, dtype=np.float32)
    there = np.asarray(pc.fill_null(pc.greater(pc.utf8_length(cells), 2), False))
    full = cells.filter(pa.array(there))
    if len(full) == 0:
        return out
    numbers = _numbers(full)
    if len(numbers) != len(full) * length or not np.array_equal(_counts(full), np.full(len(full), length)):
        raise FormatError(
            f"An array column has cells of {sorted(set(_counts(full).tolist()))[:5]} numbers, not {length}; {AGAIN}."
        )
    out[there] = numbers.reshape(-1, length)
    return out


def _numbers(cells: pa.Array) -> NDArray[np.float32]:
    """All numbers of all cells, in order: the text itself, one number a line, given to the CSV parser."""
    offsets = np.frombuffer(cells.buffers()[1], dtype=np.int32)[cells.offset : cells.offset + len(cells) + 1]
    lines = (
        cells.buffers()[2].slice(int(offsets[0]), int(offsets[-1] - offsets[0])).to_pybytes().translate(_ENDS, b"[( ")
    )
    read = csv.ReadOptions(column_names=["value"], use_threads=False, block_size=BLOCK_BYTES)
    convert = csv.ConvertOptions(column_types={"value": pa.float32()}, null_values=NULLS)
    parse = csv.ParseOptions(quote_char=False, ignore_empty_lines=False)
    try:
        values = csv.read_csv(pa.py_buffer(lines), read, parse, convert)["value"]
    except pa.ArrowInvalid as problem:
        msg = f"An array column holds something that is not a number ({_told(problem)}); {AGAIN}."
        raise FormatError(msg) from problem
    return np.asarray(values.to_numpy(), dtype=np.float32)


def _counts(cells: pa.Array) -> NDArray[np.int64]:
    return np.asarray(pc.count_substring(cells, ","), dtype=np.int64) + 1


def _told(problem: Exception) -> str:
    """The parser's words on one line; it may quote a whole row, or bytes that are no letters."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(problem))
    return " ".join(text.split())[:_MOST_SAID]


def _few(names: Mapping[str, str]) -> str:
    listed = list(names)
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")
