"""The DESI Legacy Imaging Surveys: stamps in three or four bands, and Tractor catalogues, of galaxies with z < 21."""

from __future__ import annotations

from typing import Any

from mmu.survey import Policy, Release, Survey
from surveys.legacysurvey.columns import hdf5_layout, schema

SELECTION = (
    "The source is primary in its brick, and the brick belongs to the survey's area and has exposures in every band.",
    "Its z flux is positive and its dereddened z magnitude, 22.5 - 2.5 log10(FLUX_Z / MW_TRANSMISSION_Z), is below 21.",
    "It was observed in every band (NOBS > 0).",
    "It is extended: its TYPE is not PSF.",
)

DIFFERENCES = (
    "Stamps are centred on the object: v1 fed 1-based pixel coordinates to a 0-based cutter and was off by one pixel.",
    "The neighbour list holds the 20 brightest sources of the stamp, brightest first; v1 held the 20 faintest.",
    "Neighbour list and object mask are made from the whole Tractor catalogue of the image, stars, faint, masked and "
    "non-primary sources included; v1 used only the selected objects of the same brick and HEALPix pixel.",
    "Sources in the last row or column of a stamp are listed too; v1 left them out.",
    "The target is always in its own neighbour list; X and Y are fractional pixels (float32), where v1 had whole ones.",
    "A pixel outside its brick's primary area (mask bit 0) is no longer marked as bad.",
    "`image.mask` is one plane a band and also False where ivar is 0; v1 had one plane for all bands. "
    "The archive's bits are kept beside it in `image_maskbits`.",
    "Objects near the edge of a brick's image are padded (flux 0, ivar 0, mask False); v1 dropped them silently.",
    "A missing file costs what it holds, and every object lost is counted with a reason; v1 lost them silently.",
    "A band that is absent upstream is left out of `image.band`; pictures absent upstream are null.",
    "The object mask is drawn at sub-pixel positions, the brightest source on top, large sources outside the stamp "
    "included; a point source is a disc as wide as the PSF, where v1 had none.",
    "Catalogue columns come from the Tractor files, so a record does not depend on how the object was found.",
    "Pixels that are not finite have flux 0, ivar 0 and mask False.",
    "`object_id` is text without the quotes of a Python byte string; v1's `gid`, which was not unique, is gone.",
)

_KINDS = ("maskbits.fits.fz", "image.jpg", "blobmodel.jpg")


def _facts(folder: str, bricks: str, sweep: str, band_names: dict[str, str], **more: Any) -> dict[str, Any]:
    """What differs between releases; `band_names` maps the archive's letters to the names in `image.band`."""
    bands = "".join(band_names)
    return {
        "folder": folder,
        "bricks_file": bricks,
        "sweep": sweep,
        "bands": bands,
        "band_names": band_names,
        "kinds": (*(f"{kind}-{band}.fits.fz" for band in bands for kind in ("image", "invvar")), *_KINDS),
        "faintest": 21.0,
        "sweep_row_bytes": 450,
        "rows_per_brick": 6000,
        **more,
    }


SOUTH = _facts(
    "dr10/south",
    "survey-bricks-dr10-south.fits.gz",
    "sweep/10.1",
    {band: f"des-{band}" for band in "griz"},
    reference="I",
    maskbits="int32",
    masked=(0, 1, 2, 3, 4, 5, 6, 7, 11, 14, 15),
    bad_pixel=(1, 2, 3, 4, 5, 6, 7, 11, 14, 15),
    tractor_row_bytes=2100,
    bricks_bytes=80_000_000,
)
NORTH = _facts(
    "dr9/north",
    "survey-bricks-dr9-north.fits.gz",
    "sweep/9.0",
    {"g": "bass-g", "r": "bass-r", "z": "mzls-z"},
    reference="Z",
    maskbits="int16",
    masked=(0, 1, 2, 3, 4, 5, 6, 7, 11),
    bad_pixel=(1, 2, 3, 4, 5, 6, 7, 11),
    tractor_row_bytes=1900,
    bricks_bytes=20_000_000,
)


def _release(name: str, title: str, facts: dict[str, Any], bits: str, **figures: Any) -> Release:
    width = max(map(len, facts["band_names"].values()))
    return Release(
        name,
        title,
        schema=schema(facts["bands"], facts["maskbits"]),
        facts=facts,
        selection=(*SELECTION, f"None of these bits is set in its MASKBITS: {bits}."),
        epoch=2016.0,
        hdf5=hdf5_layout(facts["bands"], facts["maskbits"], width),
        row_group_rows=24,
        **figures,
    )


SURVEY = Survey(
    name="legacysurvey",
    title="DESI Legacy Imaging Surveys",
    module=__name__,
    homepage="https://www.legacysurvey.org/",
    root="https://portal.nersc.gov/cfs/cosmo/data/legacysurvey/",
    licence="Public data of the DESI Legacy Imaging Surveys; acknowledge the surveys when you use them (see below)",
    licence_id="other",
    releases=(
        _release(
            "dr10_south_21",
            "DR10 south: DECam images in g, r, i and z, galaxies with z < 21",
            SOUTH,
            "NPRIMARY, BRIGHT, SATUR_G/R/I/Z, ALLMASK_G/R/I/Z, MEDIUM",
            objects=124_000_000,
            raw_bytes=20_000_000_000_000,
            coverage="about 15,000 square degrees south of Dec +32.375 that DECam has seen in all of g, r, i and z",
        ),
        _release(
            "dr9_north_21",
            "DR9 north: BASS images in g and r, MzLS images in z, galaxies with z < 21",
            NORTH,
            "NPRIMARY, BRIGHT, SATUR_G/R/Z, ALLMASK_G/R/Z, MEDIUM",
            objects=42_000_000,
            raw_bytes=5_000_000_000_000,
            coverage="about 5,100 square degrees north of Dec +32.375 in the northern Galactic cap",
        ),
    ),
    differences=DIFFERENCES,
    policy=Policy(connections=2),
)

__all__ = ["SURVEY"]
