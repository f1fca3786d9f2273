"""The Hyper Suprime-Cam Subaru Strategic Program, PDR3: stamps in g, r, i, z and y of what its catalogue selects.

The catalogue is a database that answers queries; images are whole patches, or cutouts that a service makes.
"""

from __future__ import annotations

from typing import Any

from mmu.survey import Login, Policy, Release, Survey
from surveys.hsc.columns import HDF5, SCHEMA

_FLAGS = tuple(
    "pixelflags_bright_objectcenter pixelflags_bright_object pixelflags_edge pixelflags_saturatedcenter pixelflags_bad "
    "cmodel_flag".split()
)
QUALITY = (
    "It is primary: in the inner part of its tract and patch, and deblended.",
    "At least three exposures went into its place in each of the five bands.",
)

PDR3_DUD = {
    "schema": "pdr3_dud_rev",
    "joined": ("forced2",),
    "release_version": "pdr3",
    "rerun": "pdr3_dud_rev",
    "brightness": "i_cmodel_flux > mag_to_flux(22.5)",
    "flags": _FLAGS,
    "tracts_per_query": 25,
    "patch_bytes": 110_000_000,
}
PDR3_WIDE = {
    **PDR3_DUD,
    "schema": "pdr3_wide",
    "joined": ("forced2", "forced3"),
    "rerun": "pdr3_wide",
    "brightness": "z_cmodel_mag - a_z < 21 AND i_extendedness_value > 0.5",
    "flags": (*_FLAGS, "pixelflags_crcenter", "pixelflags_interpolatedcenter"),
}


def _release(name: str, title: str, facts: dict[str, Any], cuts: tuple[str, ...], **figures: Any) -> Release:
    flags = f"None of these flags is set in any of the five bands: {', '.join(facts['flags'])}."
    return Release(
        name,
        title,
        schema=SCHEMA,
        facts=facts,
        selection=(*QUALITY, *cuts, flags),
        epoch=2017.0,
        ragged=5,
        hdf5=HDF5,
        row_group_rows=16,
        **figures,
    )


SURVEY = Survey(
    name="hsc",
    title="Hyper Suprime-Cam SSP images",
    module=__name__,
    homepage="https://hsc-release.mtk.nao.ac.jp/doc/",
    root="https://hsc-release.mtk.nao.ac.jp/",
    licence="Public data of the HSC-SSP; fetching them takes an account, using them an acknowledgement (see below)",
    licence_id="other",
    releases=(
        _release(
            "pdr3_dud_22.5",
            "PDR3 Deep and UltraDeep: everything with i < 22.5",
            PDR3_DUD,
            ("Its i CModel magnitude, not dereddened, is below 22.5; stars and galaxies alike.",),
            objects=477_000,
            raw_bytes=600_000_000_000,  # estimate: about 1000 patches of five files
            coverage="about 36 square degrees in four fields: XMM-LSS, E-COSMOS, ELAIS-N1 and DEEP2-3",
        ),
        _release(
            "pdr3_wide_21",
            "PDR3 Wide: galaxies with z < 21",
            PDR3_WIDE,
            ("Its z CModel magnitude, dereddened, is below 21.", "It is extended: i_extendedness_value is above 0.5."),
            objects=4_000_000,  # estimate: 6000 a square degree where all five bands are deep enough
            raw_bytes=8_000_000_000_000,  # estimate: cutouts of them
            coverage="about 670 square degrees in all five bands, round the equator and in HECTOMAP and AEGIS",
        ),
    ),
    differences=(
        "Stamps are centred on the object: v1 fed 1-based pixel coordinates to a 0-based cutter and was off by one "
        "pixel.",
        "A pixel whose variance is 0 or not finite has ivar 0 and mask False; v1 gave it the largest float32 as ivar.",
        "Mask planes are found by their names in each file's header, and kept as bits in `image_maskbits`; v1 had "
        "their numbers in its code and dropped the bits.",
        "Objects near the edge of a tract are padded (flux 0, ivar 0, mask False); in v1 one of them ended the run.",
        "A band that is absent upstream is left out of `image.band`; v1 dropped the whole patch.",
        "Images come from the rerun that the catalogue was measured on (pdr3_dud_rev); v1's default was pdr3_dud.",
        "`flux` and `ivar` say their unit: counts with an AB zero point of 27.0. The numbers are the archive's.",
        "NULL in the database is NaN; a PSF that was not measured has psf_fwhm 0, as in v1.",
        "A patch or cutout that cannot be had costs what it holds, and is counted; v1 printed a line.",
        "pdr3_wide_21 was a query without a config in v1; its dereddened magnitude is written out here.",
    ),
    policy=Policy(connections=4, per_second=2.0),
    login=Login("SSP_PDR_USR", "SSP_PDR_PWD", "https://hsc-release.mtk.nao.ac.jp/datasearch/new_user/new"),
)

__all__ = ["SURVEY"]
