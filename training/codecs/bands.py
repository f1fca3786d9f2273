"""The filters of images: one table, a row each, under the names that the builder's `image.band` has.

Wavelengths and widths are effective values of the filters' published transmission curves (SVO Filter Profile Service);
zero points and pixel scales are those of the stamps that the surveys' own pages describe.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mmu.errors import UsageError, unknown

ZERO_POINT = 22.5
"""AB magnitude of a flux of 1 in the codecs' unit, the nanomaggy."""
OWN = {"scale": 0.2, "psf_fwhm": 1.0}
"""The last facts of a filter, that images tell of themselves -> arcsec whose logarithm is 0."""
NOISE = 3
"""Place among the facts of the unit that networks have a band's fluxes in."""


@dataclass(frozen=True)
class Band:
    """One filter of one survey.

    Attributes:
        name: lower case.
        wavelength, width: effective, Angstrom.
        zero_point: AB magnitude of a flux of 1 in the stamps.
        scale, psf_fwhm: arcsec a pixel, and typical seeing, arcsec; images that say their own override them.
        clamp: largest absolute flux, in the stamps' unit, that a codec looks at.
        noise: order of a pixel's error, in the stamps' unit.
    """

    name: str
    wavelength: float
    width: float
    zero_point: float
    scale: float
    psf_fwhm: float
    clamp: float
    noise: float

    @property
    def per_nanomaggy(self) -> float:
        """The stamps' flux of 1 nanomaggy."""
        return float(10.0 ** ((self.zero_point - ZERO_POINT) / 2.5))

    def facts(self) -> list[float]:
        """What a network is told of it: numbers of order one; `OWN` says which of them images tell themselves."""
        return [
            4 * math.log(self.wavelength / 7000.0),
            math.log(self.width / 1200.0),
            (self.zero_point - ZERO_POINT) / 5.0,
            math.log(self.noise / self.per_nanomaggy / 0.006),
            *(math.log(getattr(self, name) / unit) for name, unit in OWN.items()),
        ]


_HSC = [
    Band("hsc-g", 4809, 1420, 27.0, 0.168, 0.79, 80, 0.015),
    Band("hsc-r", 6195, 1490, 27.0, 0.168, 0.75, 110, 0.02),
    Band("hsc-i", 7711, 1520, 27.0, 0.168, 0.61, 200, 0.022),
    Band("hsc-z", 8912, 770, 27.0, 0.168, 0.68, 330, 0.035),
    Band("hsc-y", 9764, 790, 27.0, 0.168, 0.68, 500, 0.053),
]
_DES = [
    Band("des-g", 4810, 1300, ZERO_POINT, 0.262, 1.29, 6, 0.0045),
    Band("des-r", 6417, 1480, ZERO_POINT, 0.262, 1.17, 15, 0.0055),
    Band("des-i", 7814, 1470, ZERO_POINT, 0.262, 1.11, 20, 0.0105),
    Band("des-z", 9176, 1520, ZERO_POINT, 0.262, 1.11, 25, 0.014),
]
_BOK = [
    replace(_DES[0], name="bass-g", wavelength=4776, width=1440, psf_fwhm=1.9),
    replace(_DES[1], name="bass-r", wavelength=6412, width=1390, psf_fwhm=1.7),
    replace(_DES[3], name="mzls-z", wavelength=9203, width=1550, psf_fwhm=1.2),
]
_JWST = [
    Band(name, wavelength, width, 28.9, 0.04 if wavelength > 22000 else 0.02, psf_fwhm, 5000, 0.02)
    for name, wavelength, width, psf_fwhm in (
        ("f090w", 9022, 1773, 0.033),
        ("f115w", 11543, 2055, 0.040),
        ("f150w", 15007, 2890, 0.050),
        ("f200w", 19886, 4190, 0.066),
        ("f277w", 27577, 6615, 0.092),
        ("f356w", 35682, 7239, 0.116),
        ("f444w", 44037, 10676, 0.145),
    )
]

BANDS: dict[str, Band] = {band.name: band for band in (*_HSC, *_DES, *_BOK, *_JWST)}
"""Name -> filter."""

PUBLISHED = tuple(band.name for band in (*_HSC, *_DES))
"""The nine channels of the published image codec, in its order."""


def find(names: Sequence[str], known: Sequence[str] | None = None) -> list[Band]:
    """The filters of some names, of any case.

    Args:
        known: only these may be given.

    Raises:
        UsageError: one is unknown, or given twice, or none is given.
    """
    allowed = BANDS if known is None else known
    lower = [name.lower() for name in names]
    for name in lower:
        if name not in allowed:
            raise unknown("band", name, allowed)
    if not lower or len(set(lower)) < len(lower):
        raise UsageError(f"bands={list(names)}: give at least one, and each once.")
    return [BANDS[name] for name in lower]
