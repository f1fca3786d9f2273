"""Columns of the catalogue of all spectra (specObj) that a record keeps, with what they mean.

specObj has more: those that only the pipeline needs (template files, positions in the focal plane), and repeats of
others, are left out. Names are the archive's; of a column of five bands v1's names `<NAME>_U` to `<NAME>_Z`.
"""

from __future__ import annotations

from mmu.schema import Column, scalars

BANDS = "UGRIZ"
FIVE = {
    "SPECTROFLUX": ("nanomaggy", "flux of the spectrum through the SDSS band"),
    "SPECTROFLUX_IVAR": ("1/nanomaggy^2", "its inverse variance"),
    "SPECTROSYNFLUX": ("nanomaggy", "flux of the best-fit template through the SDSS band"),
    "SPECTROSYNFLUX_IVAR": ("1/nanomaggy^2", "its inverse variance"),
}
"""Columns of five bands: unit and meaning."""


def in_bands(name: str) -> list[str]:
    """The columns that hold the five bands of one of `FIVE`."""
    return [f"{name}_{band}" for band in BANDS]


_BITS = {
    "the Legacy survey": "PRIMTARGET SECTARGET LEGACY_TARGET1 LEGACY_TARGET2",
    "special programs": "SPECIAL_TARGET1 SPECIAL_TARGET2",
    "SEGUE": "SEGUE1_TARGET1 SEGUE1_TARGET2 SEGUE2_TARGET1 SEGUE2_TARGET2",
    "BOSS": "BOSS_TARGET1 BOSS_TARGET2 ANCILLARY_TARGET1 ANCILLARY_TARGET2",
    "eBOSS": "EBOSS_TARGET0 EBOSS_TARGET1 EBOSS_TARGET2",
}

KEYS = (
    *scalars("PLATE MJD FIBERID", "int32", meaning="plate, night and fibre (from 1): they name the spectrum's file"),
    *scalars("RUN2D RUN1D", "string", meaning="version of the reduction and of the redshift fit"),
)
CATALOGUE = (
    *scalars("INSTRUMENT", "string", meaning="spectrograph: SDSS (3 arcsec fibres) or BOSS (2 arcsec)"),
    *scalars("PROGRAMNAME CHUNK", "string", meaning="program, and tiling chunk, of the plate"),
    *scalars("PLATESN2", meaning="squared signal-to-noise of the plate"),
    *scalars("NSPECOBS", "int16", meaning="spectra of this object, this one included"),
    *scalars("FLUXOBJID BESTOBJID TARGETOBJID", "string", meaning="photometric object: by flux, by position, targeted"),
    *scalars("SOURCETYPE", "string", meaning="what it was targeted as"),
    *(column for who, names in _BITS.items() for column in scalars(names, "int64", meaning=f"targeting bits of {who}")),
    *scalars("CLASS SUBCLASS", "string", meaning="GALAXY, QSO or STAR; and what kind of it"),
    *scalars("Z Z_ERR", meaning="heliocentric redshift of the best fit and its error (negative: the fit failed)"),
    Column("ZWARNING", "int32", meaning="warning bits of the redshift, as the archive has them", polarity="0 = good"),
    *scalars("RCHI2 RCHI2DIFF", meaning="reduced chi2 of the best fit, and by how much the next is worse"),
    *scalars("VDISP VDISP_ERR", unit="km/s", meaning="velocity dispersion (galaxies) and its error; 850: the limit"),
    *scalars("Z_NOQSO Z_ERR_NOQSO", meaning="the same fit without quasar templates (BOSS galaxies: to be preferred)"),
    Column("ZWARNING_NOQSO", "int32", meaning="its warning bits", polarity="0 = good"),
    *scalars("CLASS_NOQSO", "string", meaning="its class"),
    *scalars("SN_MEDIAN_ALL", meaning="median signal-to-noise per pixel"),
    *scalars("WAVEMIN WAVEMAX", unit="Angstrom", meaning="first and last wavelength with data"),
    *scalars("ANYANDMASK ANYORMASK", "int32", meaning="bits that any pixel has in the AND and OR masks"),
    *scalars("ELODIE_SPTYPE", "string", meaning="spectral type of the best ELODIE star"),
    *scalars("ELODIE_TEFF", unit="K", meaning="its effective temperature"),
    *scalars("ELODIE_LOGG ELODIE_FEH", unit="dex", meaning="its surface gravity (cm/s2) and metallicity"),
)
FLUXES = tuple(
    column
    for name, (unit, words) in FIVE.items()
    for column in scalars(" ".join(in_bands(name)), "float32", unit, words)
)
