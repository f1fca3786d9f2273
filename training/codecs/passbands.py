"""What light curves were measured through: a wavelength and a width for each band, from its name or told outright.

Broad photometry needs less than images (see `bands`): no zero point, as a light curve is normalised by itself. Names of
images' filters are known too. Values are effective ones, good to a few per cent; they were not held against the
filters' published curves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mmu.errors import UsageError, unknown
from training.codecs.bands import BANDS

Passband = str | tuple[float, float]
"""A name; or effective wavelength and width, Angstrom, of what has none here."""

_NAMED = {
    "white": (6000.0, 4000.0),
    "u": (3600.0, 600.0),
    "g": (4800.0, 1300.0),
    "r": (6200.0, 1300.0),
    "i": (7600.0, 1300.0),
    "z": (8900.0, 1100.0),
    "y": (9700.0, 700.0),
    "b": (4400.0, 900.0),
    "v": (5500.0, 850.0),
    "gaia-g": (5822.0, 4053.0),
    "gaia-bp": (5036.0, 2158.0),
    "gaia-rp": (7620.0, 2924.0),
    "ps1-g": (4811.0, 1053.0),
    "ps1-r": (6156.0, 1252.0),
    "ps1-i": (7504.0, 1207.0),
    "ps1-z": (8669.0, 998.0),
    "ps1-y": (9614.0, 639.0),
    "ztf-g": (4720.0, 1280.0),
    "ztf-r": (6340.0, 1500.0),
    "ztf-i": (7890.0, 1350.0),
    "tess": (7450.0, 3900.0),
    "kepler": (5990.0, 3990.0),
}

PASSBANDS: dict[str, tuple[float, float]] = {
    **{name: (band.wavelength, band.width) for name, band in BANDS.items()},
    **_NAMED,
}
"""Name, lower case -> effective wavelength and width, Angstrom."""


def facts(bands: Sequence[Passband]) -> list[tuple[float, float]]:
    """Wavelength and width of bands, Angstrom; names of any case.

    Raises:
        UsageError: a name is unknown, a number not positive, or no band is given.
    """
    if not len(bands):
        raise UsageError("bands is empty; name at least one, or give its (wavelength, width) in Angstrom.")
    return [_fact(band) for band in bands]


def _fact(band: Passband) -> tuple[float, float]:
    if isinstance(band, str):
        if band.lower() not in PASSBANDS:
            raise unknown("band", band, PASSBANDS)
        return PASSBANDS[band.lower()]
    wavelength, width = (float(value) for value in band)
    if not (math.isfinite(wavelength) and math.isfinite(width) and wavelength > 0 and width > 0):
        raise UsageError(f"The band {tuple(band)} is no wavelength and width in Angstrom; give two positive numbers.")
    return wavelength, width
