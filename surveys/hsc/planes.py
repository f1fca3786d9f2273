"""The planes of a coadd in one band, whole or cut out: image, mask and variance, and where they are on the tract.

A tract has one tangent-plane projection; a file's CRPIX says where in it the file begins. Positions are therefore taken
from the centre of the tract, and differ between a patch and a cutout by whole pixels only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from mmu import stamps
from mmu.fits import FitsFile
from surveys.hsc.columns import BAD_PLANES, PLANES, SCALE, ZERO_POINT

_PLANE = re.compile(rb"(?:HIERARCH +)?MP_([A-Z0-9_]+) *= *(\d{1,2})\b")
_FLUXMAG0 = 10 ** (0.4 * ZERO_POINT)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Planes:
    """What one file holds.

    Attributes:
        image, variance: counts and their variance, (rows, columns), as stored.
        mask: bits, numbered as `planes` says.
        planes: bit of each mask plane, by name without `MP_`.
        projection: the tract's, with the reference pixel at 0.
        corner: where the first pixel (0, 0) lies on the tract, in pixels from its centre: column, row.
    """

    image: NDArray[Any]
    mask: NDArray[Any]
    variance: NDArray[Any]
    planes: Mapping[str, int]
    projection: tuple[float, ...]
    corner: NDArray[np.int64]


def read_planes(file: FitsFile) -> Planes:
    """The planes of an open calexp or cutout.

    Raises:
        FormatError: one is missing, they differ in shape, or the file is on another scale than the release's.
    """
    numbers = [_number(file, kind) for kind in ("IMAGE", "MASK", "VARIANCE")]
    image, mask, variance = (file.plane(number) for number in numbers)
    if image.ndim != 2 or not image.shape == mask.shape == variance.shape:
        raise file.error(f"expected three planes of one shape, found {image.shape}, {mask.shape}, {variance.shape}")
    if (image.dtype.kind, mask.dtype.kind, variance.dtype.kind) != ("f", "i", "f"):
        raise file.error(f"expected floats, bits and floats, found {image.dtype}, {mask.dtype}, {variance.dtype}")
    names = {name.decode(): int(bit) for name, bit in _PLANE.findall(file.hdu(numbers[1]).block)}
    if missing := [name for name in BAD_PLANES if name not in names]:
        raise file.error(f"the mask has no plane {', '.join(missing)}; it has {', '.join(sorted(names)) or 'none'}")
    zero = file.hdu(0).number("FLUXMAG0", _FLUXMAG0)
    if abs(zero / _FLUXMAG0 - 1) > 1e-3:
        raise file.error(f"its FLUXMAG0 is {zero}, where the zero point of {ZERO_POINT} makes {_FLUXMAG0:.1f}")
    return Planes(image, mask, variance, names, *_place(file, numbers[0]))


def _number(file: FitsFile, kind: str) -> int:
    """The HDU of a kind of plane, by EXTNAME or EXTTYPE."""
    for number, hdu in enumerate(file.hdus):
        if number and kind in (hdu.name, hdu.text("EXTTYPE").upper()) and hdu.image_shape:
            return number
    raise file.error(f"no {kind} plane among its {len(file.hdus)} HDUs")


def _place(file: FitsFile, number: int) -> tuple[tuple[float, ...], NDArray[np.int64]]:
    """The tract's projection, and the file's first pixel in it."""
    hdu = file.hdu(number)
    if (hdu.text("CTYPE1"), hdu.text("CTYPE2")) != ("RA---TAN", "DEC--TAN"):
        raise file.error(f"expected a tangent plane, found {hdu.text('CTYPE1')!r} and {hdu.text('CTYPE2')!r}")
    centre = np.array([hdu.number("CRPIX1"), hdu.number("CRPIX2")])
    if (np.abs(centre - np.rint(centre)) > 1e-6).any():
        raise file.error(f"expected the tract's centre on a pixel's, found CRPIX {centre.tolist()}")
    matrix = tuple(hdu.number(f"CD{i}_{j}", 0.0) for i in (1, 2) for j in (1, 2))
    if abs(np.sqrt(abs(matrix[0] * matrix[3] - matrix[1] * matrix[2])) * 3600 / SCALE - 1) > 1e-3:
        raise file.error(f"expected pixels of {SCALE} arcsec, found the matrix {matrix}")
    return (hdu.number("CRVAL1"), hdu.number("CRVAL2"), *matrix), 1 - np.rint(centre).astype(np.int64)


def on_tract(projection: tuple[float, ...], ra: Floats, dec: Floats) -> Floats:
    """Positions (degrees) as columns and rows of a tract's pixels, from its centre, (N, 2)."""
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg"})
    cards = ("CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")
    header.update(dict(zip(cards, projection, strict=True)), CRPIX1=1.0, CRPIX2=1.0, RADESYS="ICRS", NAXIS=2)
    return stamps.pixel_positions(WCS(header), ra, dec)


def inverse(variance: NDArray[Any]) -> NDArray[np.float32]:
    """Inverse variances; 0 where the variance is 0, negative or none."""
    values = variance.astype(np.float32)
    good = np.isfinite(values) & (values > 0)
    return np.divide(np.float32(1), values, out=np.zeros_like(values), where=good)


def standard_bits(mask: NDArray[Any], planes: Mapping[str, int]) -> NDArray[np.int32]:
    """Mask bits in the numbers of `PLANES`, whatever the file's own are; planes it does not know are left out."""
    bits = mask.astype(np.int32)
    if all(PLANES.get(name) == bit for name, bit in planes.items()):
        return bits
    renumbered = np.zeros_like(bits)
    for name, bit in planes.items():
        if name in PLANES:
            renumbered |= ((bits >> bit) & 1) << PLANES[name]
    return renumbered


def usable(bits: NDArray[np.int32], ivar: NDArray[np.float32]) -> NDArray[np.bool_]:
    """True where a pixel is neither bad, saturated nor without data, and has an inverse variance."""
    bad = np.int32(stamps.bit_mask(PLANES[name] for name in BAD_PLANES))
    return np.asarray(((bits & bad) == 0) & (ivar > 0))
