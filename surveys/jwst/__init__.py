"""JWST deep fields: NIRCam stamps in up to seven bands from the mosaics of the DAWN JWST Archive (grizli v7).

A release is one deep field, as in Multimodal Universe v1: its mosaics, its bands, and where its sample ends.
"""

from __future__ import annotations

from mmu.survey import Policy, Release, Survey
from surveys.jwst.columns import hdf5_layout, schema

SHORT, LONG = ("f090w", "f115w", "f150w", "f200w"), ("f277w", "f356w", "f444w")
BANDS = (*SHORT, *LONG)
LEAST_BANDS = 4

DIFFERENCES = (
    "`object_id` is `<mosaic>_<id>`, the same whenever it is built; v1 added Python's salted hash of the mosaic's name "
    "to `id`, so that no two builds agreed and objects of different mosaics could share an identifier.",
    "Every object is in the partition of its own position; v1 wrote a whole mosaic into the pixel of its first row.",
    "Both mosaics of a field have all their columns; v1 appended the second mosaic to the columns of the first, which "
    "left columns of unequal length.",
    "The exposure map is read where grizli samples it, at every fourth pixel from the first; v1 had it up to two "
    "pixels off, and no exposure (hence ivar 0 on any light) in a mosaic's first row and column.",
    "`image.ivar` is computed in the stamps and stored as float32; v1 wrote inverse variances as float64.",
    "A band whose image or weight is absent upstream is left out of `image.band`; v1 saved the archive's error page as "
    "an image and failed on it.",
    "Without an exposure map, or without the calibration cards in its header, the inverse variance is that of sky and "
    "readout alone and `image_photon_noise` says so; v1 failed.",
    "`image.scale` is the scale of the mosaic's coordinates, not rounded to four decimals.",
    "Catalogue columns are the detection's and those of the NIRCam bands listed here; v1 kept whatever other bands "
    "the first mosaic had. What a mosaic's catalogue lacks is null, never 0.",
    "Every object that is not in the dataset is counted with the reason.",
)


def _release(
    name: str,
    field: str,
    mosaics: dict[str, float],
    objects: int,
    raw_bytes: int,
    *,
    faintest: float,
    bands: tuple[str, ...] = BANDS,
    short_scale: float = 0.02,
) -> Release:
    """One field. Objects, bytes and the areas in `mosaics` (arcmin^2) are estimates: v1 has 300,000 objects in all."""
    count = f"{LEAST_BANDS} of the NIRCam bands {', '.join(BANDS)}"
    return Release(
        name,
        f"{field}: NIRCam stamps of 96 x 96 pixels in {len(bands)} bands",
        schema=schema(bands),
        facts={
            "mosaics": mosaics,
            "bands": bands,
            "counted_bands": BANDS,
            "least_bands": LEAST_BANDS,
            "faintest": faintest,
            "short_bands": SHORT,
            "short_scale": short_scale,
        },
        selection=(
            f"Its flux in the smallest aperture ({{band}}_flux_aper_0, 0.36 arcsec) is positive in at least {count}.",
            f"Its total magnitude on the detection image (mag_auto, AB) is below {faintest:g}.",
        ),
        epoch=2023.0,
        objects=objects,
        raw_bytes=raw_bytes,
        coverage=f"{field}, about {sum(mosaics.values()):g} square arcminutes in {len(mosaics)} "
        + ("mosaic" if len(mosaics) == 1 else "overlapping mosaics"),
        hdf5=hdf5_layout(bands),
        ragged=len(bands),
        row_group_rows=40,
    )


COSMOS = {"primer-cosmos-east-grizli-v7.0": 75.0, "primer-cosmos-west-grizli-v7.0": 75.0}
UDS = {"primer-uds-north-grizli-v7.2": 115.0, "primer-uds-south-grizli-v7.2": 120.0}

SURVEY = Survey(
    name="jwst",
    title="JWST deep fields",
    module=__name__,
    homepage="https://dawn-cph.github.io/dja/",
    root="https://grizli-v2.s3.amazonaws.com/JwstMosaics/v7/",
    licence="Public data of JWST, reduced by the DAWN JWST Archive; acknowledge both when you use them (see below)",
    licence_id="other",
    releases=(
        _release("primer-cosmos", "PRIMER in COSMOS", COSMOS, 60_000, 19_000_000_000, faintest=27.0, short_scale=0.04),
        _release("primer-uds", "PRIMER in UDS", UDS, 90_000, 30_000_000_000, faintest=27.0, short_scale=0.04),
        _release("ceers", "CEERS in EGS", {"ceers-full-grizli-v7.4": 100.0}, 40_000, 33_000_000_000, faintest=27.0),
        _release(
            "ngdeep",
            "NGDEEP in the HUDF parallel field",
            {"ngdeep-grizli-v7.2": 10.0},
            5_000,
            2_600_000_000,
            faintest=27.5,
            bands=BANDS[1:],
        ),
        _release("gds", "GOODS-South", {"gds-grizli-v7.2": 140.0}, 55_000, 45_000_000_000, faintest=27.5),
        _release("gdn", "GOODS-North", {"gdn-grizli-v7.3": 130.0}, 50_000, 42_000_000_000, faintest=27.5),
    ),
    builds=("primer-cosmos", "primer-uds", "ceers", "ngdeep", "gds", "gdn"),
    differences=DIFFERENCES,
    policy=Policy(connections=4),
    absent=(404, 410, 403),  # a bucket that may not be listed says 403
)

__all__ = ["SURVEY"]
