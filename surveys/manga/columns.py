"""The columns of a record: a galaxy's cube, images, maps and catalogue row; or one spaxel's spectrum.

Maps are those of the DR17 data model of the DAP's MAPS files (mangadap 3.1, docs/datamodel); catalogue columns are
those of drpall.
"""

from __future__ import annotations

from dataclasses import replace

from mmu.schema import IDENTITY, MODALITIES, Column, Schema, scalars
from mmu.survey import Hdf5Column

PIXELS = 4563
FLUX = "1e-17 erg/(s cm2 Angstrom spaxel)"

# extension -> what it is; those with an inverse variance, and with a mask, are listed below
MAPS = {
    "SPX_SKYCOO": "offset of the spaxel from the galaxy's centre; x grows towards +RA, y towards +Dec",
    "SPX_ELLCOO": "elliptical polar coordinates of the spaxel: R, R/Re, R in kpc/h, azimuth",
    "SPX_MFLUX": "mean flux, weighted by the g band; not dereddened",
    "SPX_SNR": "mean signal-to-noise ratio a pixel, weighted by the g band",
    "BINID": "number of the bin the spaxel belongs to, in each stage of the analysis; -1: none",
    "BIN_LWSKYCOO": "light-weighted offset of the bin from the galaxy's centre",
    "BIN_LWELLCOO": "light-weighted elliptical polar coordinates of the bin",
    "BIN_AREA": "area of the bin",
    "BIN_FAREA": "share of the area expected that the bin covers",
    "BIN_MFLUX": "mean flux of the binned spectrum, weighted by the g band; not dereddened",
    "BIN_SNR": "mean signal-to-noise ratio a pixel of the binned spectrum",
    "STELLAR_VEL": "stellar velocity relative to the input redshift",
    "STELLAR_SIGMA": "raw stellar velocity dispersion; correct it with stellar_sigmacorr",
    "STELLAR_SIGMACORR": "quadrature correction of stellar_sigma; use the first channel",
    "STELLAR_FOM": "figures of merit of the stellar-continuum fit",
    "EMLINE_SFLUX": "summed flux of emission lines, corrected for Galactic reddening",
    "EMLINE_SEW": "equivalent width of emission lines, from summed fluxes",
    "EMLINE_SEW_CNT": "continuum used for emline_sew",
    "EMLINE_GFLUX": "Gaussian flux of emission lines, corrected for Galactic reddening",
    "EMLINE_GEW": "equivalent width of emission lines, from Gaussian fluxes",
    "EMLINE_GEW_CNT": "continuum used for emline_gew",
    "EMLINE_GVEL": "velocity of emission lines relative to the input redshift; tied, the same for all lines",
    "EMLINE_GSIGMA": "raw velocity dispersion of emission lines; correct it with emline_instsigma",
    "EMLINE_INSTSIGMA": "instrumental dispersion at each emission line",
    "EMLINE_TPLSIGMA": "dispersion of each emission line in the templates",
    "EMLINE_GA": "amplitude of the Gaussian",
    "EMLINE_GANR": "amplitude of the Gaussian over the noise beside the line",
    "EMLINE_FOM": "figures of merit of the emission-line fit",
    "EMLINE_LFOM": "reduced chi2 of the fit around each line",
    "SPECINDEX": "spectral indices (Worthey, Trager)",
    "SPECINDEX_CORR": "correction of specindex for the velocity dispersion",
    "SPECINDEX_MODEL": "specindex of the best-fitting model",
    "SPECINDEX_BF": "spectral indices (Burstein, Faber)",
    "SPECINDEX_BF_CORR": "correction of specindex_bf for the velocity dispersion",
    "SPECINDEX_BF_MODEL": "specindex_bf of the best-fitting model",
    "SPECINDEX_WGT": "weights for aggregating spectral indices",
    "SPECINDEX_WGT_CORR": "correction of specindex_wgt for the velocity dispersion",
    "SPECINDEX_WGT_MODEL": "specindex_wgt of the best-fitting model",
}
_MEASURED = tuple(
    "BIN_MFLUX STELLAR_VEL STELLAR_SIGMA EMLINE_SFLUX EMLINE_SEW EMLINE_GFLUX EMLINE_GEW EMLINE_GVEL EMLINE_GSIGMA "
    "SPECINDEX SPECINDEX_BF SPECINDEX_WGT".split()
)
WITH_IVAR, WITH_MASK = ("SPX_MFLUX", *_MEASURED), _MEASURED


