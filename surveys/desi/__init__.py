"""DESI: spectra of galaxies, quasars and stars from the Dark Energy Spectroscopic Instrument.

A release is data: where its production lives, which survey it takes, and which column of the catalogue says that a
spectrum is its target's best.
"""

from __future__ import annotations

from mmu.schema import IDENTITY, MODALITIES, Column, Schema, scalars
from mmu.survey import Hdf5Column, Policy, Release, Survey
from surveys.desi.coadd import PIXELS

FLUX = "1e-17 erg/(s cm2 Angstrom)"

SPECTRUM = MODALITIES["spectrum"].column(
    axes={"wavelength": PIXELS},
    flux=FLUX,
    with_=("maskbits",),
    meaning="the B, R and Z arms merged on 3600 + 0.8 k Angstrom, vacuum, barycentric",
)
WHERE = (
    Column("SURVEY", "string", meaning="survey the tile was observed for"),
    Column("PROGRAM", "string", meaning="observing program: bright, dark, backup"),
    Column("HEALPIX", "int32", meaning="nested pixel of the coadd file, nside 64"),
)
REDSHIFTS = (
    *scalars("Z ZERR", "float64", meaning="redshift and its error (redrock)"),
    Column("ZWARN", "int64", meaning="redrock's warning bits as the archive has them", polarity="0 = good"),
    *scalars("CHI2 DELTACHI2", "float64", meaning="chi2 of the best fit, and by how much the next is worse"),
    *scalars("NPIXELS NCOEFF", "int64", meaning="unmasked pixels and template coefficients of the fit"),
    Column("COEFF", "float64", meaning="template coefficients", shape=(10,)),
    Column("SPECTYPE", "string", meaning="GALAXY, QSO or STAR"),
    Column("SUBTYPE", "string", meaning="subtype, of stars mostly"),
)
TSNR2 = scalars(
    "TSNR2_GPBDARK TSNR2_ELG TSNR2_GPBBRIGHT TSNR2_LYA TSNR2_BGS TSNR2_GPBBACKUP TSNR2_QSO TSNR2_LRG",
    meaning="squared template signal-to-noise for that class of target, all arms",
)
_BANDS, _OPTICAL = "G R Z W1 W2".split(), "G R Z".split()
FIBERMAP = (
    *scalars("COADD_FIBERSTATUS", "int32", meaning="bits common to all exposures; 0 = good"),
    *scalars("PMRA PMDEC", unit="mas/yr", meaning="proper motion of the targeting catalogue"),
    *scalars("REF_EPOCH", unit="yr", meaning="epoch of the targeting position"),
    *scalars("FA_TARGET", "int64"),
    *scalars("FA_TYPE", "uint8"),
    *scalars("OBJTYPE", "string"),
    *scalars("SUBPRIORITY", "float64"),
    *scalars("OBSCONDITIONS", "int32"),
    *scalars("RELEASE", "int16", meaning="Legacy Survey release of the target"),
    *scalars("BRICKNAME", "string"),
    *scalars("BRICKID BRICK_OBJID", "int32", meaning="the target's brick and number therein"),
    *scalars("MORPHTYPE", "string", meaning="Tractor model"),
    *scalars("EBV", unit="mag", meaning="Galactic reddening E(B-V), SFD98"),
    *scalars(" ".join(f"FLUX_{band}" for band in _BANDS), unit="nanomaggy", meaning="imaging flux, not dereddened"),
    *scalars(" ".join(f"FLUX_IVAR_{band}" for band in _BANDS), unit="1/nanomaggy^2", meaning="its inverse variance"),
    *scalars(
        " ".join(f"FIBERFLUX_{band}" for band in _OPTICAL), unit="nanomaggy", meaning="this object's light in a fibre"
    ),
    *scalars(" ".join(f"FIBERTOTFLUX_{band}" for band in _OPTICAL), unit="nanomaggy", meaning="all light in a fibre"),
    *scalars("MASKBITS", "int16", meaning="Legacy Survey mask bits of the target"),
    *scalars("SERSIC"),
    *scalars("SHAPE_R", unit="arcsec", meaning="half-light radius"),
    *scalars("SHAPE_E1 SHAPE_E2", meaning="ellipticity"),
    *scalars("REF_ID", "int64", meaning="identifier in REF_CAT (Gaia's source_id for G2)"),
    *scalars("REF_CAT", "string"),
    *scalars("GAIA_PHOT_G_MEAN_MAG GAIA_PHOT_BP_MEAN_MAG GAIA_PHOT_RP_MEAN_MAG", unit="mag"),
    *scalars("PARALLAX", unit="mas"),
    *scalars("PHOTSYS", "string", meaning="N: BASS/MzLS imaging, S: DECam"),
    *scalars("PRIORITY_INIT NUMOBS_INIT", "int64"),
    *scalars("PLATE_RA PLATE_DEC", "float64", "deg"),
    *scalars("COADD_NUMEXP COADD_NUMNIGHT COADD_NUMTILE", "int16", meaning="exposures, nights, tiles in the coadd"),
    *scalars("COADD_EXPTIME", unit="s", meaning="exposure time"),
    *scalars("MEAN_DELTA_X RMS_DELTA_X MEAN_DELTA_Y RMS_DELTA_Y", unit="mm", meaning="fibre offset"),
    *scalars("MEAN_FIBER_RA MEAN_FIBER_DEC", "float64", "deg"),
    *scalars("STD_FIBER_RA STD_FIBER_DEC", unit="arcsec"),
    *scalars("MEAN_PSF_TO_FIBER_SPECFLUX", meaning="share of a point source's light in the fibre"),
)


