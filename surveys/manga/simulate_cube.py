"""The simulated LOGCUBE of one galaxy, on the archive's grid, with all of its HDUs.

Every spaxel sees the galaxy's own spectrum, times the share of its light that falls there, at the velocity of its
place. Numbers are rounded to a few digits of mantissa, so that a file is some megabytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from mmu.simulate import Sky
from mmu.simulate.files import records, table_hdu
from mmu.simulate.image import render
from mmu.simulate.photometry import nanomaggies
from mmu.simulate.sed import spectrum
from surveys.manga.simulate_targets import (
    SCALE,
    SCALE_DEG,
    Target,
    coverage,
    fwhm_arcsec,
    primary_hdu,
    rng_of,
    velocity,
    wcs_cards,
)

Floats = npt.NDArray[np.float64]
Plane = npt.NDArray[Any]

PIXELS, FIRST, LOG_STEP = 4563, 3621.59598486, 1e-4
KM_S_PER_PIXEL = 69.02976448
NOCOV, LOWCOV, DEADFIBER, FORESTAR, DONOTUSE = 1, 2, 4, 8, 1024
FLUX_UNIT = "1E-17 erg/s/cm^2/Angstrom/spaxel"
MANTISSA_BITS = {"flux": 8, "ivar": 5}


def wavelengths() -> Floats:
    """Vacuum Angstrom, (4563,)."""
    return np.asarray(10 ** (np.log10(FIRST) + LOG_STEP * np.arange(PIXELS)))


def lsf_sigma() -> Floats:
    """Width of the line-spread function, Angstrom, (4563,): resolution 1400 in the blue to 2260 in the red."""
    resolution = np.interp(np.arange(PIXELS), [0, PIXELS - 1], [1397.6, 2261.5])
    return np.asarray(wavelengths() / resolution / 2.3548)


def share_of_light(target: Target, band: str) -> Floats:
    """Share of the galaxy's light that falls in each spaxel, (ny, nx)."""
    x, y = centre(target)
    shape, fwhm = (target.side, target.side), fwhm_arcsec(target, band) / SCALE
    objects = np.array([target.truth])
    plane = render(shape, np.array([x]), np.array([y]), objects, band, fwhm, SCALE)
    return np.asarray(plane, dtype=np.float64) / float(nanomaggies(target.truth[f"mag_{band}"]))


def centre(target: Target) -> tuple[float, float]:
    """Where the galaxy is, 0-based column and row."""
    middle, step = target.side // 2, SCALE_DEG * 3600
    return middle + target.offset[0] / step, middle - target.offset[1] / step


def shifts(target: Target) -> npt.NDArray[np.int64]:
    """Whole pixels by which the velocity moves each spaxel's spectrum, (ny, nx)."""
    return np.rint(velocity(target) / KM_S_PER_PIXEL).astype(np.int64)


def model(target: Target) -> Plane:
    """The noiseless cube (L, ny, nx), 1e-17 erg/s/cm2/Angstrom/spaxel."""
    light = spectrum(np.array([target.truth]), wavelengths(), lsf_sigma())[0].astype(np.float32)
    share, moved = share_of_light(target, "r").astype(np.float32), shifts(target)
    cube = np.empty((PIXELS, target.side, target.side), np.float32)
    for shift in np.unique(moved):
        here = moved == shift
        cube[:, here] = np.roll(light, shift)[:, None] * share[here]
    return cube


def noise_sigma() -> Floats:
    """Noise of a well-covered spaxel, (4563,): poor in the blue, airglow in the red."""
    wave = wavelengths()
    sigma = 0.03 + 0.12 * np.exp(-(wave - FIRST) / 250.0) + 0.02 * np.exp((wave - 10353.0) / 500.0)
    return np.asarray(sigma + 0.1 * np.exp(-0.5 * ((wave - 5578.9) / 1.8) ** 2))


