"""Galaxy10 DECaLS: 17 736 colour pictures of galaxies in ten classes of shape, by votes of Galaxy Zoo (labels)."""

from __future__ import annotations

from mmu.schema import IDENTITY, Column, Schema
from mmu.schema.modality import picture
from mmu.survey import Hdf5Column, Policy, Release, Survey

SIDE = 256
CLASSES = (
    "Disturbed",
    "Merging",
    "Round Smooth",
    "In-between Round Smooth",
    "Cigar Shaped Smooth",
    "Barred Spiral",
    "Unbarred Tight Spiral",
    "Unbarred Loose Spiral",
    "Edge-on without Bulge",
    "Edge-on with Bulge",
)
PATH = "Galaxy10_DECals.h5"
SHA256 = "19aefc477c41bb7f77ff07599a6b82a038dc042f889a111b0d4d98bb755c1571"

LABELS = (
    *IDENTITY,
    Column("gz10_label", "int32", meaning="class: " + ", ".join(f"{n} {name}" for n, name in enumerate(CLASSES))),
    Column("redshift", "float64", meaning="redshift; NaN where unknown"),
    Column("row", "int32", meaning="row in the archive's file; object_id is made of it"),
)
PICTURES = (
    picture("rgb_image", (SIDE, SIDE, 3), "g, r and z as a colour picture, the archive's own pixels, row 0 on top"),
    Column("rgb_pixel_scale", "float64", "arcsec/pixel", "pixel scale of the picture"),
)
_LABELS_HDF5 = (
    Hdf5Column("object_id", "row", "i8"),
    Hdf5Column("ans", "gz10_label", "u1"),
    Hdf5Column("ra", "ra", "f8"),
    Hdf5Column("dec", "dec", "f8"),
    Hdf5Column("redshift", "redshift", "f8"),
)
_PICTURES_HDF5 = (Hdf5Column("images", "rgb_image", "u1"), Hdf5Column("pxscale", "rgb_pixel_scale", "f8"))


def _release(
    name: str, title: str, columns: tuple[Column, ...], hdf5: tuple[Hdf5Column, ...], unit_rows: int
) -> Release:
    return Release(
        name=name,
        title=title,
        schema=Schema(columns),
        facts={"unit_rows": unit_rows},
        selection=("every galaxy of the file; no cut",),
        epoch=2016.0,
        objects=17_736,
        raw_bytes=2_540_000_000,
        coverage="galaxies that both DECaLS and SDSS have seen, on both sides of the Galactic plane",
        hdf5=hdf5,
        row_group_rows=512,
    )


SURVEY = Survey(
    name="gz10",
    title="Galaxy10 DECaLS",
    module="surveys.gz10",
    homepage="https://astronn.readthedocs.io/en/latest/galaxy10.html",
    root="https://www.astro.utoronto.ca/~hleung/shared/Galaxy10/",
    licence="as its authors publish it, without a licence of its own that we know of; images are of the DESI Legacy "
    "Imaging Surveys and labels of Galaxy Zoo, both to be acknowledged (see below)",
    licence_id="unknown",
    tasks=("image-classification",),
    releases=(
        _release(
            "gz10_rgb_images",
            "Galaxy10 DECaLS: labels and pictures",
            (*LABELS, *PICTURES),
            (*_LABELS_HDF5, *_PICTURES_HDF5),
            512,
        ),
        _release("gz10", "Galaxy10 DECaLS: labels only", LABELS, _LABELS_HDF5, 8192),
    ),
    differences=(
        "object_id is `gz10-` and the row in the file, five digits, so it is no other dataset's; v1 had the bare "
        "number. The number is in the column `row`, and HDF5 output has it as object_id.",
        "ra and dec are returned (v1 wrote them and its loader left them out), as float64; so are redshift and pixel "
        "scale, as in the file.",
        "The file must have the published SHA-256; v1 took any.",
        "The release gz10 holds labels without pictures; v1's configuration of that name read the same large files.",
        "The file has 17 736 galaxies, where v1's table says 15 000; labels are from Galaxy Zoo's campaigns on SDSS "
        "(GZ2) and on DECaLS, where v1's description names GZ2 only.",
    ),
    policy=Policy(connections=1, per_second=2.0),
)
