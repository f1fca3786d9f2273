"""The answers: the truth table, and noiseless spectra and images, to check matches and models against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from mmu.simulate.image import render
from mmu.simulate.sed import spectrum
from mmu.simulate.sky import Sky

Floats = npt.NDArray[np.float64]
Plane = npt.NDArray[np.float32]
Objects = npt.NDArray[np.void]


def write_truth(sky: Sky, destination: Path) -> int:
    """Write the truth table of a sky as Parquet; return its number of rows."""
    table = sky.truth_table()
    pq.write_table(table, destination, compression="zstd")
    return int(table.num_rows)


def noiseless_spectra(objects: Objects, wavelength_angstrom: Floats, lsf_sigma_angstrom: float = 0.7) -> Floats:
    """Total light of N objects at L wavelengths: (N, L), 1e-17 erg/s/cm2/A."""
    return spectrum(objects, wavelength_angstrom, lsf_sigma_angstrom)


def noiseless_image(
    sky: Sky, ra: float, dec: float, pixels: int, band: str, psf_fwhm_arcsec: float, scale: float
) -> Plane:
    """The sky around a position (degrees), north up and east left: (pixels, pixels), nanomaggies a pixel.

    The position is the stamp's centre, pixel (pixels - 1) / 2 on both axes; `scale` is in arcsec a pixel.
    """
    objects = sky.in_cone(ra, dec, pixels * scale / 3600.0 + 0.01)
    a, d, d0 = np.deg2rad(objects["ra"] - ra), np.deg2rad(objects["dec"]), np.deg2rad(dec)
    depth = np.sin(d) * np.sin(d0) + np.cos(d) * np.cos(d0) * np.cos(a)
    to_pixel, centre = 206264.80624709636 / scale, (pixels - 1) / 2
    x = centre - np.cos(d) * np.sin(a) / depth * to_pixel
    y = centre + (np.sin(d) * np.cos(d0) - np.cos(d) * np.sin(d0) * np.cos(a)) / depth * to_pixel
    return render((pixels, pixels), x, y, objects, band, psf_fwhm_arcsec / scale, scale)
