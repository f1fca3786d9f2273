"""Catalogues of others, in files and in memory, as sources: their ids and positions are held in this process.

Measured with ids of 19 digits: 64 bytes a row are held, 16 more with proper motions and 8 with errors; three to four
times as much while the table is opened. Larger ones are better imported with `hats-import`, and read where they are
matched.

A place's `row` is the row of the file or table, its `order` and `pixel` are -1; of rows with one id at one position,
the first counts. Without a column that is an id, the row numbers are the ids, as text. Errors are in arcsec where their
unit is not known.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crossmatch import files, frames, roles
from crossmatch.places import as_places, in_sky_order, one_row_each
from crossmatch.roles import Choice, Given
from crossmatch.sources import Memory, Wanted
from crossmatch.v1 import from_v1
from mmu.errors import UsageError
from mmu.remote.addresses import TABLES
from mmu.v1 import V1Dataset, is_v1

_BLOCK = 1 << 24


def is_table(path: str | Path) -> bool:
    """True if an address ends like a table's file, whether or not there is one; it may name columns behind a `#`."""
    file, _ = roles.split(path)
    return file.name.lower().endswith(TABLES) and not file.is_dir()


def from_file(name: str, path: str | Path, wanted: Wanted) -> Memory:
    """A source from a table's file; only the columns needed are read where the format allows.

    Args:
        path: the file, which may be followed by `#ra=COL,dec=COL,id=COL`.

    Raises:
        UsageError: there is none, its columns are not plain, or a row has no id or position.
        FormatError: the file is damaged, or not of the format its name says.
    """
    file, choice = roles.split(path)
    if not file.is_file():
        raise UsageError(f"There is no file {file}.")
    with files.opened(file, choice) as given:
        places = _places(given, choice, wanted, str(file))
    return Memory(name, str(Path(path).expanduser().absolute()), places, _of_file(file), wanted.epoch)


def from_memory(name: str, given: Any, wanted: Wanted) -> Memory:
    """A source from a table in memory: of Arrow, pandas, Astropy or NumPy, or coordinates.

    Raises:
        UsageError: it is none of those, its columns are not plain, or a row has no id or position.
    """
    places = _places(frames.given(given, name), Choice(), wanted, name)
    return Memory(name, "", places, _of_places(places), wanted.epoch)


def without_rows(name: str, address: object, what: str) -> UsageError:
    """The error for what has ids and positions to match, and no shards whose rows could be `what`."""
    if isinstance(address, V1Dataset) or (isinstance(address, (str, Path)) and is_v1(address)):
        path = address.path if isinstance(address, V1Dataset) else address
        return UsageError(
            f"{name} is a tree of HDF5 files, of which only ids and positions are matched; `mmu convert {path} --out "
            f"FOLDER` writes it as a dataset whose rows can be {what}."
        )
    return UsageError(f"{name} is a table: only datasets in shards (HATS catalogues) can be {what} with their rows.")


def _places(given: Given, choice: Choice, wanted: Wanted, where: str) -> pa.Table:
    names = roles.chosen(given, choice, wanted, where)
    table = roles.prepared(given.read(names), names, given.units, where)
    places = as_places(table, names, where, np.arange(len(table)), None)
    if choice.id is None:
        roles.refuse_repeated(places["object_id"], names.id, given, where)
    return one_row_each(in_sky_order(places))


def _of_file(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _of_places(places: pa.Table) -> str:
    """Of ids, coordinates and the rows that they stand in."""
    digest = hashlib.blake2b(digest_size=16)
    for name in ("ra", "dec", "row"):
        digest.update(np.ascontiguousarray(places[name].to_numpy()).data)
    for ids in places["object_id"].chunks:
        digest.update(np.ascontiguousarray(pc.binary_length(ids).to_numpy()).data)
        if len(ids):
            ends = np.frombuffer(ids.buffers()[1], np.int32)[[ids.offset, ids.offset + len(ids)]]
            digest.update(memoryview(ids.buffers()[2] or b"")[ends[0] : ends[1]])
    return digest.hexdigest()


__all__ = ["from_file", "from_memory", "from_v1", "is_table", "is_v1"]
