"""Gaia DR3: the sources that have low-resolution (XP) spectra, with the coefficients of those spectra."""

from __future__ import annotations

from dataclasses import replace

from mmu.schema import IDENTITY, MODALITIES, Column, Schema, scalars
from mmu.survey import Hdf5Column, Policy, Release, Survey
from surveys.gaia.columns import SOURCE

BASES = 55
"""Coefficients of one band; records hold BP's and then RP's."""
CORRELATIONS = BASES * (BASES - 1) // 2
BANDS = ("bp", "rp")

COEFFICIENTS = tuple(
    replace(member, modality="coefficients")
    for member in MODALITIES["coefficients"].column(axes={"basis": 2 * BASES}, flux="e-/s").members
)
SPECTRUM = (
    *COEFFICIENTS,
    *(
        Column(
            f"{band}_coefficient_correlations",
            "float32",
            shape=(CORRELATIONS,),
            meaning=f"correlations of the {band.upper()} coefficients, lower triangle row by row",
        )
        for band in BANDS
    ),
    *scalars(
        "bp_n_relevant_bases rp_n_relevant_bases",
        "int16",
        meaning="coefficients that matter; the rest may be cut",
        nullable=True,
    ),
    *scalars("bp_standard_deviation rp_standard_deviation", meaning="scale of the coefficients' covariance"),
)
_NAMES = {column.name for column in IDENTITY}
SCHEMA = Schema((*IDENTITY, *SPECTRUM, *(column for column in SOURCE if column.name not in _NAMES)))


def _hdf5() -> tuple[Hdf5Column, ...]:
    """v1's names: `source_id`, `coeff`, `coeff_error` and the archive's columns; `object_id` is new."""
    codes = {"string": "S32", "bool": "bool"}
    plain = [column for column in SCHEMA if column.scalar and column.name != "object_id"]
    return (
        Hdf5Column("object_id", "source_id", "i8"),
        Hdf5Column("coeff", "coeff", "f4"),
        Hdf5Column("coeff_error", "coeff_error", "f4"),
        *(Hdf5Column(column.name, column.name, codes.get(column.dtype, column.dtype)) for column in plain),
    )


DR3 = Release(
    name="gaia_dr3",
    title="Gaia DR3, sources with XP spectra",
    schema=SCHEMA,
    facts={
        "source": ("gaia_source", "GaiaSource"),
        "xp": ("Spectroscopy/xp_continuous_mean_spectrum", "XpContinuousMeanSpectrum"),
        "source_bytes": 200_000_000,
        "xp_bytes": 850_000_000,
    },
    selection=("every source of gaia_source that has an entry in xp_continuous_mean_spectrum; no other cut",),
    epoch=2016.0,
    objects=219_197_643,
    raw_bytes=3_500_000_000_000,
    coverage="the whole sky",
    hdf5=_hdf5(),
    row_group_rows=1800,
)

SURVEY = Survey(
    name="gaia",
    title="Gaia XP spectra and sources",
    module="surveys.gaia",
    homepage="https://www.cosmos.esa.int/web/gaia/dr3",
    root="https://cdn.gea.esac.esa.int/Gaia/gdr3/",
    licence="open and free to use, provided credit is given to ESA/Gaia/DPAC (Gaia DR3 documentation)",
    licence_id="other",
    releases=(DR3,),
    differences=(
        "Rows are matched by source_id and written once each; v1's merging script laid parts of unequal length over "
        "one another and paired coefficients with sources by position.",
        "Columns are flat and keep the archive's dtypes (v1 nested them in dictionaries and made all float32, ra and "
        "dec too, which cost up to 0.1 arcsec).",
        "The coefficients' correlations, bp/rp_n_relevant_bases and bp/rp_standard_deviation are kept: errors of a "
        "sampled spectrum need them.",
        "All 152 columns of gaia_source are there. A missing number is NaN; a missing integer, flag or text is null.",
        "Where the archive has only one of BP and RP, the other's coefficients, errors and correlations are NaN.",
        "HDF5 output has an object_id beside source_id, so that it can be cross-matched with v1's tools.",
        "Files come from ESA's own archive, with its MD5 sums checked, not from a mirror.",
    ),
    policy=Policy(connections=4, per_second=4.0),
)
