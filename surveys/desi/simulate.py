"""The simulated sky as DESI's archive serves it.

HEALPix coadds, redrock tables and the redshift catalogue.

Paths are relative to https://data.desi.lbl.gov/public/ . DR1 main observes every field, EDR SV3 those in
the southern imaging. A target may be observed in both programs; then ZWARN and TSNR2_LRG decide which
spectrum is primary. One (program, pixel) pair stands in tilepix but has no files, as happens in the
archive. Masks are stored as in the files we have seen: int32 in iron, unsigned (BZERO) in fuji.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from mmu.simulate import Sky
from mmu.simulate.files import records, table_hdu, write_fits
from mmu.simulate.noise import generator
from mmu.simulate.sed import spectrum
from surveys.desi.simulate_tables import exposure_table, tilepix, zcatalog
from surveys.desi.simulate_targets import RELEASES, TSNR2_NAMES, Release, chosen, fibre_share, observe, pairs

Floats = npt.NDArray[np.float64]

STEP = 0.8  # Angstrom
ARMS = {"B": (3600.0, 2751), "R": (5760.0, 2326), "Z": (7520.0, 2881)}  # first wavelength, pixels
LSF_PIXELS = {"B": (1.15, 0.85), "R": (0.95, 0.75), "Z": (0.90, 0.72)}  # sigma at the two ends of an arm
DIAGONALS = 11
COSMIC, BADCOLUMN, SOMEBAD = 1 << 2, 1 << 10, 1 << 0
FLUX_UNIT, IVAR_UNIT = "10**-17 erg/(s cm2 Angstrom)", "10**+34 (s2 cm4 Angstrom2) / erg2"


def files(release: str, sky: Sky) -> dict[str, int]:
    """Every file of a release in the simulated archive, with its approximate size in bytes."""
    if release not in RELEASES:
        msg = f"desi has no simulated release {release!r}; allowed are {', '.join(RELEASES)}"
        raise ValueError(msg)
    spec = RELEASES[release]
    found = {f"{spec.root}/healpix/tilepix.fits": 9000, f"{spec.root}/{spec.catalogue}": 1_500_000}
    for program, pixel in pairs(spec, sky):
        rows = len(chosen(spec, sky, program, pixel)) * 21 // 20
        for kind, size in (("coadd", 465_000), ("redrock", 1500)):
            found[_path(spec, kind, program, pixel)] = 60_000 + size * rows
    return found


def write(path: str, sky: Sky, destination: Path) -> None:
    """Write one file of the simulated archive, named as in `files`."""
    spec = next((spec for spec in RELEASES.values() if path.startswith(spec.root + "/")), None)
    match = re.search(r"/(coadd|redrock)-\w+-(dark|bright)-(\d+)\.fits$", path)
    if spec and path == f"{spec.root}/healpix/tilepix.fits":
        cards = {"HPXNSIDE": 64, "HPXNEST": True}
        write_fits(destination, [table_hdu(tilepix(spec, sky), "TILEPIX", cards)])
    elif spec and path == f"{spec.root}/{spec.catalogue}":
        write_fits(destination, [table_hdu(zcatalog(spec, sky), "ZCATALOG")])
    elif spec and match and (match[2], int(match[3])) in pairs(spec, sky):
        make = _coadd if match[1] == "coadd" else _redrock
        write_fits(destination, make(spec, sky, match[2], int(match[3])))
    else:
        msg = f"{path!r} is not in the simulated DESI archive; allowed are the paths files() lists"
        raise FileNotFoundError(msg)


def _path(spec: Release, kind: str, program: str, pixel: int) -> str:
    folder = f"{spec.root}/healpix/{spec.survey}/{program}/{pixel // 100}/{pixel}"
    return f"{folder}/{kind}-{spec.survey}-{program}-{pixel}.fits"


def _wavelengths(arm: str) -> Floats:
    """Wavelengths of an arm, Angstrom."""
    first, pixels = ARMS[arm]
    return np.asarray(first + STEP * np.arange(pixels))


def _lsf(arm: str, fibre: npt.NDArray[np.int64]) -> Floats:
    """Width (sigma, pixels) of the line spread function of each fibre and pixel, (N, L)."""
    blue, red = LSF_PIXELS[arm]
    along = np.linspace(blue, red, ARMS[arm][1])
    position = fibre % 500 / 499.0 - 0.5
    return np.asarray(along[None, :] * (1 + 0.12 * position[:, None] ** 2 + 0.015 * np.sin(fibre)[:, None]))


def _resolution(sigma: Floats) -> npt.NDArray[np.float32]:
    """Diagonals of the resolution matrix, offsets +5 to -5, each column summing to one: (N, 11, L)."""
    offset = (DIAGONALS // 2 - np.arange(DIAGONALS))[None, :, None]
    rows = np.exp(-0.5 * (offset / sigma[:, None, :]) ** 2)
    return np.asarray(rows / rows.sum(axis=1, keepdims=True), dtype=np.float32)


def _sky_noise(wavelength: Floats) -> Floats:
    """Noise (sigma) of a typical dark spectrum, (L,), 1e-17 erg/s/cm2/A.

    Poor in the blue, airglow in the red.
    """
    noise = 0.28 + 0.9 * np.exp(-(wavelength - 3600.0) / 350.0) + 0.15 * np.exp((wavelength - 9824.0) / 400.0)
    lines = generator(0, "airglow")
    for centre, strength in zip(lines.uniform(7200, 9800, 70), lines.exponential(0.5, 70), strict=True):
        noise += strength * np.exp(-0.5 * ((wavelength - centre) / 1.5) ** 2)
    noise += 0.8 * np.exp(-0.5 * ((wavelength - 5578.9) / 1.8) ** 2)
    return np.asarray(noise)


def _arm(spec: Release, sky: Sky, program: str, pixel: int, arm: str) -> tuple[Any, Any, Any, Any]:
    """Flux, ivar and mask (N, L) and resolution (N, 11, L) of one arm."""
    observed = observe(spec, sky, program, pixel)
    rng = generator(sky.seed, "spectra", spec.root, program, pixel, arm)
    wave, sigma = _wavelengths(arm), _lsf(arm, observed.fibre)
    real = np.flatnonzero(observed.objects["true_id"] >= 0)
    flux = np.zeros(sigma.shape)
    light = spectrum(observed.objects[real], wave, sigma[real] * STEP)
    flux[real] = light * fibre_share(observed.objects[real])[:, None]
    noise = _sky_noise(wave) * np.sqrt(90.0 / observed.tsnr2["TSNR2_LRG"].astype(float))[:, None]
    ivar = 1 / (noise**2 + (0.01 * flux) ** 2)
    flux += sky.noise * rng.standard_normal(flux.shape, dtype=np.float32) / np.sqrt(ivar)
    mask = np.where(rng.random(flux.shape, dtype=np.float32) < 0.002, COSMIC, 0)
    column, width = int(rng.integers(100, len(wave) - 100)), 12
    mask[observed.fibre % 20 == 0, column : column + width] |= BADCOLUMN
    ivar[mask > 0] = 0.0
    mask[rng.random(flux.shape, dtype=np.float32) < 0.0005] |= SOMEBAD  # flagged, though not without weight
    ivar[observed.fibermap["COADD_FIBERSTATUS"] != 0] = 0.0
    dtype = np.uint32 if spec.unsigned_mask else np.int32
    return flux.astype(np.float32), ivar.astype(np.float32), mask.astype(dtype), _resolution(sigma)


def _primary_hdu(spec: Release, program: str, pixel: int) -> fits.PrimaryHDU:
    """The header that says which pixel this is."""
    hdu = fits.PrimaryHDU()
    cards = {"SPGRP": "healpix", "SPGRPVAL": pixel, "HPXPIXEL": pixel, "HPXNSIDE": 64, "HPXNEST": True}
    hdu.header.update({**cards, "SURVEY": spec.survey, "PROGRAM": program})
    return hdu


def _coadd(spec: Release, sky: Sky, program: str, pixel: int) -> list[Any]:
    """All HDUs of a coadd file."""
    observed = observe(spec, sky, program, pixel)
    hdus = [
        _primary_hdu(spec, program, pixel),
        table_hdu(observed.fibermap, "FIBERMAP"),
        table_hdu(exposure_table(observed, spec, sky, program, pixel), "EXP_FIBERMAP"),
    ]
    scores: dict[str, Any] = {name: observed.tsnr2[name] for name in observed.tsnr2.dtype.names or ()}
    for arm in ARMS:
        flux, ivar, mask, resolution = _arm(spec, sky, program, pixel, arm)
        scores[f"INTEG_COADD_FLUX_{arm}"] = flux.sum(axis=1) * STEP
        scores[f"MEDIAN_COADD_FLUX_{arm}"] = np.median(flux, axis=1)
        scores[f"MEDIAN_COADD_SNR_{arm}"] = np.median(flux * np.sqrt(ivar), axis=1)
        for name, data, unit in (
            ("WAVELENGTH", _wavelengths(arm), "Angstrom"),
            ("FLUX", flux, FLUX_UNIT),
            ("IVAR", ivar, IVAR_UNIT),
            ("MASK", mask, ""),
            ("RESOLUTION", resolution, ""),
        ):
            hdu = fits.ImageHDU(data, name=f"{arm}_{name}")
            hdu.header.update({"BUNIT": unit} if unit else {})
            hdus.append(hdu)
    kinds = ("INTEG_COADD_FLUX", "MEDIAN_COADD_FLUX", "MEDIAN_COADD_SNR")
    names = [f"{kind}_{arm}" for arm in ARMS for kind in kinds] + TSNR2_NAMES
    dtype = [("TARGETID", "i8"), *[(name, "f4") for name in names]]
    return [*hdus, table_hdu(records(dtype, scores, len(observed.objects)), "SCORES")]


def _redrock(spec: Release, sky: Sky, program: str, pixel: int) -> list[Any]:
    """All HDUs of a redrock file."""
    observed = observe(spec, sky, program, pixel)
    return [
        _primary_hdu(spec, program, pixel),
        table_hdu(observed.redshifts, "REDSHIFTS"),
        table_hdu(observed.fibermap, "FIBERMAP"),
        table_hdu(exposure_table(observed, spec, sky, program, pixel), "EXP_FIBERMAP"),
        table_hdu(observed.tsnr2, "TSNR2"),
    ]


__all__ = ["files", "write"]
