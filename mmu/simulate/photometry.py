"""Band curves and the magnitudes that follow from a spectrum through them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mmu.simulate.sed import spectrum

Floats = npt.NDArray[np.float64]
Objects = npt.NDArray[np.void]

GRID = np.arange(3000.0, 11001.0, 20.0)  # Angstrom, fine enough for broad bands
# centre and half width in Angstrom of a flat-topped curve
BANDS = {
    "g": (4750.0, 720.0),
    "r": (6420.0, 740.0),
    "i": (7840.0, 740.0),
    "z": (9230.0, 730.0),
    "y": (9760.0, 500.0),
    "G": (6500.0, 2300.0),
    "BP": (5150.0, 1350.0),
    "RP": (7900.0, 1450.0),
}
VEGA_MINUS_AB = {"G": 0.1136, "BP": 0.0155, "RP": 0.3561}  # Gaia quotes Vega magnitudes, Legacy Surveys AB


def transmission(band: str, wavelength_angstrom: npt.ArrayLike) -> Floats:
    """Throughput of a band at the given wavelengths (Angstrom), 0 to 1, same shape."""
    centre, half = BANDS[band]
    return np.asarray(np.exp(-np.log(2) * ((np.asarray(wavelength_angstrom) - centre) / half) ** 8))


def band_flux(flux: Floats, wavelength_angstrom: Floats, band: str) -> Floats:
    """Nanomaggies (AB) through a band, (N,), of spectra (N, L) in 1e-17 erg/s/cm2/A on a uniform grid."""
    curve = transmission(band, wavelength_angstrom)
    photons = (flux * (wavelength_angstrom * curve)).sum(axis=1) * 1e-17
    reference = (curve / wavelength_angstrom).sum() * 2.99792458e18 * 3.631e-20 * 1e-9  # one nanomaggy
    return np.asarray(photons / reference)


def magnitudes(objects: Objects, bands: Sequence[str]) -> Floats:
    """Noiseless magnitudes, (N, bands).

    AB for g, r, i, z; Vega for Gaia's G, BP, RP; Milky Way dust included.
    """
    flux = spectrum(objects, GRID, 20.0)
    columns = [22.5 - 2.5 * np.log10(band_flux(flux, GRID, band)) - VEGA_MINUS_AB.get(band, 0.0) for band in bands]
    return np.stack(columns, axis=1)


def nanomaggies(magnitude: npt.ArrayLike) -> Floats:
    """AB magnitudes to nanomaggies, same shape."""
    return np.asarray(10 ** (-0.4 * (np.asarray(magnitude, dtype=np.float64) - 22.5)))
