"""The one file of Galaxy10 DECaLS: six arrays in HDF5, a row a galaxy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmu.errors import FormatError
from mmu.hdf5 import open_hdf5
from surveys.gz10 import SIDE

MOST_BYTES = 16 << 30
ARRAYS = {"images": "u", "ans": "iu", "ra": "f", "dec": "f", "redshift": "f", "pxscale": "f"}
"""Name -> kinds of number that will do."""


@contextmanager
def open_galaxies(path: Path) -> Iterator[Any]:
    """The file, open, with all its arrays there and of one length.

    Raises:
        FormatError: an array is missing, or not of the kind or shape that the authors document.
    """
    with open_hdf5(path, MOST_BYTES) as file:
        rows = (_shape(file, "ra") or (0,))[0]
        for name, kinds in ARRAYS.items():
            shape = (rows, SIDE, SIDE, 3) if name == "images" else (rows,)
            found = _shape(file, name)
            if found != shape or file[name].dtype.kind not in kinds:
                what = "none" if found is None else f"{file[name].dtype} of shape {found}"
                raise FormatError(f"{path.name}: expected an array {name!r} of shape {shape}, found {what}.")
        if file["images"].dtype.itemsize != 1:
            raise FormatError(f"{path.name}: expected pictures of bytes, found {file['images'].dtype}.")
        yield file


def _shape(file: Any, name: str) -> tuple[int, ...] | None:
    """Of an array; None where there is no array of that name."""
    found = getattr(file.get(name), "shape", None)
    return None if found is None else tuple(int(length) for length in found)
