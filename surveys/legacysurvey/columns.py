"""The columns of a record, made from a release's bands: the same list gives the schema and the v1 HDF5 layout.

Catalogue columns are those of the sweep files (https://www.legacysurvey.org/dr10/catalogs/), with their types.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from mmu.schema import IDENTITY, MODALITIES, Column, Schema, list_of, picture
from mmu.survey import Hdf5Column
from surveys.legacysurvey.neighbours import LISTED, SIZE

WISE = ("W1", "W2", "W3", "W4")
FLUX, PER_FLUX = "nanomaggy", "1/nanomaggy^2"


def _each(
    stem: str, bands: Iterable[str], dtype: str = "float32", unit: str = "", meaning: str = ""
) -> Iterator[Column]:
    return (Column(f"{stem}_{band}", dtype, unit, f"{meaning} ({band})") for band in bands)


def _with_ivar(name: str, unit: str, meaning: str) -> Iterator[Column]:
    inverse = f"1/({unit})^2" if unit else ""
    yield Column(name, "float32", unit, meaning)
    yield Column(f"{name}_IVAR", "float32", inverse, f"inverse variance of {name}")


def catalogue_columns(bands: Iterable[str], maskbits: str) -> tuple[Column, ...]:
    """The columns of a sweep file but for RA and DEC (records have `ra`, `dec`), for optical bands such as "griz".

    `maskbits` is the dtype of MASKBITS, which differs between data releases.
    """
    optical = [band.upper() for band in bands]
    every = [*optical, *WISE]
    return (
        Column("RELEASE", "int16", meaning="camera and filter set, and processing"),
        Column("BRICKID", "int32", meaning="brick number, from 1 at the south pole"),
        Column("BRICKNAME", "string", meaning="brick name, tenths of a degree of RA and Dec"),
        Column("OBJID", "int32", meaning="number of the source in its brick"),
        Column("TYPE", "string", meaning="morphological model: REX, EXP, DEV or SER"),
        Column("RA_IVAR", "float32", "1/deg^2", "inverse variance of RA times cos(Dec)"),
        Column("DEC_IVAR", "float32", "1/deg^2", "inverse variance of Dec"),
        Column("DCHISQ", "float32", meaning="gain in chi^2 of the models PSF, REX, DEV, EXP, SER", shape=(5,)),
        Column("EBV", "float32", "mag", "Galactic reddening E(B-V), SFD98"),
        *_each("FLUX", every, unit=FLUX, meaning="model flux, not dereddened"),
        *_each("FLUX_IVAR", every, unit=PER_FLUX, meaning="inverse variance of the flux"),
        *_each("MW_TRANSMISSION", every, meaning="Galactic transmission, 0 to 1"),
        *_each("NOBS", every, "int16", meaning="exposures at the central pixel"),
        *_each("RCHISQ", every, meaning="profile-weighted reduced chi^2"),
        *_each("FRACFLUX", every, meaning="profile-weighted flux of other sources over the flux"),
        *_each("FRACMASKED", optical, meaning="profile-weighted fraction of pixels masked"),
        *_each("FRACIN", optical, meaning="fraction of the flux within the blob"),
        *_each("ANYMASK", optical, "int16", meaning="bits set in any exposure at the centre"),
        *_each("ALLMASK", optical, "int16", meaning="bits set in all exposures at the centre"),
        *_each("WISEMASK", WISE[:2], "uint8", meaning="WISE mask bits"),
        *_each("PSFSIZE", optical, unit="arcsec", meaning="weighted mean FWHM of the PSF"),
        *_each("PSFDEPTH", [*optical, *WISE[:2]], unit=PER_FLUX, meaning="depth for a point source"),
        *_each("GALDEPTH", optical, unit=PER_FLUX, meaning="depth for a round galaxy of 0.45 arcsec"),
        Column("WISE_COADD_ID", "string", meaning="unWISE tile"),
        *_with_ivar("SHAPE_R", "arcsec", "half-light radius"),
        *_with_ivar("SHAPE_E1", "", "ellipticity component 1"),
        *_with_ivar("SHAPE_E2", "", "ellipticity component 2"),
        *_each("FIBERFLUX", optical, unit=FLUX, meaning="flux in a fibre of 1.5 arcsec, this source alone"),
        *_each("FIBERTOTFLUX", optical, unit=FLUX, meaning="flux in a fibre of 1.5 arcsec, all sources"),
        *_reference_columns(),
        Column("MASKBITS", maskbits, meaning="mask bits at the source"),
        Column("FITBITS", "int16", meaning="bits on how the source was fitted"),
        *_with_ivar("SERSIC", "", "Sersic index"),
    )


def _reference_columns() -> Iterator[Column]:
    """What the reference catalogues (Tycho-2, Gaia, the Siena galaxy atlas) say; 0 or blank without a counterpart."""
    yield Column("REF_CAT", "string", meaning="T2 Tycho-2, G2 or GE Gaia, L3 Siena galaxy atlas, or blank")
    yield Column("REF_ID", "int64", meaning="identifier in the reference catalogue")
    yield Column("REF_EPOCH", "float32", "yr", "epoch of the reference position")
    for band in ("G", "BP", "RP"):
        yield Column(f"GAIA_PHOT_{band}_MEAN_MAG", "float32", "mag", f"Gaia {band} magnitude, Vega")
        yield Column(f"GAIA_PHOT_{band}_MEAN_FLUX_OVER_ERROR", "float32", "", f"Gaia {band} signal to noise")
    yield Column("GAIA_ASTROMETRIC_EXCESS_NOISE", "float32", "mas", "Gaia astrometric excess noise")
    yield Column("GAIA_DUPLICATED_SOURCE", "bool", polarity="True = duplicated", meaning="Gaia duplicated source")
    yield Column("GAIA_PHOT_BP_RP_EXCESS_FACTOR", "float32", "", "Gaia BP/RP excess factor")
    yield Column("GAIA_ASTROMETRIC_SIGMA5D_MAX", "float32", "mas", "Gaia longest axis of the 5-d error ellipsoid")
    yield Column("GAIA_ASTROMETRIC_PARAMS_SOLVED", "uint8", "", "Gaia parameters solved for")
    yield from _with_ivar("PARALLAX", "mas", "parallax")
    yield from _with_ivar("PMRA", "mas/yr", "proper motion in RA times cos(Dec)")
    yield from _with_ivar("PMDEC", "mas/yr", "proper motion in Dec")


def _neighbour_columns(bands: Iterable[str]) -> tuple[Column, ...]:
    return (
        *_each("FLUX", (band.upper() for band in bands), unit=FLUX, meaning="model flux, not dereddened"),
        Column("SHAPE_R", "float32", "arcsec", "half-light radius"),
        Column("SHAPE_E1", meaning="ellipticity component 1"),
        Column("SHAPE_E2", meaning="ellipticity component 2"),
        Column("TYPE", "int8", meaning="1 PSF, 2 REX, 3 EXP, 4 DEV, 5 SER, 6 DUP"),
        Column("X", "float32", "pixel", "column in the stamp, 0 at the centre of the first"),
        Column("Y", "float32", "pixel", "row in the stamp, 0 at the centre of the first"),
    )


def schema(bands: str, maskbits: str) -> Schema:
    """All columns of a record for optical bands such as "griz"."""
    image = MODALITIES["image"].column(
        axes={"band": None, "y": SIZE, "x": SIZE}, flux=FLUX, zero_point=22.5, meaning="coadded images, north up"
    )
    meanings = {
        "rgb": "the archive's colour picture of the stamp; row 0 is south",
        "blobmodel": "the archive's picture of the Tractor model; row 0 is south",
        "object_mask": "type code (1 PSF to 6 DUP) of the brightest source over each pixel, 0 for none",
    }
    pictures = [picture(name, (SIZE, SIZE, 3), meanings[name]) for name in ("rgb", "blobmodel")]
    return Schema(
        (
            *IDENTITY,
            image,
            Column(
                "image_maskbits", "int32", meaning="the archive's mask bits", shape=(SIZE, SIZE), polarity="0 = good"
            ),
            *(replace(column, nullable=True) for column in pictures),
            picture("object_mask", (SIZE, SIZE), meanings["object_mask"]),
            list_of(
                "catalog", _neighbour_columns(bands), f"the {LISTED} brightest sources in the stamp, brightest first"
            ),
            *catalogue_columns(bands, maskbits),
        )
    )


_TEXT = {"BRICKNAME": "S8", "TYPE": "S3", "WISE_COADD_ID": "S8", "REF_CAT": "S2"}
_CODES = {"int8": "i4", "bool": "?"}


def hdf5_layout(bands: str, maskbits: str, band_width: int) -> tuple[Hdf5Column, ...]:
    """The v1 layout: one dataset a column, images under their v1 names, the neighbour list padded to 20."""
    catalogue = catalogue_columns(bands, maskbits)
    return (
        Hdf5Column("object_id", "object_id", "S16"),
        Hdf5Column("ra", "ra", "f8"),
        Hdf5Column("dec", "dec", "f8"),
        Hdf5Column("RA", "ra", "f8"),
        Hdf5Column("DEC", "dec", "f8"),
        Hdf5Column("image_band", "image.band", f"S{band_width}", length=len(bands)),
        Hdf5Column("image_array", "image.flux", "f4", length=len(bands)),
        Hdf5Column("image_ivar", "image.ivar", "f4", length=len(bands)),
        Hdf5Column("image_mask", "image.mask", "?", index=0),
        Hdf5Column("image_psf_fwhm", "image.psf_fwhm", "f4", length=len(bands)),
        Hdf5Column("image_scale", "image.scale", "f4", length=len(bands)),
        Hdf5Column("image_rgb", "rgb", "u1"),
        Hdf5Column("blobmodel", "blobmodel", "u1"),
        Hdf5Column("object_mask", "object_mask", "u1"),
        *(
            Hdf5Column(f"catalog_{c.name}", f"catalog.{c.name}", _CODES.get(c.dtype, "f4"), length=LISTED)
            for c in _neighbour_columns(bands)
        ),
        *(Hdf5Column(c.name, c.name, _TEXT.get(c.name) or _hdf5_code(c.dtype)) for c in catalogue),
    )


def _hdf5_code(dtype: str) -> str:
    """NumPy's short name of a dtype: float32 -> f4."""
    kind, size = dtype.rstrip("0123456789"), "".join(character for character in dtype if character.isdigit())
    return "?" if kind == "bool" else f"{kind[0]}{int(size) // 8}"
