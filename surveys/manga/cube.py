"""A LOGCUBE file of the data reduction pipeline: the cube, its spaxels, and the images made from it.

L is the number of wavelengths, ny and nx the rows and columns of spaxels. A cube unpacks to half a gigabyte, so it is
mapped, and one plane of it (flux, say) is copied at a time.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from numpy.typing import NDArray

from mmu.fits import FitsFile
from surveys.manga.columns import PIXELS

COEFF0, COEFF1 = 3.5589, 1e-4
"""log10 of the first wavelength in Angstrom, and the step: every LOGCUBE has this grid."""
NOCOV, FORESTAR, DONOTUSE = 1 << 0, 1 << 3, 1 << 10
"""Bits of MANGA_DRP3PIXMASK."""
BANDS = "griz"
PLANES = {"flux": "FLUX", "ivar": "IVAR", "mask": "MASK", "lsf_sigma": "LSFPOST"}
_DTYPES = {"flux": "f4", "ivar": "f4", "mask": "i4", "lsf_sigma": "f4"}
_BLOCK = 64

Planes = dict[str, NDArray[Any]]


def lattice() -> NDArray[np.float64]:
    """Wavelengths of a LOGCUBE, (4563,), vacuum Angstrom."""
    return np.asarray(10 ** (COEFF0 + COEFF1 * np.arange(PIXELS)))


def stored_planes(file: FitsFile) -> Planes:
    """Flux, ivar, mask and LSF (L, ny, nx) as stored, mapped; shapes, types and wavelengths checked.

    Raises:
        FormatError: an HDU is missing or not as the data model says.
    """
    wave = file.plane("WAVE")
    if wave.shape != (PIXELS,) or not np.allclose(wave, lattice(), rtol=1e-7, atol=0):
        raise file.error(f"WAVE is not {PIXELS} wavelengths 10 ** ({COEFF0} + {COEFF1} k)")
    planes = {member: file.plane(name) for member, name in PLANES.items()}
    for member, name in PLANES.items():
        plane, shape = planes[member], (PIXELS, *planes["flux"].shape[-2:])
        if plane.shape != shape or plane.dtype.str[1:] != _DTYPES[member]:
            kind = plane.dtype.str[1:]
            raise file.error(f"{name} is {kind} of shape {plane.shape}, not {_DTYPES[member]} of {shape}")
    return planes


def whole(file: FitsFile) -> Planes:
    """Members of the cube, (L, ny, nx) each, native float32 and int32, and `lambda` (L,)."""
    planes = {member: _native(plane) for member, plane in stored_planes(file).items()}
    for start in range(0, PIXELS, _BLOCK):
        here = slice(start, start + _BLOCK)
        clean(planes["flux"][here], planes["ivar"][here], planes["mask"][here])
    return planes | {"lambda": lattice().astype(np.float32)}


def clean(flux: NDArray[Any], ivar: NDArray[Any], bits: NDArray[Any]) -> None:
    """What holds no information says so: not finite or without weight -> ivar 0 and DONOTUSE; in place."""
    known = np.isfinite(flux) & np.isfinite(ivar)
    bad = ~known | (ivar <= 0)
    flux[~known] = 0
    ivar[bad] = 0
    bits[bad] |= DONOTUSE


@dataclass(frozen=True)
class Spaxels:
    """The covered spaxels of a cube, row by row: where they are (N,), and their spectra (N, L) by name."""

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    shape: tuple[int, int]
    spectra: Planes


def spaxels(file: FitsFile) -> Spaxels:
    """Every spaxel that a fibre covered at some wavelength: flux, ivar, lsf_sigma, mask (True = bad) and maskbits."""
    planes = stored_planes(file)
    shape = planes["flux"].shape[1:]
    covered = np.zeros(shape, dtype=bool)
    for start in range(0, PIXELS, _BLOCK):
        covered |= ((planes["mask"][start : start + _BLOCK] & NOCOV) == 0).any(axis=0)
    y, x = np.nonzero(covered)
    spectra = {member: _native(plane[:, y, x].T) for member, plane in planes.items()}
    bits = spectra["maskbits"] = spectra.pop("mask")
    clean(spectra["flux"], spectra["ivar"], bits)
    # what the DAP does not fit either
    spectra["mask"] = (bits & (DONOTUSE | FORESTAR)) != 0
    return Spaxels(x, y, shape, spectra)


def coordinates(file: FitsFile) -> WCS:
    """The celestial coordinates of the cube's spaxels.

    Raises:
        FormatError: the header has none.
    """
    wcs = celestial(file.header("FLUX"))
    if not wcs.has_celestial:
        raise file.error(f"FLUX has the axes {list(wcs.wcs.ctype)}, not RA and Dec")
    return wcs


def celestial(header: fits.Header) -> WCS:
    """The first two axes of a cube or map."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)  # RADECSYS and dates in old spellings
        return WCS(header, naxis=2)


def images(file: FitsFile, shape: tuple[int, int]) -> dict[str, Any]:
    """Members of the `image` struct, for the bands that are there.

    Raises:
        FormatError: an image or PSF has another shape than the cube.
    """
    bands = [band for band in BANDS if file.has(f"{band.upper()}IMG") and file.has(f"{band.upper()}PSF")]
    found = {member: np.zeros((len(bands), *shape), dtype=np.float32) for member in ("flux", "psf")}
    for number, band in enumerate(bands):
        for member, kind in (("flux", "IMG"), ("psf", "PSF")):
            plane = file.plane(f"{band.upper()}{kind}")
            if plane.shape != shape:
                raise file.error(f"{band.upper()}{kind} has shape {plane.shape}, not {shape}")
            found[member][number] = plane
    scale = float(np.sqrt(coordinates(file).proj_plane_pixel_area().to_value("arcsec2")))
    fwhm = [file.hdu(0).number(f"{band.upper()}FWHM", np.nan) for band in bands]
    numbers = {"psf_fwhm": np.array(fwhm, np.float32), "scale": np.full(len(bands), scale, np.float32)}
    return {**found, **numbers, "band": bands}


def _native(values: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
