"""The columns of a record: the 70 of Multimodal Universe v1's query, in its order, and the images.

The catalogue's own names (https://hsc-release.mtk.nao.ac.jp/schema/#pdr3); NULL is NaN.
"""

from __future__ import annotations

from mmu.schema import IDENTITY, MODALITIES, Column, Schema, scalars
from mmu.survey import Hdf5Column

BANDS = "grizy"
SIZE = 160
SCALE = 0.168
ZERO_POINT = 27.0
"""AB magnitude of one count in a coadd."""

PLANES = {
    name: bit
    for bit, name in enumerate(
        "BAD SAT INTRP CR EDGE DETECTED DETECTED_NEGATIVE SUSPECT NO_DATA BRIGHT_OBJECT CROSSTALK NOT_DEBLENDED "
        "UNMASKEDNAN REJECTED CLIPPED SENSOR_EDGE INEXACT_PSF".split()
    )
}
"""Mask planes and their bits, as PDR2 and PDR3 have them; a file that numbers them otherwise is renumbered."""
BAD_PLANES = ("BAD", "SAT", "NO_DATA")


def _each(pattern: str) -> str:
    """A blank-separated list of names, `{b}` standing for each band."""
    return " ".join(name.format(b=band) for band in BANDS for name in pattern.split())


KEYS = (
    Column("tract", "int32", meaning="tract of the sky map"),
    Column("patch", "int32", meaning="patch of the tract: 100 x + y"),
)
MEASURED = (
    *scalars(_each("a_{b}"), unit="mag", meaning="Galactic extinction"),
    *scalars(_each("{b}_extendedness_value"), meaning="0 for a point source, 1 for an extended one"),
    *scalars(_each("{b}_variance_value"), unit="adu^2", meaning="variance of the pixels round the source"),
    *scalars(_each("{b}_cmodel_mag {b}_cmodel_magerr"), unit="mag", meaning="CModel magnitude (AB, not dereddened)"),
    *scalars(_each("{b}_cmodel_flux {b}_cmodel_fluxerr"), unit="nJy", meaning="CModel flux, not dereddened"),
    *scalars(
        _each("{b}_sdssshape_psf_shape11 {b}_sdssshape_psf_shape22 {b}_sdssshape_psf_shape12"),
        unit="arcsec^2",
        meaning="second moment of the PSF at the source",
    ),
    *scalars(
        _each("{b}_sdssshape_shape11 {b}_sdssshape_shape22 {b}_sdssshape_shape12"),
        unit="arcsec^2",
        meaning="adaptive second moment of the source",
    ),
)
CATALOGUE = (*KEYS, *MEASURED)
IMAGE = MODALITIES["image"].column(
    axes={"band": None, "y": SIZE, "x": SIZE},
    flux="adu",
    zero_point=ZERO_POINT,
    meaning="coadded images in counts: AB magnitude = 27.0 - 2.5 log10(flux), nJy = 57.544 flux",
)
MASKBITS = Column(
    "image_maskbits",
    "int32",
    meaning="the archive's mask planes, one plane of pixels a band: "
    + ", ".join(f"{bit} {name}" for name, bit in PLANES.items()),
    shape=(None, SIZE, SIZE),
    polarity="0 = good",
)
SCHEMA = Schema((*IDENTITY, IMAGE, MASKBITS, *CATALOGUE))
HDF5 = (
    Hdf5Column("object_id", "object_id", "i8"),
    Hdf5Column("ra", "ra", "f8"),
    Hdf5Column("dec", "dec", "f8"),
    *(Hdf5Column(column.name, column.name, {"int32": "i4"}.get(column.dtype, "f4")) for column in CATALOGUE),
    Hdf5Column("image_band", "image.band", "S5", length=len(BANDS)),
    Hdf5Column("image_array", "image.flux", "f4", length=len(BANDS)),
    Hdf5Column("image_ivar", "image.ivar", "f4", length=len(BANDS)),
    Hdf5Column("image_mask", "image.mask", "bool", length=len(BANDS)),
    Hdf5Column("image_psf_fwhm", "image.psf_fwhm", "f4", length=len(BANDS)),
    Hdf5Column("image_scale", "image.scale", "f4", length=len(BANDS)),
)
