"""The columns of a record for a release's bands: the same list gives the schema and the v1 HDF5 layout.

Catalogue columns are those of grizli's aperture-corrected catalogues (`*-fix_phot_apcorr.fits`), under their names.
Which of them a mosaic has differs from field to field: those that v1's loader reads must be there, others may be null.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from mmu.schema import IDENTITY, MODALITIES, Column, Schema, scalars
from mmu.survey import Hdf5Column

SIZE = 96
"""Pixels along a side of a stamp, in every band."""
FLUX = "10 nJy"
ZERO_POINT = 28.9
APERTURES = {0: 0.36, 1: 0.5, 2: 0.7, 3: 1.0}
"""Diameter of each circular aperture, arcsec."""
PSF_FWHM = {
    "f090w": 0.033, "f115w": 0.040, "f150w": 0.050, "f200w": 0.066, "f277w": 0.092, "f356w": 0.116, "f444w": 0.145,
}  # fmt: skip
"""The telescope's PSF in each band, arcsec: JWST User Documentation, NIRCam point spread functions."""

DETECTION = (
    *scalars("mag_auto", "float64", "mag", "total AB magnitude on the detection image, from flux_auto"),
    *scalars("flux_radius", "float64", "pixel", "radius of half the light, in pixels of the detection image"),
    *scalars("flux_auto fluxerr_auto", "float64", "uJy", "flux in the Kron aperture on the detection image, its error"),
    *scalars("cxx_image cyy_image cxy_image", "float64", "1/pixel^2", "ellipse parameters on the detection image"),
)
"""What v1's loader reads."""

MORE = (
    *scalars("thresh cflux flux cpeak peak", "float64", meaning="detection: in units of the detection image"),
    *scalars("npix tnpix", "int64", "pixel", "detection: pixels in the object, and above the threshold"),
    *scalars("xmin xmax ymin ymax xcpeak ycpeak xpeak ypeak", "int64", "pixel", "detection: box and peaks, from 0"),
    *scalars("flag", "int64", meaning="detection: SEP's flags"),
    *scalars("x y", "float64", "pixel", "detection: barycentre, from 0"),
    *scalars("x_image y_image", "float64", "pixel", "detection: barycentre, from 1"),
    *scalars("x2_image y2_image xy_image errx2 erry2 errxy", "float64", "pixel^2", "detection: moments and errors"),
    *scalars("a_image b_image", "float64", "pixel", "detection: axes of the ellipse (standard deviations)"),
    *scalars("theta_image", "float64", "rad", "detection: angle of the ellipse, from +x to +y"),
    *scalars("x_world y_world", "float64", "deg", "detection: barycentre"),
    *scalars("flux_iso fluxerr_iso", "float64", "uJy", "isophotal flux, and its error"),
    *scalars("area_iso area_auto", "float64", "pixel^2", "area of the isophote, of the Kron aperture"),
    *scalars("mag_iso magerr_auto", "float64", "mag", "isophotal AB magnitude, error of mag_auto"),
    *scalars("kron_radius", "float64", meaning="Kron radius in units of a_image and b_image"),
    *scalars(
        "kron_rcirc flux_radius_20 flux_radius_90", "float64", "pixel", "circular Kron radius; of 20, 90 % of light"
    ),
    *scalars("bkg_auto", "float64", "uJy", "background in the Kron aperture"),
    *scalars("flag_auto flux_radius_flag", "int64", meaning="SEP's flags of the Kron flux, of the radii"),
    *scalars("tot_corr", "float64", meaning="correction of flux_auto to total"),
)


def _aperture_columns(band: str, number: int) -> Iterator[Column]:
    """What SEP measures in one aperture, on one band's mosaic or (`band` empty) on the detection image."""
    prefix, where = (f"{band}_", band) if band else ("", "detection image")
    words = f"{where}, aperture of {APERTURES[number]:g} arcsec: "
    for stem, meaning in (("flux", "flux"), ("fluxerr", "its error"), ("bkg", "background")):
        yield Column(f"{prefix}{stem}_aper_{number}", "float64", "uJy", words + meaning)
    yield Column(f"{prefix}flag_aper_{number}", "int64", "", words + "SEP's flags")
    yield Column(f"{prefix}mask_aper_{number}", "float64", "pixel", words + "masked pixels")


def _band_columns(band: str) -> Iterator[Column]:
    """The photometry of one band, raw and corrected to total flux."""
    for number in APERTURES:
        yield from _aperture_columns(band, number)
        words = f"{band}, aperture {number}: flux corrected to "
        for stem, meaning in (("corr", "flux_auto"), ("tot", "total")):
            yield Column(f"{band}_{stem}_{number}", "float64", "uJy", words + meaning)
            yield Column(f"{band}_e{stem}_{number}", "float64", "uJy", words + f"{meaning}: error")
    yield Column(f"{band}_tot_corr", "float64", "", f"{band}: correction of the Kron aperture to total")


def optional_columns(bands: Iterable[str]) -> tuple[Column, ...]:
    """Catalogue columns that a mosaic may lack."""
    apertures = [column for number in APERTURES for column in _aperture_columns("", number)]
    photometry = [column for band in bands for column in _band_columns(band)]
    return tuple(replace(column, nullable=True) for column in (*MORE, *apertures, *photometry))


def schema(bands: Iterable[str]) -> Schema:
    """All columns of a record."""
    image = MODALITIES["image"].column(
        axes={"band": None, "y": SIZE, "x": SIZE},
        flux=FLUX,
        zero_point=ZERO_POINT,
        meaning=f"stamps of {SIZE} x {SIZE} pixels of each band's mosaic; bands differ in scale, and so in width",
    )
    better = {
        "psf_fwhm": "the telescope's full width at half maximum, a constant of the band; the drizzled PSF is wider",
        "scale": "pixel scale of the band's mosaic: it differs between bands",
    }
    members = tuple(replace(m, meaning=better.get(m.name, m.meaning)) for m in image.members)
    noise = Column(
        "image_photon_noise",
        "bool",
        meaning="for each of image.band: does image.ivar know of the photon noise of the sources",
        shape=(None,),
        polarity="True = sky, readout and sources; False = sky and readout only",
    )
    number = Column("id", "int64", meaning="number of the object in its mosaic's catalogue")
    mosaic = Column("mosaic", "string", meaning="mosaic that the stamps are cut from")
    return Schema(
        (*IDENTITY, replace(image, members=members), noise, number, mosaic, *DETECTION, *optional_columns(bands))
    )


_TEXT = {"object_id": "S48", "mosaic": "S40"}
_CODES = {"float64": "f8", "int64": "i8"}


def hdf5_layout(bands: tuple[str, ...]) -> tuple[Hdf5Column, ...]:
    """The v1 layout: images under their v1 names (`image_flux`, as nowhere else), one dataset a catalogue column."""
    images = {"band": "S5", "flux": "f4", "ivar": "f8", "mask": "?", "psf_fwhm": "f4", "scale": "f4"}
    catalogue = [c for c in schema(bands) if c.scalar]
    return (
        *(Hdf5Column(f"image_{name}", f"image.{name}", kind, length=len(bands)) for name, kind in images.items()),
        *(Hdf5Column(c.name, c.name, _TEXT.get(c.name) or _CODES[c.dtype], fill=-1) for c in catalogue),
    )
