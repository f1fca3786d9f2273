"""One plane of a mosaic: its pixels mapped, its geometry, and what its header says of its calibration.

Planes are the primary HDU of a gzipped file (https://dawn-cph.github.io/dja/blog/2023/07/18/image-data-products/).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS

from mmu import stamps
from mmu.errors import FormatError
from mmu.fits import FitsFile, open_fits
from mmu.fits.headers import Hdu

LARGEST = 8 << 30
"""Bytes of one plane: 46,000 pixels a side."""
JY_PER_UNIT = 1e-8
SAMPLE = 4
_GEOMETRY = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")


@dataclass(frozen=True)
class Plane:
    """A plane that is open.

    Attributes:
        pixels: as stored (big-endian, less its BZERO), mapped: (rows, columns), row 0 in the south.
        hdu: its header's cards.
    """

    file: FitsFile
    pixels: npt.NDArray[Any]
    hdu: Hdu
    number: int

    @property
    def geometry(self) -> tuple[Any, ...]:
        """Shape and the cards that place the plane on the sky: equal for planes on one grid."""
        return (self.pixels.shape, *(self.hdu.number(key, 0) for key in _GEOMETRY))

    def coordinates(self) -> WCS:
        """Celestial coordinates."""
        try:
            return stamps.coordinates(self.file.header(self.number))
        except FormatError as problem:
            raise self.file.error(str(problem).rstrip(".")) from problem


@contextmanager
def open_plane(path: Path, kinds: str, band: str = "", name: str = "") -> Iterator[Plane]:
    """Open a plane; a `.gz` file is unpacked to scratch, the pixels are mapped from there.

    Args:
        kinds: NumPy kinds of pixel that will do, "f" or "iuf".
        band: the filter it must be of, where the header says so.
        name: the HDU's name, in files that have several; the primary one by default.

    Raises:
        FormatError: there is no such plane, or not in units of 10 nJy.
    """
    with open_fits(path, largest=LARGEST) as file:
        number = file.names.index(name) + 1 if name in file.names else 0
        hdu = file.hdu(number)
        if len(hdu.shape) != 2 or 0 in hdu.shape:
            raise file.error(f"expected a plane in HDU {number}, found the shape {hdu.shape}")
        found = hdu.text("FILTER").lower() or band
        if band and found != band:
            raise file.error(f"expected the filter {band}, found {found}")
        pixels = file.plane(number)
        if pixels.dtype.kind not in kinds:
            raise file.error(f"expected pixels of kind {kinds!r}, found {pixels.dtype}")
        if abs(hdu.number("PHOTFNU", JY_PER_UNIT) / JY_PER_UNIT - 1) > 1e-3:
            raise file.error(f"expected pixels of 10 nJy, found PHOTFNU = {hdu.number('PHOTFNU')} Jy")
        yield Plane(file, pixels, hdu, number)


def count_rate(hdu: Hdu) -> float | None:
    """Counts a second that make one unit (10 nJy a pixel), from a header's calibration; None if it is not there.

    PHOTMJSR took counts a second to MJy/sr, PHOTSCAL is grizli's correction, and PHOTFNU / OPHOTFNU took the result to
    10 nJy a pixel. PHOTSCAL and OPHOTFNU are left out where they did nothing.
    """
    if not (hdu.has("PHOTMJSR") and hdu.has("PHOTFNU")):
        return None
    rate = 1 / (hdu.number("PHOTMJSR") * hdu.number("PHOTSCAL", 1))
    if hdu.has("OPHOTFNU"):
        rate *= hdu.number("PHOTFNU") / hdu.number("OPHOTFNU")
    return rate if np.isfinite(rate) and rate > 0 else None


def exposure_stamps(plane: Plane, shape: tuple[int, ...], starts: stamps.Starts, size: int) -> npt.NDArray[np.float32]:
    """Exposure time of each pixel of the stamps at `starts` (N, 2), seconds (N, size, size).

    The map has every fourth pixel of the mosaic (of that `shape`), from the first: the nearest of them counts.

    Raises:
        FormatError: the map is of another mosaic.
    """
    step = plane.hdu.count("SAMPLE", SAMPLE)
    expected = tuple(length // step for length in shape)
    if plane.pixels.shape != expected:
        raise plane.file.error(f"expected a map of {expected} for a mosaic of {shape}, found {plane.pixels.shape}")
    offsets = np.arange(size) + step // 2
    column, row = (
        np.clip((starts[:, axis, None] + offsets) // step, 0, plane.pixels.shape[1 - axis] - 1) for axis in (0, 1)
    )
    stored = plane.pixels[row[:, :, None], column[:, None, :]].astype(np.float64)
    stored *= plane.hdu.number("BSCALE", 1)
    stored += plane.hdu.number("BZERO", 0)
    return np.asarray(stored, np.float32)


def add_photon_noise(
    ivar: npt.NDArray[np.float32], flux: npt.NDArray[np.float32], exposure: npt.NDArray[np.float32], rate: float
) -> None:
    """Make the inverse variance of sky and readout that of all noise, in place; pixels never exposed have none.

    The variance gains max(flux, 0) / (rate * exposure), the photon noise of the sources.
    """
    counts = exposure * np.float32(rate)
    counts[~(counts > 0)] = np.inf
    share = np.maximum(flux, 0)
    share /= counts
    share *= ivar
    share += 1
    ivar /= share
    ivar[np.isinf(counts)] = 0
