"""PROVABGS: stellar masses, star-formation histories and metallicities of DESI's bright galaxies (labels)."""

from __future__ import annotations

from dataclasses import replace

from mmu.schema import IDENTITY, Column, Schema, scalars
from mmu.survey import Hdf5Column, Policy, Release, Supplement, Survey

THETA = 13
"""Parameters: log10 M_formed, beta1-4, f_burst, t_burst, gamma1-2, tau_BC, tau_ISM, dust index, f_fiber."""
DRAWS = 100
BASIS = "provabgs-basis"
BASIS_TIME, BASIS_SFH, BASIS_ZH = (
    "sfh_t_int.txt",
    "NMF_2basis_SFH_components_nowgt_lin_Nc4.txt",
    "NMF_2basis_Z_components_nowgt_lin_Nc2.txt",
)
_ORDER = (
    "log10 of the formed mass/solMass, beta1-4 (star-formation history), f_burst, t_burst/Gyr, gamma1-2 (metallicity "
    "history), tau_BC, tau_ISM, dust index, f_fiber"
)

PHYSICS = (
    Column("LOG_MSTAR", "float64", "log10(solMass)", "best-fit surviving stellar mass (PROVABGS_LOGMSTAR_BF)"),
    Column("PROVABGS_THETA_BF", "float64", meaning=f"best-fit parameters: {_ORDER}", shape=(THETA,)),
    Column("PROVABGS_MCMC", "float32", meaning="draws from the posterior of these", shape=(DRAWS, THETA)),
)
DERIVED = (
    Column("Z_MW", "float64", "", "mass-weighted stellar metallicity (mass fraction of metals)", nullable=True),
    Column("TAGE_MW", "float64", "Gyr", "mass-weighted stellar age", nullable=True),
    Column("AVG_SFR", "float64", "solMass/yr", "star formation rate, mean of the last Gyr", nullable=True),
    Column("AVG_SSFR", "float64", "1/yr", "AVG_SFR by the surviving stellar mass, 10^LOG_MSTAR", nullable=True),
)
CATALOGUE = (
    Column("TARGETID", "int64", meaning="DESI's identifier; object_id is its text"),
    *scalars("Z_HP ZERR", "float64", meaning="redshift and its error (redrock)"),
    Column("TSNR2_BGS", "float32", meaning="squared template signal-to-noise of the spectrum"),
    *scalars("MAG_G MAG_R MAG_Z MAG_W1", "float64", "mag", "AB, corrected for Galactic extinction"),
    Column("FIBMAG_R", "float64", "mag", "AB in a fibre, corrected for Galactic extinction"),
    Column("HPIX_64", "int64", meaning="HEALPix pixel, nside 64, nested"),
    Column("PROVABGS_Z_MAX", "float64", meaning="largest redshift at which the galaxy would be in the sample"),
    Column("SCHLEGEL_COLOR", "float64", "mag", "(z - W1) - 1.2 (g - r) + 1.2, by which BGS Faint is chosen"),
    *scalars("PROVABGS_W_ZFAIL PROVABGS_W_FIBASSIGN", "float64", meaning="weight for redshifts failed, fibres missed"),
    Column("IS_BGS_BRIGHT", "bool", meaning="in BGS Bright", polarity="True = member"),
    Column("IS_BGS_FAINT", "bool", meaning="in BGS Faint", polarity="True = member"),
)
"""Columns that are called here as in the file."""
SCHEMA = Schema((*IDENTITY, *PHYSICS, *DERIVED, *CATALOGUE))
FILE_NAMES = {"ra": "RA", "dec": "DEC", "LOG_MSTAR": "PROVABGS_LOGMSTAR_BF"}
"""Our name -> the file's, where they differ."""


def _hdf5() -> tuple[Hdf5Column, ...]:
    """v1's names are the file's, but for ra and dec; it wrote the file's float64 for the draws too."""
    plain = [column for column in SCHEMA if column.name not in ("object_id", "AVG_SSFR")]
    named = [replace(column, name=FILE_NAMES.get(column.name, column.name)) for column in plain]
    return (
        Hdf5Column("object_id", "TARGETID", "i8"),
        *(
            Hdf5Column(
                named.name if named.name not in ("RA", "DEC") else column.name,
                column.name,
                "f8" if column.shape else column.dtype,
            )
            for column, named in zip(plain, named, strict=True)
        ),
    )


EDR = Release(
    name="provabgs",
    title="PROVABGS value-added catalogue v1.0 of DESI EDR (SV3)",
    schema=SCHEMA,
    facts={
        "path": "edr/vac/edr/provabgs/v1.0/BGS_ANY_full.provabgs.sv3.v0.hdf5",
        "bytes": 2_700_000_000,  # estimated from 10.7 kB a row
        "unit_rows": 4096,
    },
    selection=(
        "the galaxy has a fit: PROVABGS_LOGMSTAR_BF is above 0",
        "it was seen in g, r and z: MAG_G, MAG_R and MAG_Z are above 0",
    ),
    epoch=2015.5,
    objects=221_000,  # as Multimodal Universe v1 counts
    raw_bytes=2_700_000_000,
    coverage="20 fields of the One-Percent Survey (SV3), about 170 square degrees",
    hdf5=_hdf5(),
    row_group_rows=4096,
)

SURVEY = Survey(
    name="desi_provabgs",
    title="PROVABGS galaxy properties for DESI's Bright Galaxy Survey",
    module="surveys.desi_provabgs",
    homepage="https://data.desi.lbl.gov/doc/releases/edr/vac/provabgs",
    root="https://data.desi.lbl.gov/public/",
    licence="CC BY 4.0",
    licence_id="cc-by-4.0",
    tasks=("tabular-regression",),
    releases=(EDR,),
    differences=(
        "ra and dec are float64 (v1's loader made them float32, which costs up to 0.1 arcsec), and so are the other "
        "numbers that the file has as float64; only the posterior's draws are float32.",
        "HPIX_64 is an integer (v1's loader made it a float), IS_BGS_BRIGHT and IS_BGS_FAINT are there (v1's declared "
        "and never returned them).",
        "Z_MW, TAGE_MW and AVG_SFR are numbers, not arrays of one; they are computed when the basis tables of the "
        "provabgs package are given (`--provabgs-basis DIR`), without that package, and null otherwise.",
        "AVG_SSFR divides the star formation rate by the stellar mass; v1's benchmark divided it by the metallicity.",
        "Every row that is cut is counted with its reason; a download that failed cannot leave an empty file.",
    ),
    policy=Policy(connections=2, per_second=4.0),
    supplements=(
        Supplement(
            name=BASIS,
            files=(BASIS_TIME, BASIS_SFH, BASIS_ZH),
            meaning="the provabgs package's folder `dat`, with its bases of star-formation and metallicity history",
            given="Z_MW, TAGE_MW, AVG_SFR and AVG_SSFR are computed from the basis tables given as `--provabgs-basis`",
            absent="Z_MW, TAGE_MW, AVG_SFR and AVG_SSFR are null, as no `--provabgs-basis` was given",
        ),
    ),
)
