"""The simulated MAPS file of one galaxy: all 63 extensions of DR17, their channels, units and links.

Coordinates, velocities and fluxes follow from the truth; figures of merit and the like are made up, but with the sizes
and masks that the archive's have.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from mmu.simulate import Sky
from mmu.simulate.sed import luminosity_distance_mpc, velocity_dispersion
from surveys.manga.simulate_cube import KM_S_PER_PIXEL, lsf_sigma, model, shifts, wavelengths
from surveys.manga.simulate_targets import (
    SCALE_DEG,
    Target,
    coverage,
    elliptical,
    positions,
    primary_hdu,
    rng_of,
    wcs_cards,
)

Plane = npt.NDArray[Any]

DAPTYPE = "HYB10-MILESHC-MASTARSSP"
OUTSIDE, DONOTUSE = 1 | 1 << 30, 1 << 30  # NOCOV and DONOTUSE
DENSITY, LINE = "1E-17 erg/s/cm^2/ang/spaxel", "1E-17 erg/s/cm^2/spaxel"
SKY = ("On-sky X", "On-sky Y")
ELLIPSE = (("Elliptical radius", "arcsec"), ("R/Re", ""), ("R h/kpc", "kpc/h"), ("Elliptical azimuth", "degrees"))
BINS = ("Binned spectra", "Stellar continua", "Em. line moments", "Em. line models", "Spectral indices")
FOM = (
    ("rms", DENSITY), ("frms", ""), ("rchi2", ""), ("68th perc frac resid", ""), ("99th perc frac resid", ""),
    ("max frac resid", ""), ("68th perc per pix chi", ""), ("99th perc per pix chi", ""), ("max per pix chi", ""),
)  # fmt: skip
LINES = (
    "OII-3727 OII-3729 H12-3751 H11-3771 Hthe-3798 Heta-3836 NeIII-3869 HeI-3889 Hzet-3890 NeIII-3968 Heps-3971 "
    "Hdel-4102 Hgam-4341 HeII-4687 Hb-4862 OIII-4960 OIII-5008 NI-5199 NI-5201 HeI-5877 OI-6302 OI-6365 NII-6549 "
    "Ha-6564 NII-6585 SII-6718 SII-6732 HeI-7067 ArIII-7137 ArIII-7753 Peta-9017 SIII-9071 Pzet-9231 SIII-9533 "
    "Peps-9548"
).split()
STRENGTH = {"OII-3727": 0.35, "OII-3729": 0.45, "Hb-4862": 0.35, "OIII-5008": 0.35, "Ha-6564": 1.0, "NII-6585": 0.3}
INDICES = (
    "CN1:mag CN2:mag Ca4227 G4300 Fe4383 Ca4455 Fe4531 C24668 Hb Fe5015 Mg1:mag Mg2:mag Mgb Fe5270 Fe5335 Fe5406 "
    "Fe5709 Fe5782 NaD TiO1:mag TiO2:mag HDeltaA HGammaA HDeltaF HGammaF CaHK CaII1 CaII2 CaII3 Pa17 Pa14 Pa12 "
    "MgICvD NaICvD MgIIR FeHCvD NaI bTiO:mag aTiO:mag CaH1:mag CaH2:mag NaISDSS TiO2SDSS:mag D4000: Dn4000: TiOCvD:"
).split()
INDEX_CHANNELS = tuple((name.partition(":")[0], name.partition(":")[2] if ":" in name else "ang") for name in INDICES)

# extension, BUNIT, channels (None: one plane; texts, or text and unit), has an inverse variance and a mask
LAYOUT: tuple[tuple[str, str, Any, str], ...] = (
    ("SPX_SKYCOO", "arcsec", SKY, ""), ("SPX_ELLCOO", "", ELLIPSE, ""), ("SPX_MFLUX", DENSITY, None, "I"),
    ("SPX_SNR", "", None, ""), ("BINID", "", BINS, ""), ("BIN_LWSKYCOO", "arcsec", SKY, "W"),
    ("BIN_LWELLCOO", "", ELLIPSE, "W"), ("BIN_AREA", "arcsec^2", None, ""), ("BIN_FAREA", "", None, ""),
    ("BIN_MFLUX", DENSITY, None, "IM"), ("BIN_SNR", "", None, ""), ("STELLAR_VEL", "km/s", None, "IM"),
    ("STELLAR_SIGMA", "km/s", None, "IM"), ("STELLAR_SIGMACORR", "km/s", ("resolution difference", "fit"), ""),
    ("STELLAR_FOM", "", FOM, ""), ("EMLINE_SFLUX", LINE, "lines", "IM"), ("EMLINE_SEW", "ang", "lines", "IM"),
    ("EMLINE_SEW_CNT", DENSITY, "lines", ""), ("EMLINE_GFLUX", LINE, "lines", "IM"),
    ("EMLINE_GEW", "ang", "lines", "IM"), ("EMLINE_GEW_CNT", DENSITY, "lines", ""),
    ("EMLINE_GVEL", "km/s", "lines", "IM"), ("EMLINE_GSIGMA", "km/s", "lines", "IM"),
    ("EMLINE_INSTSIGMA", "km/s", "lines", ""), ("EMLINE_TPLSIGMA", "km/s", "lines", ""),
    ("EMLINE_GA", DENSITY, "lines", ""), ("EMLINE_GANR", "", "lines", ""), ("EMLINE_FOM", "", FOM, ""),
    ("EMLINE_LFOM", "", "lines", ""),
    *((f"SPECINDEX{kind}{part}", DENSITY if kind == "_WGT" else "", "weights" if kind == "_WGT" else INDEX_CHANNELS,
       "IM" if not part else "") for kind in ("", "_BF", "_WGT") for part in ("", "_CORR", "_MODEL")),
)  # fmt: skip


def _channels(name: str, kind: Any) -> list[tuple[str, str | None]]:
    """Text and unit of each channel; unit None where the extension has one for all, no channels for a single plane."""
    if kind is None:
        return []
    if kind == "lines":
        first = "OIId-3728" if name.startswith("EMLINE_S") else LINES[0]
        return [(text, None) for text in (first, *LINES[1:])]
    if kind == "weights":
        return [(text, None) for text, _ in INDEX_CHANNELS]
    return [(entry, None) if isinstance(entry, str) else entry for entry in kind]


def _values(sky: Sky, target: Target) -> dict[str, Plane]:
    """What the truth says of some extensions: (ny, nx) or (channels, ny, nx)."""
    east, north = positions(target)
    along, across = elliptical(target)
    radius, kpc = np.hypot(along, across), float(luminosity_distance_mpc(target.truth["z"])) * 1e3 / 206264.8
    ellipse = [radius, radius / float(target.truth["r_half_arcsec"]), radius * kpc * 0.7 / (1 + target.truth["z"]) ** 2]
    coordinates = np.stack([*ellipse, np.rad2deg(np.arctan2(across, along)) % 360])
    seen = coverage(target) > 0
    number = np.where(seen, np.cumsum(seen.ravel()).reshape(seen.shape) - 1, -1)
    cube, g = model(target), slice(800, 1800, 10)
    mean = cube[g].mean(axis=0)
    speed = shifts(target) * KM_S_PER_PIXEL
    strength = np.array([STRENGTH.get(name, 0.02) for name in LINES])
    star_formation = 10 ** float(target.truth["log_sfr"] - target.truth["log_stellar_mass"] + 10)
    lines = strength[:, None, None] * mean * 40 * star_formation
    dispersion = float(velocity_dispersion(target.truth["log_stellar_mass"]))
    wave = np.array([float(name.rpartition("-")[2]) for name in LINES]) * (1 + float(target.truth["z"]))
    instrument = np.interp(wave, wavelengths(), lsf_sigma() / wavelengths() * 299792.458)
    sky_coordinates = np.stack([east + target.offset[0], north + target.offset[1]])
    plain = np.ones_like(lines)
    return {
        "SPX_SKYCOO": sky_coordinates, "SPX_ELLCOO": coordinates, "BIN_LWSKYCOO": sky_coordinates,
        "BIN_LWELLCOO": coordinates, "SPX_MFLUX": mean, "BIN_MFLUX": mean, "SPX_SNR": mean / 0.03,
        "BIN_SNR": mean / 0.03, "BINID": np.repeat(number[None], 5, axis=0), "BIN_AREA": np.where(seen, 0.25, 0),
        "STELLAR_VEL": speed, "STELLAR_SIGMA": np.full(speed.shape, dispersion), "EMLINE_SFLUX": lines,
        "EMLINE_GFLUX": lines, "EMLINE_GVEL": plain * speed, "EMLINE_GSIGMA": plain * np.hypot(dispersion, 70),
        "EMLINE_INSTSIGMA": plain * instrument[:, None, None],
    }  # fmt: skip


def map_hdus(sky: Sky, target: Target) -> list[Any]:
    """All HDUs of a MAPS file, in the archive's order."""
    primary = primary_hdu(sky, target)
    dap = {"VERSDAP": "3.1.0", "DAPTYPE": DAPTYPE, "DAPFRMT": "MAPS", "SCINPVEL": 299792.458 * float(target.truth["z"])}
    primary.header.update({**dap, "REFF": float(target.truth["r_half_arcsec"]), "DAPQUAL": target.quality and 1 << 30})
    truth, rng = _values(sky, target), rng_of(sky, target, "maps")
    outside = coverage(target) == 0
    hdus: list[Any] = [primary]
    for name, unit, kind, others in LAYOUT:
        channels = _channels(name, kind)
        shape = (len(channels), *outside.shape) if channels else outside.shape
        value = truth.get(name)
        if value is None:
            value = np.broadcast_to(rng.random((*shape[:-2], 1, 1)) + 0.1 * rng.random(outside.shape), shape)
        keep = name in ("SPX_SKYCOO", "SPX_ELLCOO", "BINID")
        value = value if keep else np.where(outside, 0, value)
        value = value.astype(np.int32 if name == "BINID" else np.float32)
        links = {key: f"{name}_{end}" for flag, key, end in _LINKS if flag in others}
        hdus.append(_hdu(target, name, value, unit, channels, links))
        if "I" in others:
            ivar = np.where(outside, 0, 25 / (0.1 + np.abs(value))).astype(np.float32)
            inverse = [(text, own and f"({own})^{{-2}}") for text, own in channels]
            hdus.append(_hdu(target, f"{name}_IVAR", ivar, unit and f"({unit})^{{-2}}", inverse, {"SCIDATA": name}))
        if "M" in others:
            bits = np.where(outside, OUTSIDE, 0) | np.where(rng.random(shape) < 0.01, DONOTUSE | 1 << 6, 0)
            hdus.append(_hdu(target, f"{name}_MASK", bits.astype(np.int32), "", channels, {"SCIDATA": name}, False))
    return hdus


_LINKS = (("I", "ERRDATA", "IVAR"), ("M", "QUALDATA", "MASK"))


def _hdu(
    target: Target,
    name: str,
    data: Plane,
    unit: str,
    channels: list[tuple[str, str | None]],
    links: dict[str, str],
    units: bool = True,
) -> fits.ImageHDU:
    """One extension with its cards."""
    hdu = fits.ImageHDU(data, name=name)
    hdu.header.update({**wcs_cards(target), "PC1_1": -SCALE_DEG, "PC2_2": SCALE_DEG, "HDUCLASS": "SDSS"})
    width = 2 if len(channels) > 9 else 1
    for number, (text, own) in enumerate(channels, start=1):
        hdu.header[f"C{number:0{width}d}"] = (text, f"Data in channel {number}")
        if own is not None and units:
            hdu.header[f"U{number:0{width}d}"] = (own, f"Units of data in channel {number}")
    if unit:
        hdu.header["BUNIT"] = unit
    hdu.header.update(links)
    return hdu