def observed(sky: Sky, target: Target) -> tuple[Plane, Plane, Plane]:
    """Flux, ivar and mask, (L, ny, nx) each."""
    rng, weight = rng_of(sky, target, "cube"), coverage(target)
    bits = np.select([weight == 0, weight < 0.3], [NOCOV | LOWCOV | DONOTUSE, LOWCOV | DONOTUSE], 0).astype(np.int32)
    mask = np.broadcast_to(bits, (PIXELS, *bits.shape)).copy()
    mask[-1] |= LOWCOV | DONOTUSE
    if target.number % 6 == 1:  # a star in front of the galaxy
        mask[:, target.side // 2 + 5, target.side // 2 + 4 : target.side // 2 + 7] |= FORESTAR | DONOTUSE
    covered = weight > 0
    ivar = np.zeros(mask.shape, np.float32)
    ivar[:, covered] = _rounded((weight[covered] / noise_sigma()[:, None] ** 2).astype(np.float32), "ivar")
    cosmic = rng.random((PIXELS, int(covered.sum())), dtype=np.float32) < 3e-4
    ivar[:, covered] *= ~cosmic
    ivar[-1] = 0
    mask[:, covered] |= np.where(cosmic, DONOTUSE, 0).astype(np.int32)
    flux = np.zeros(mask.shape, np.float32)
    sigma = noise_sigma().astype(np.float32)[:, None] / np.sqrt(weight[covered]).astype(np.float32)
    seen = model(target)[:, covered] + rng.standard_normal(sigma.shape, dtype=np.float32) * sigma * np.float32(
        sky.noise
    )
    flux[:, covered] = _rounded(seen, "flux")
    flux[ivar == 0] = 0
    return flux, ivar, mask


def _rounded(values: Plane, kind: str) -> Plane:
    """Float32 with few digits of mantissa."""
    drop = np.uint32(23 - MANTISSA_BITS[kind])
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return np.asarray(((bits + (np.uint32(1) << (drop - np.uint32(1)))) >> drop << drop).view(np.float32))


def cube_hdus(sky: Sky, target: Target) -> list[Any]:
    """All HDUs of a LOGCUBE file, in the archive's order."""
    flux, ivar, mask = observed(sky, target)
    shape = flux.shape
    post = np.broadcast_to(lsf_sigma().astype(np.float32)[:, None, None], shape)
    wave, resolution = wavelengths(), wavelengths() / lsf_sigma() / 2.3548
    hdus: list[Any] = [primary_hdu(sky, target)]
    links = {"FLUX": {"ERRDATA": "IVAR", "QUALDATA": "MASK"}, "IVAR": {"SCIDATA": "FLUX"}, "MASK": {"SCIDATA": "FLUX"}}
    planes = {"FLUX": flux, "IVAR": ivar, "MASK": mask, "LSFPOST": post, "LSFPRE": post * np.float32(0.97)}
    for name, plane in planes.items():
        hdu = fits.ImageHDU(plane, name=name)
        spectral = {"CTYPE3": "WAVE-LOG", "CRPIX3": 1, "CRVAL3": FIRST, "CD3_3": 0.8339, "CUNIT3": "Angstrom"}
        hdu.header.update({**wcs_cards(target), "CD1_1": -SCALE_DEG, "CD2_2": SCALE_DEG, **spectral})
        hdu.header.update(links.get(name, {}))
        hdu.header["HDUCLASS"] = "SDSS"
        if name == "FLUX":
            hdu.header["BUNIT"] = FLUX_UNIT
        hdus.append(hdu)
    spread = np.full(PIXELS, 30.0)
    vectors = {"WAVE": wave, "SPECRES": resolution, "SPECRESD": spread, "PRESPECRES": resolution, "PRESPECRESD": spread}
    hdus += [fits.ImageHDU(values, name=name) for name, values in vectors.items()]
    exposures = records([("EXPNUM", "i4"), ("MJD", "i4"), ("MGDPOS", "S1")], {"MJD": 57132, "MGDPOS": b"N"}, 9)
    return [*hdus, table_hdu(exposures, "OBSINFO"), *_images(sky, target)]


def _images(sky: Sky, target: Target) -> list[Any]:
    """Broad-band images, PSFs (which sum to 1) and correlation matrices (sparse)."""
    weight, rng = coverage(target), rng_of(sky, target, "images")
    found: dict[str, list[Any]] = {"IMG": [], "PSF": [], "CORREL": []}
    offset = np.arange(target.side) - target.side // 2
    for band in "griz":
        light = share_of_light(target, band) * float(nanomaggies(target.truth[f"mag_{band}"]))
        plane = np.where(weight > 0, light + sky.noise * rng.normal(0, 0.002, light.shape), 0).astype(np.float32)
        width = fwhm_arcsec(target, band) / SCALE / 2.3548
        psf = np.exp(-0.5 * (offset[:, None] ** 2 + offset**2) / width**2)
        for kind, data in (("IMG", plane), ("PSF", (psf / psf.sum()).astype(np.float32))):
            hdu = fits.ImageHDU(data, name=f"{band.upper()}{kind}")
            hdu.header.update({**wcs_cards(target), "CD1_1": -SCALE_DEG, "CD2_2": SCALE_DEG})
            hdu.header["BUNIT"] = "nanomaggies/pixel"
            found[kind].append(hdu)
        sparse = records([("INDXI_C1", "i4"), ("INDXI_C2", "i4"), ("RHOIJ", "f8")], {"RHOIJ": 1.0}, 4)
        found["CORREL"].append(table_hdu(sparse, f"{band.upper()}CORREL"))
    return [hdu for kind in found.values() for hdu in kind]
