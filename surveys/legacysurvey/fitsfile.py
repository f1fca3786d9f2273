"""Planes and columns of the archive's FITS files, checked against what a brick is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from mmu.fits import open_fits

LARGEST_SIDE = 8192
"""Pixels; a brick has 3600. A header that promises more is refused before a byte is decompressed."""


def read_plane(path: Path, kinds: str, brick: str = "", what: str = "") -> tuple[npt.NDArray[Any], fits.Header]:
    """The first image of a coadd file, decompressed once, and its header.

    Args:
        path: a `.fits.fz` of the archive, tile-compressed or not.
        kinds: NumPy kinds of pixel that will do, "f" for fluxes, "iu" for bits.
        brick: the brick it must be of, where the header says so.
        what: likewise what it must show, "image-g": its type and band.

    Returns:
        Pixels (side, side) as stored, row 0 in the south.

    Raises:
        FormatError: there is no such image.
    """
    with open_fits(path, largest=8 * LARGEST_SIDE**2) as file:
        number = next((n for n, hdu in enumerate(file.hdus) if len(hdu.image_shape) > 0 and not hdu.is_table), None)
        if number is None:
            raise file.error(f"expected an image HDU, found {file.names}")
        shape, header = file.hdu(number).image_shape, file.header(number)
        if len(shape) != 2 or shape[0] != shape[1] or not 0 < shape[0] <= LARGEST_SIDE:
            raise file.error(f"expected a square plane of at most {LARGEST_SIDE} pixels, found {shape}")
        found = str(header.get("BRICK", header.get("BRICKNAM", brick))).strip()  # BRICKNAM until DR7
        if brick and found != brick:
            raise file.error(f"expected brick {brick}, found {found!r} in the header")
        for key, wanted in zip(("IMTYPE", "FILTER"), what.split("-") if what else (), strict=False):
            if (shown := str(header.get(key, wanted)).strip()) != wanted:
                raise file.error(f"expected {what}, found {key} {shown!r} in the header")
        plane = np.array(file.plane(number))
        if plane.dtype.kind not in kinds:
            raise file.error(f"expected pixels of kind {kinds!r}, found {plane.dtype}")
    return plane, header


def read_columns(
    path: Path, names: Iterable[str], optional: Iterable[str] = (), rows: npt.NDArray[np.intp] | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Columns of the first table of a file, by upper-case name whatever their case in the file."""
    with open_fits(path) as file:
        number = next((n for n, hdu in enumerate(file.hdus) if hdu.is_table), None)
        if number is None:
            raise file.error(f"expected a binary table, found {file.names}")
        return file.columns(number, names, optional, rows)
