"""SDSS DR17: optical spectra of galaxies, quasars and stars, from the first spectrographs and from BOSS's.

A release is one of the surveys that took them, as the archive's catalogue names it.
"""

from __future__ import annotations

from dataclasses import replace

from mmu.schema import IDENTITY, MODALITIES, Column, Schema
from mmu.survey import Hdf5Column, Policy, Release, Survey
from surveys.sdss.columns import CATALOGUE, FIVE, FLUXES, KEYS, in_bands

_MEMBERS = MODALITIES["spectrum"].column(
    axes={"wavelength": None},
    flux="1e-17 erg/(s cm2 Angstrom)",
    with_=("maskbits",),
    meaning="coadd of all exposures from the first to the last pixel with data, 10^(k/10000) Angstrom, vacuum, "
    "heliocentric",
)
_OR_BITS = Column(
    "maskbits_or", "int32", meaning="the archive's mask bits set in any exposure (maskbits: in all)", shape=(None,)
)
SPECTRUM = replace(_MEMBERS, members=(*_MEMBERS.members, _OR_BITS))
SCHEMA = Schema((*IDENTITY, SPECTRUM, *KEYS, *CATALOGUE, *FLUXES))


def _hdf5(pixels: int) -> tuple[Hdf5Column, ...]:
    """v1's names; spectra are padded to one length with wavelength -1, mask True and zeros."""
    codes, fill = {"string": "S32"}, {"lambda": -1.0, "mask": 1.0}
    members = {"flux": "f4", "ivar": "f4", "lsf_sigma": "f4", "lambda": "f4", "mask": "bool"}
    five = [Hdf5Column(name, in_bands(name)[0], "f4", stack=tuple(in_bands(name)[1:])) for name in FIVE]
    return (
        Hdf5Column("object_id", "object_id", "S22"),
        Hdf5Column("SPECOBJID", "object_id", "S22"),
        *(Hdf5Column(name, name.removeprefix("PLUG_").lower(), "f8") for name in ("ra", "dec", "PLUG_RA", "PLUG_DEC")),
        *(
            Hdf5Column(f"spectrum_{name}", f"spectrum.{name}", code, length=pixels, fill=fill.get(name, 0.0))
            for name, code in members.items()
        ),
        *(Hdf5Column(column.name, column.name, codes.get(column.dtype, column.dtype)) for column in KEYS + CATALOGUE),
        *five,
    )


def _release(name: str, title: str, objects: int, plates: int, pixels: int, coverage: str) -> Release:
    """One survey. Objects and plates are estimates, to a few per cent; a plate's file has 59 MB, or BOSS's 112 MB."""
    boss = name in ("boss", "eboss")
    return Release(
        name=name,
        title=title,
        schema=SCHEMA,
        facts={"survey": name},
        selection=(
            f"spectra that the catalogue (specObj-dr17) counts as of the survey {name}",
            "science targets (TARGETTYPE is SCIENCE), not sky or standard stars, on good plates (PLATEQUALITY is good)",
            "of an object's spectra, in all of SDSS, the primary one (SPECPRIMARY is 1)",
        ),
        epoch=2000.0,
        objects=objects,
        raw_bytes=plates * (112_000_000 if boss else 59_500_000),
        coverage=coverage,
        hdf5=_hdf5(4800 if boss else 4000),
        ragged=pixels,
        row_group_rows=200,
    )


RELEASES = (
    _release("sdss", "SDSS Legacy survey, SDSS-I and II", 1_450_000, 2_700, 3850, "8 000 square degrees, mostly north"),
    _release("segue1", "SEGUE-1: stars, SDSS-II", 190_000, 420, 3850, "200 lines of sight at all Galactic latitudes"),
    _release("segue2", "SEGUE-2: stars, SDSS-III", 110_000, 210, 3850, "118 lines of sight, halo and streams"),
    _release("boss", "BOSS, SDSS-III", 1_950_000, 2_300, 4600, "10 400 square degrees of the north and south caps"),
    _release("eboss", "eBOSS, SDSS-IV", 1_050_000, 1_400, 4600, "7 500 square degrees of the north and south caps"),
)

SURVEY = Survey(
    name="sdss",
    title="SDSS optical spectra",
    module="surveys.sdss",
    homepage="https://www.sdss4.org/dr17/spectro/",
    root="https://data.sdss.org/sas/dr17/",
    licence="public domain: SDSS data releases may be used freely, with the acknowledgement the collaboration asks for",
    licence_id="other",
    releases=RELEASES,
    builds=tuple(release.name for release in RELEASES),
    differences=(
        "A spectrum is looked up by plate, night (MJD) and reduction (RUN2D). v1 took the night of a plate's first row "
        "for all of them, and so gave objects of its other nights the spectra of whatever was in that fibre.",
        "object_id is the number as text, without the blanks (and, in v1's datasets, the b'...') around it.",
        "Text of the catalogue is compared without its padding, blanks or NULs alike.",
        "mask is True where ivar is 0, or where the AND mask has a bit that says the number is not the object's (the "
        "card names them); v1 took any bit, also those for information only, which can flag a whole spectrum. The bits "
        "of both masks are kept, as spectrum.maskbits (AND) and spectrum.maskbits_or.",
        "lsf_sigma is in Angstrom; v1 had pixels of 0.0001 in log10 of the wavelength.",
        "ZWARNING holds the archive's bits (0 = good); v1 made a boolean of it (True: any bit).",
        "Spectra run from their first to their last pixel with data and are not padded; v1 repeated the last value up "
        "to the longest of the file, with wavelength -1. HDF5 output is padded, to one length and with zeros.",
        "A missing plate costs its objects and is counted; v1 stopped.",
        "Of the catalogue's 130 columns those of the spectrum, its redshift, class and targeting are carried.",
    ),
    policy=Policy(connections=4, per_second=8.0),
)
