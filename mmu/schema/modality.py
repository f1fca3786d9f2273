"""The modalities: what an image, a spectrum, a cube or a light curve is made of, in one table.

Names are those of the Multimodal Universe v1/v1.5. Polarity: `image.mask` True = good, `spectrum.mask` True = bad,
as in v1 and as the surveys' users expect. Adding a modality is adding a row here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mmu.schema.column import Column


@dataclass(frozen=True)
class Member:
    """One array of a modality: along which axes it runs, and what its unit is made from.

    In `unit`, `{flux}` and `{wavelength}` stand for the units the survey declares for those two quantities.
    """

    name: str
    dtype: str
    axes: tuple[str, ...]
    unit: str = ""
    meaning: str = ""
    polarity: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Modality:
    """A named group of arrays that describe one observation and share their first axis."""

    name: str
    members: tuple[Member, ...]

    def column(
        self,
        name: str = "",
        *,
        axes: Mapping[str, int | None],
        flux: str,
        wavelength: str = "Angstrom",
        with_: tuple[str, ...] = (),
        without: tuple[str, ...] = (),
        zero_point: float | None = None,
        meaning: str = "",
    ) -> Column:
        """The struct column of this modality for one survey.

        Args:
            name: the column's name; the modality's own by default.
            axes: length of each axis; None where it differs from record to record.
            flux: unit of the flux, e.g. "nanomaggy".
            wavelength: unit of the wavelength axis.
            with_: optional members this survey has.
            without: members this survey does not have.
            zero_point: AB magnitude of one flux unit, where there is one.
        """
        members = tuple(
            Column(
                member.name,
                member.dtype,
                member.unit.format(flux=flux, wavelength=wavelength),
                member.meaning,
                shape=tuple(axes[axis] for axis in member.axes),
                polarity=member.polarity,
                zero_point=zero_point if member.name == "flux" else None,
            )
            for member in self.members
            if member.name not in without and (not member.optional or member.name in with_)
        )
        return Column(name or self.name, "struct", meaning=meaning, members=members, modality=self.name)


_PLANE = ("band", "y", "x")
_WAVE = ("wavelength",)
_SPAXEL = ("wavelength", "y", "x")
_CHANNEL = ("channel", "y", "x")
_TIME = ("time",)

MODALITIES: dict[str, Modality] = {
    m.name: m
    for m in (
        Modality(
            "image",
            (
                Member("band", "string", ("band",), meaning="filter of each plane"),
                Member(
                    "flux",
                    "float32",
                    _PLANE,
                    "{flux}",
                    "calibrated pixels of the archive, never resampled; row 0 is south",
                ),
                Member("ivar", "float32", _PLANE, "1/({flux})^2", "inverse variance; 0 where there is no data"),
                Member("mask", "bool", _PLANE, meaning="usable pixel", polarity="True = good"),
                Member("psf_fwhm", "float32", ("band",), "arcsec", "full width at half maximum of the PSF"),
                Member("scale", "float32", ("band",), "arcsec/pixel", "pixel scale"),
                Member("psf", "float32", _PLANE, "{flux}", "image of a point source", optional=True),
            ),
        ),
        Modality(
            "spectrum",
            (
                Member("flux", "float32", _WAVE, "{flux}", "calibrated flux density"),
                Member("ivar", "float32", _WAVE, "1/({flux})^2", "inverse variance; 0 where there is no data"),
                Member("lsf_sigma", "float32", _WAVE, "{wavelength}", "standard deviation of the line-spread function"),
                Member("lambda", "float32", _WAVE, "{wavelength}", "wavelength of each pixel"),
                Member("mask", "bool", _WAVE, meaning="pixel not to be used", polarity="True = bad"),
                Member(
                    "maskbits", "int32", _WAVE, meaning="the archive's mask bits", polarity="0 = good", optional=True
                ),
            ),
        ),
        Modality(
            "cube",
            (
                Member("flux", "float32", _SPAXEL, "{flux}", "calibrated flux density per spaxel"),
                Member("ivar", "float32", _SPAXEL, "1/({flux})^2", "inverse variance"),
                Member("mask", "int32", _SPAXEL, meaning="the archive's mask bits, 0 = good", polarity="0 = good"),
                Member("lambda", "float32", _WAVE, "{wavelength}", "wavelength of each plane"),
                Member("lsf_sigma", "float32", _SPAXEL, "{wavelength}", "line-spread function", optional=True),
            ),
        ),
        Modality(
            "map",
            (
                Member("label", "string", ("channel",), meaning="what each channel is of"),
                Member("unit", "string", ("channel",), meaning="unit of each channel, as the archive writes it"),
                Member("value", "float32", _CHANNEL, "{flux}", "measurement in each spaxel"),
                Member("ivar", "float32", _CHANNEL, "1/({flux})^2", "inverse variance; 0 where there is no data"),
                Member("mask", "int32", _CHANNEL, meaning="the archive's mask bits, 0 = good", polarity="0 = good"),
            ),
        ),
        Modality(
            "lightcurve",
            (
                Member("time", "float64", _TIME, "d", "mid-exposure time"),
                Member("flux", "float32", _TIME, "{flux}", "flux at that time"),
                Member("flux_err", "float32", _TIME, "{flux}", "its standard error"),
                Member("band", "string", _TIME, meaning="filter", optional=True),
            ),
        ),
        Modality(
            "coefficients",
            (
                Member("coeff", "float32", ("basis",), "{flux}", "coefficients in the archive's basis"),
                Member("coeff_error", "float32", ("basis",), "{flux}", "their standard errors"),
            ),
        ),
    )
}


def picture(name: str, shape: tuple[int, ...], meaning: str) -> Column:
    """A PNG picture column, `shape` (H, W) or (H, W, 3), uint8."""
    return Column(name, "picture", meaning=meaning, shape=shape, modality="picture")


def list_of(name: str, members: tuple[Column, ...], meaning: str) -> Column:
    """A table per record, as a struct of equally long lists (a neighbour catalogue, say)."""
    ragged = tuple(replace(member, shape=(None, *member.shape)) for member in members)
    return Column(name, "struct", meaning=meaning, members=ragged, modality="list")
