"""The catalogue file: one table as astropy writes it to HDF5, a compound dataset of one row a galaxy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmu.errors import FormatError
from mmu.hdf5 import open_hdf5
from mmu.schema import Column
from surveys.desi_provabgs import FILE_NAMES, SCHEMA

MOST_BYTES = 16 << 30
BLOCK = 4096
_COMMENTS = ".__table_column_meta__"
_KINDS = {"f": "fiu", "i": "iu", "b": "biu"}
"""Kind of number declared -> kinds in the file that hold it whole."""

Columns = dict[str, NDArray[Any]]


@contextmanager
def open_table(path: Path) -> Iterator[Any]:
    """The file's one table, an h5py dataset of rows.

    Raises:
        FormatError: there is none, or more than one.
    """
    with open_hdf5(path, MOST_BYTES) as file:
        tables = [name for name in file if not name.endswith(_COMMENTS)]
        if len(tables) != 1 or getattr(getattr(file[tables[0]], "dtype", None), "names", None) is None:
            raise FormatError(f"{path.name}: expected one table in HDF5, found {tables[:5]}; look at it.")
        if file[tables[0]].ndim != 1:
            raise FormatError(f"{path.name}: expected rows, found a table of shape {file[tables[0]].shape}.")
        yield file[tables[0]]


def read_rows(table: Any, columns: Iterable[str], rows: slice, name: str) -> Columns:
    """Some rows of columns, by our names and in the declared dtypes; nothing else is kept.

    Raises:
        FormatError: a column is missing, or of another kind or shape than declared.
    """
    theirs = {ours: FILE_NAMES.get(ours, ours) for ours in columns}
    for ours, their in theirs.items():
        _check(table, SCHEMA[ours], their, name)
    block = table.fields(list(theirs.values()))[rows]
    return {ours: block[their].astype(SCHEMA[ours].dtype) for ours, their in theirs.items()}


def read_whole(path: Path, columns: Iterable[str]) -> Columns:
    """Columns of all rows, a block at a time, as rows are long and these columns are not."""
    with open_table(path) as table:
        parts = [
            read_rows(table, columns, slice(start, start + BLOCK), path.name)
            for start in range(0, max(len(table), 1), BLOCK)
        ]
    return {column: np.concatenate([part[column] for part in parts]) for column in columns}


def _check(table: Any, column: Column, their: str, name: str) -> None:
    if their not in table.dtype.names:
        raise FormatError(f"{name}: expected a column {their}, found {', '.join(table.dtype.names)[:200]}.")
    base, shape = table.dtype[their].base, table.dtype[their].shape
    if shape != column.shape or base.kind not in _KINDS[np.dtype(column.dtype).kind]:
        raise FormatError(f"{name}: column {their} is {base} {shape}, expected {column.dtype} {column.shape}.")