def map_column(extension: str) -> Column:
    """The struct column of one MAPS extension."""
    without = [name for name, having in (("ivar", WITH_IVAR), ("mask", WITH_MASK)) if extension not in having]
    axes = {"channel": None, "y": None, "x": None}
    column = MODALITIES["map"].column(
        extension.lower(), axes=axes, flux="see unit", without=tuple(without), meaning=MAPS[extension]
    )
    if extension != "BINID":
        return column
    whole = [replace(member, dtype="int32") if member.name == "value" else member for member in column.members]
    return replace(column, members=tuple(whole))


CUBE = MODALITIES["cube"].column(
    axes={"wavelength": PIXELS, "y": None, "x": None},
    flux=FLUX,
    with_=("lsf_sigma",),
    meaning="cube of the DRP, vacuum, heliocentric; mask bits of MANGA_DRP3PIXMASK, bit 10 is DONOTUSE",
)
IMAGE = MODALITIES["image"].column(
    axes={"band": None, "y": None, "x": None},
    flux="nanomaggy",
    zero_point=22.5,
    with_=("psf",),
    without=("ivar", "mask"),
    meaning="broad-band images and PSFs reconstructed from the cube",
)
SPECTRUM = MODALITIES["spectrum"].column(
    axes={"wavelength": PIXELS},
    flux=FLUX,
    with_=("maskbits",),
    without=("lambda",),
    meaning="wavelength (vacuum, Angstrom) of pixel k is 10 ** (coeff0 + coeff1 * k)",
)

FROM_DRPALL = (
    Column("plate", "int64"),
    *scalars("ifudsgn mangaid", "string", meaning="IFU design; identifier of the target, the same if observed twice"),
    *scalars("objra objdec", "float64", "deg", "position of the galaxy; ra and dec are the IFU's centre"),
    *scalars("ebvgal", "float64", "mag", "Galactic reddening E(B-V)"),
    *scalars("nexp", "int64", meaning="exposures"),
    *scalars("exptime", "float64", "s", "exposure time"),
    Column("drp3qual", "int64", meaning="quality of the reduction (DRP3QUAL); bit 30: critical", polarity="0 = good"),
    *scalars("bluesn2 redsn2", "float64", meaning="squared signal-to-noise"),
    *scalars("mjdmed", "int64", "d"),
    *scalars("gfwhm rfwhm ifwhm zfwhm", "float64", "arcsec", "full width at half maximum of the PSF"),
    *scalars("mngtarg1 mngtarg2 mngtarg3", "int64", meaning="target bits: galaxies, stars, ancillary galaxies"),
    *scalars("z nsa_z nsa_zdist", "float64", meaning="redshift; NaN where there is none"),
    Column("nsa_iauname", "string"),
    *scalars("nsa_sersic_n nsa_sersic_ba nsa_elpetro_ba", "float64"),
    *scalars("nsa_sersic_th50 nsa_elpetro_th50_r", "float64", "arcsec", "half-light radius"),
    *scalars("nsa_sersic_phi nsa_elpetro_phi", "float64", "deg", "position angle, east of north"),
    *scalars("nsa_elpetro_mass", "float64", "solMass/h^2", "stellar mass"),
    Column("nsa_elpetro_flux", unit="nanomaggy", meaning="elliptical Petrosian flux: F N u g r i z", shape=(7,)),
    Column("nsa_elpetro_absmag", unit="mag", meaning="absolute magnitude: F N u g r i z", shape=(7,)),
)
FROM_DAPALL = (
    Column("dapqual", "int64", meaning="quality of the analysis (DAPQUAL); bit 30: critical", polarity="0 = good"),
)

GALAXY = Schema((*IDENTITY, CUBE, IMAGE, *map(map_column, MAPS), *FROM_DRPALL, *FROM_DAPALL))
SPAXEL = Schema(
    (
        *IDENTITY,
        SPECTRUM,
        *scalars("x y", "int16", "pixel", "column and row of the spaxel in the cube, from 0"),
        *scalars("width height", "int16", "pixel", "columns and rows of the cube"),
        *scalars("coeff0 coeff1", "float64", "log10(Angstrom)", "first wavelength, and step, of the spectrum"),
        *(GALAXY[name] for name in ("z", "drp3qual", "dapqual")),
    )
)


def spaxel_hdf5() -> tuple[Hdf5Column, ...]:
    """v1 has no such configuration: the names it has for spectra, as for DESI's."""
    members = {"flux": "f4", "ivar": "f4", "lsf_sigma": "f4", "mask": "bool", "maskbits": "i4"}
    plain = [column for column in SPAXEL if column.name != "object_id" and not column.members]
    return (
        Hdf5Column("object_id", "object_id", "S12"),
        *(Hdf5Column(f"spectrum_{name}", f"spectrum.{name}", code) for name, code in members.items()),
        *(Hdf5Column(column.name, column.name, column.dtype) for column in plain),
    )
