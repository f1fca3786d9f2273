"""Reading the archive's FITS files: bounded before anything is decoded, and every defect told in one sentence."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from mmu.errors import FormatError

LARGEST_SIDE = 8192
"""Pixels; a brick has 3600. A header that promises more is refused before a byte is decompressed."""
MOST_TABLE_BYTES = 1 << 35

_DEFECTS = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, AstropyWarning)


def read_plane(path: Path, kinds: str, brick: str = "") -> tuple[npt.NDArray[Any], fits.Header]:
    """The first image of a coadd file, decompressed once, and its header.

    Args:
        path: a `.fits.fz` of the archive, tile-compressed or not.
        kinds: NumPy kinds of pixel that will do, "f" for fluxes, "iu" for bits.
        brick: the brick it must be of, where the header says so.

    Returns:
        Pixels (side, side) as stored, row 0 in the south.
    """
    with _open(path) as hdus:
        hdu = next((hdu for hdu in hdus if hdu.is_image and len(hdu.shape) > 0), None)
        if hdu is None:
            raise FormatError(f"{path.name}: expected an image HDU, found {[hdu.name for hdu in hdus]}.")
        shape, header = hdu.shape, hdu.header
        if len(shape) != 2 or shape[0] != shape[1] or not 0 < shape[0] <= LARGEST_SIDE:
            raise FormatError(f"{path.name}: expected a square plane of at most {LARGEST_SIDE} pixels, found {shape}.")
        found = str(header.get("BRICK", header.get("BRICKNAM", brick))).strip()  # BRICKNAM until DR7
        if brick and found != brick:
            raise FormatError(f"{path.name}: expected brick {brick}, found {found!r} in the header.")
        plane = np.asarray(hdu.data)
    if plane.dtype.kind not in kinds:
        raise FormatError(f"{path.name}: expected pixels of kind {kinds!r}, found {plane.dtype}.")
    return plane, header


def read_columns(
    path: Path, names: Iterable[str], optional: Iterable[str] = (), rows: npt.NDArray[np.intp] | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Columns of the first table of a file, native-endian, by upper-case name whatever their case in the file.

    Text comes without padding, as `U`. Only the columns named are touched; `optional` ones may be absent.
    """
    with _open(path) as hdus:
        hdu = next((hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)), None)
        if hdu is None:
            raise FormatError(f"{path.name}: expected a binary table, found {[hdu.name for hdu in hdus]}.")
        if hdu.header["NAXIS1"] * hdu.header["NAXIS2"] > MOST_TABLE_BYTES:
            raise FormatError(f"{path.name}: a table of {hdu.header['NAXIS2']} rows is more than can be meant.")
        stored = {str(name).upper(): name for name in hdu.columns.names}
        missing = sorted(set(names) - set(stored))
        if missing:
            raise FormatError(f"{path.name}: expected the columns {missing}; found {len(stored)} others.")
        wanted = [*names, *(name for name in optional if name in stored)]
        return {name: _native(hdu.data.field(stored[name]), rows) for name in wanted}


def _native(values: Any, rows: npt.NDArray[np.intp] | None) -> npt.NDArray[Any]:
    """A copy that does not keep the file open, in this machine's byte order."""
    column = np.asarray(values if rows is None else values[rows])
    if column.dtype.kind in "SU":
        return np.char.rstrip(column.astype(np.str_))
    return column.astype(column.dtype.newbyteorder("="), copy=True)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[fits.HDUList]:
    """An open file; anything astropy finds wrong with it becomes a FormatError that names it."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*truncated.*", category=AstropyWarning)
            with path.open("rb") as file, fits.open(file, memmap=True, lazy_load_hdus=True) as hdus:
                yield hdus
    except FormatError:
        raise
    except _DEFECTS as problem:
        msg = f"{path.name}: expected a FITS file of the Legacy Surveys, found one that cannot be read ({problem})."
        raise FormatError(msg) from problem