def _bits(names: str) -> tuple[Column, ...]:
    return scalars(names, "int64", meaning="targeting bits")


def _schema(bits: tuple[Column, ...]) -> Schema:
    target = Column("TARGETID", "int64", meaning="DESI's identifier; object_id is its text")
    return Schema((*IDENTITY, SPECTRUM, target, *WHERE, *REDSHIFTS, *TSNR2, *FIBERMAP, *bits))


def _hdf5(schema: Schema) -> tuple[Hdf5Column, ...]:
    """v1's names: `object_id` is the integer, `spectrum_*` the members, the rest as they are called here."""
    codes = {"string": "S20", "bool": "bool"}
    members = {"flux": "f4", "ivar": "f4", "lsf_sigma": "f4", "lambda": "f4", "mask": "bool"}
    plain = [column for column in schema if column.name != "object_id" and not column.members]
    return (
        Hdf5Column("object_id", "TARGETID", "i8"),
        Hdf5Column("TARGET_RA", "ra", "f8"),
        Hdf5Column("TARGET_DEC", "dec", "f8"),
        *(Hdf5Column(f"spectrum_{name}", f"spectrum.{name}", code) for name, code in members.items()),
        *(Hdf5Column(column.name, column.name, codes.get(column.dtype, column.dtype)) for column in plain),
    )


def _release(
    name: str, title: str, bits: str, facts: dict[str, object], objects: int, raw_bytes: int, coverage: str
) -> Release:
    schema = _schema(_bits(bits))
    return Release(
        name=name,
        title=title,
        schema=schema,
        facts=facts,
        selection=(
            f"targets only (OBJTYPE is TGT) on good fibres (COADD_FIBERSTATUS is 0) of the survey {facts['survey']}",
            f"of a target's spectra the primary one ({facts['primary']}): ZWARN 0 first, then the highest TSNR2_LRG",
        ),
        epoch=2015.5,
        objects=objects,
        raw_bytes=raw_bytes,
        coverage=coverage,
        hdf5=_hdf5(schema),
        row_group_rows=150,
    )


_TARGETS = "DESI_TARGET BGS_TARGET MWS_TARGET"

DR1_MAIN = _release(
    "dr1_main",
    "DESI DR1 (iron), main survey",
    f"{_TARGETS} SCND_TARGET",
    {
        "redux": "dr1/spectro/redux/iron",
        "zall": "zcatalog/v1/zall-pix-iron.fits",
        "zall_bytes": 22_000_000_000,
        "survey": "main",
        "primary": "MAIN_PRIMARY",
        "primary_among": ("main",),
    },
    objects=20_000_000,
    raw_bytes=10_000_000_000_000,
    coverage="about 9 500 square degrees of the extragalactic sky north of declination -30",
)
EDR_SV3 = _release(
    "edr_sv3",
    "DESI EDR (fuji), One-Percent Survey (SV3)",
    f"SV3_DESI_TARGET SV3_BGS_TARGET SV3_MWS_TARGET SV3_SCND_TARGET {_TARGETS}",
    {
        "redux": "edr/spectro/redux/fuji",
        "zall": "zcatalog/zall-pix-fuji.fits",
        "zall_bytes": 2_000_000_000,
        "survey": "sv3",
        "primary": "SV_PRIMARY",
        "primary_among": ("sv1", "sv2", "sv3"),
    },
    objects=1_130_000,
    raw_bytes=600_000_000_000,
    coverage="20 fields, about 170 square degrees",
)

SURVEY = Survey(
    name="desi",
    title="DESI spectra",
    module="surveys.desi",
    homepage="https://data.desi.lbl.gov/doc",
    root="https://data.desi.lbl.gov/public/",
    licence="CC BY 4.0",
    licence_id="cc-by-4.0",
    releases=(DR1_MAIN, EDR_SV3),
    differences=(
        "lsf_sigma is measured for each fibre and wavelength from the resolution matrix, and is in Angstrom; v1 had "
        "one fitted number (in pixels, at times negative) for a whole file.",
        "ZWARN holds redrock's bits (0 = good); v1 inverted it into a boolean whose True meant good.",
        "The mask's bits are kept beside the mask, as spectrum.maskbits.",
        "A missing file or target costs that file or target and is counted; v1 stopped.",
        "spectrum_lsf (the raw 11 resolution diagonals, 342 kB a spectrum) is not stored.",
        "Columns that only the summary catalogue has (MIN_MJD, DESINAME, *_NSPEC, other surveys' targeting bits) and "
        "the arm-wise TSNR2 are not carried; those of the coadd and redrock files are.",
        "Pixels without any data have flux 0, ivar 0 and mask True.",
    ),
    policy=Policy(connections=4, per_second=8.0),
)
