"""From planes to stamps: where to cut, cutting, and which pixels are good. Nothing is ever resampled.

Pixel coordinates are 0-based: the centre of the first pixel is 0. A stamp of 160 pixels has its centre at 79.5.
N is a number of stamps, S the pixels along a side.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from mmu.errors import FormatError

Floats = npt.NDArray[np.float64]
Starts = npt.NDArray[np.int64]


def coordinates(header: fits.Header) -> WCS:
    """The celestial coordinates of a plane.

    Raises:
        FormatError: the header has none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)  # old spellings (RADECSYS), put right by astropy
        wcs = WCS(header)
    if not wcs.has_celestial or wcs.naxis != 2:
        raise FormatError(f"Expected RA and Dec in the header of a plane, found axes {list(wcs.wcs.ctype)}.")
    return wcs


def pixel_positions(wcs: WCS, ra: Floats, dec: Floats) -> Floats:
    """0-based pixel coordinates (N, 2), x before y, of positions in degrees."""
    return np.asarray(wcs.all_world2pix(np.stack([ra, dec], axis=1), 0) if len(ra) else np.zeros((0, 2)))


def pixel_scale(wcs: WCS) -> float:
    """Pixel scale, arcsec."""
    return float(np.sqrt(wcs.proj_plane_pixel_area().to_value("arcsec2")))


def stamp_starts(positions: Floats, size: int) -> Starts:
    """First column and row (N, 2) of the stamps of `size` pixels whose centres are nearest to the positions (N, 2).

    Halves go down, as astropy's Cutout2D has it. May be negative: stamps hang over the edge.
    """
    return np.ceil(positions - size / 2).astype(np.int64)


def cut(plane: npt.NDArray[Any], starts: Starts, out: npt.NDArray[Any]) -> None:
    """Copy the stamps at `starts` (N, 2) from a plane (rows, columns[, channels]) into `out` (N, S, S[, channels]).

    What lies outside the plane is left as `out` has it. One slice copy a stamp, to the dtype of `out`.
    """
    height, width = plane.shape[:2]
    size = out.shape[1]
    if out.shape[:3] != (len(starts), size, size):
        raise FormatError(f"Expected room for {len(starts)} square stamps, found {out.shape}.")
    for stamp, (x, y) in zip(out, starts.tolist(), strict=True):
        bottom, top, left, right = max(y, 0), min(y + size, height), max(x, 0), min(x + size, width)
        if bottom < top and left < right:
            stamp[bottom - y : top - y, left - x : right - x] = plane[bottom:top, left:right]


def clean(flux: npt.NDArray[np.float32], ivar: npt.NDArray[np.float32]) -> None:
    """Make pixels finite, in place: no value means flux 0 and ivar 0; an ivar that is none means 0."""
    if flux.size == 0:
        return
    if not (np.isfinite(ivar.max()) and ivar.min() >= 0):
        ivar[~(np.isfinite(ivar) & (ivar > 0))] = 0
    if not (np.isfinite(flux.max()) and np.isfinite(flux.min())):
        bad = ~np.isfinite(flux)
        flux[bad] = ivar[bad] = 0


def bit_mask(bits: Iterable[int]) -> int:
    """The integer that has those bits set."""
    return sum(1 << bit for bit in bits)


def good_pixels(
    maskbits: npt.NDArray[np.int32], ivar: npt.NDArray[np.float32], bits: Iterable[int]
) -> npt.NDArray[np.bool_]:
    """True where a pixel is usable: none of `bits` set in (N, S, S) and ivar > 0 in (N, bands, S, S).

    Bit 0 (NPRIMARY) says that another brick holds the pixel as well, not that anything is wrong with it.
    """
    clear = (maskbits & maskbits.dtype.type(bit_mask(bits))) == 0
    good = ivar > 0
    good &= clear[:, None]
    return good
