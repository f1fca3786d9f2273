"""MaNGA: integral-field spectroscopy of 10 000 nearby galaxies: cubes of the DRP, maps of the DAP.

One release, DR17, in two shapes: a row a galaxy, and a row a covered spaxel.
"""

from __future__ import annotations

from typing import Any

from mmu.survey import Policy, Release, Survey
from surveys.manga.columns import GALAXY, SPAXEL, spaxel_hdf5

SELECTION = (
    "Every observation (plate-IFU) in drpall that the DAP has analysed: it is in dapall's table of the analysis type "
    "HYB10-MILESHC-MASTARSSP, and DAPDONE is true.",
    "Quality and samples are columns, not cuts, as in v1: bit 30 of drp3qual or dapqual is CRITICAL; mngtarg1 tells "
    "the main samples, mngtarg3 ancillary targets.",
)

DIFFERENCES = (
    "Arrays have the cube's own size; v1 padded every plane to 96 x 96 (9216 spaxels of which 5 to 30 % hold data), "
    "and odd sizes wrongly. `--format hdf5` still pads.",
    "Wavelengths are stored once a cube (`manga`), or as the two numbers of the grid (`manga_spaxels`); v1 repeated "
    "them for each of the 9216 spaxels, 168 MB a galaxy.",
    "A struct column per extension of the maps, with label, unit, value, ivar and mask along the channels; v1 had a "
    "list of 914 pictures. Labels are the archive's own (`Ha-6564`).",
    "A channel without a unit has none: in v1 it inherited that of the channel before (R/Re in arcsec, D4000 in mag).",
    "Masks of maps are the DAP's integers; v1 stored them as float32, which cannot hold every bit. A map without a "
    "mask or inverse variance has none; v1 masked all of it.",
    "`z` is that of the targeting catalogue, NaN where there is none; v1 had nsa_z, and -9999 where it is missing.",
    "ra and dec are columns, and the catalogue rows of drpall are there: v1 could not be cross-matched.",
    "A missing file of maps leaves the galaxy without maps; v1 stopped.",
    "Voxels without weight, or not finite, carry the bit DONOTUSE.",
)


def _facts(maps: bool) -> dict[str, Any]:
    return {
        "redux": "dr17/manga/spectro/redux/v3_1_1",
        "analysis": "dr17/manga/spectro/analysis/v3_1_1/3.1.0",
        "drp": "v3_1_1",
        "dap": "3.1.0",
        "daptype": "HYB10-MILESHC-MASTARSSP",
        "maps": maps,
    }


COVERAGE = "10 000 galaxies with 0.01 < z < 0.15 on 2 700 square degrees of the SDSS imaging footprint"

MANGA = Release(
    name="manga",
    title="DR17: cubes, reconstructed images and maps, a row a galaxy",
    schema=GALAXY,
    facts=_facts(maps=True),
    selection=SELECTION,
    epoch=2016.0,
    objects=10_735,
    raw_bytes=1_700_000_000_000,
    coverage=COVERAGE,
    ragged=56,  # root mean square side of a cube over the IFU sizes (an estimate)
    row_group_rows=1,  # a row is 60 to 450 MB before compression
    hdf5_groups=True,
)
MANGA_SPAXELS = Release(
    name="manga_spaxels",
    title="DR17: a row a covered spaxel",
    schema=SPAXEL,
    facts=_facts(maps=False),
    selection=(*SELECTION, "Every spaxel that a fibre covered at some wavelength (bit NOCOV is not set)."),
    epoch=2016.0,
    objects=10_735,
    raw_bytes=1_500_000_000_000,
    coverage=COVERAGE,
    hdf5=spaxel_hdf5(),
    row_group_rows=100,  # 8 MB
    rows_per_object=1200,  # spaxels, over the IFU sizes (an estimate)
)

SURVEY = Survey(
    name="manga",
    title="SDSS-IV MaNGA",
    module=__name__,
    homepage="https://www.sdss4.org/dr17/manga/",
    root="https://data.sdss.org/sas/",
    licence="SDSS data are public; use them with the acknowledgement below (https://www.sdss4.org/collaboration/)",
    licence_id="other",
    releases=(MANGA, MANGA_SPAXELS),
    differences=DIFFERENCES,
    policy=Policy(connections=4, per_second=5.0),
)

__all__ = ["MANGA", "MANGA_SPAXELS", "SURVEY"]
