"""What light curves were measured through: a wavelength and a width for each band, from its name or told outright.

Broad photometry needs less than images (see `bands`): no zero point, as a light curve is normalised by itself. Names of
images' filters are known too, with what `bands` says of them, which is nearer to pivot wavelengths and full widths at
half maximum: up to 1 % and a fifth more.

The others are effective values as the SVO Filter Profile Service (Rodrigo et al. 2012, 2020) defines them for counters
of photons: the mean wavelength of what is detected of Vega, and the integral of wavelength x transmission over its
maximum. The service itself was not asked; where each comes from:

gaia, ps1, u g r i z, b v    the service's GAIA3, PS1, SDSS and Johnson values, as other programs quote them. Those of
                             Gaia and PS1 are also what published curves (in the packages speclite and svo_filters)
                             give, to 0.1 %; of SDSS, and of B and V by Bessell's curves, to 1 % in wavelength and 10 %
                             in width
ztf                          the service's values as several programs quote them; no curve was at hand
y                            of Rubin's total throughput 1.9, worked out from the curve in speclite
kepler                       worked out from the service's curve in svo_filters
tess                         the wavelength as the service has it, for a counter of energy, quoted by others; the width
                             could be held only against an approximate curve, which gives 1 % more
white                        of no instrument: the optical as a whole
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
    "u": (3608.0, 541.0),
    "g": (4671.8, 1064.7),
    "r": (6141.1, 1055.5),
    "i": (7457.9, 1102.6),
    "z": (8922.8, 1164.0),
    "y": (9723.6, 860.1),
    "b": (4369.5, 972.0),
    "v": (5467.6, 889.8),
    "gaia-g": (5822.4, 4053.0),
    "gaia-bp": (5035.8, 2157.5),
    "gaia-rp": (7620.0, 2924.4),
    "ps1-g": (4810.2, 1053.1),
    "ps1-r": (6155.5, 1252.4),
    "ps1-i": (7503.0, 1206.6),
    "ps1-z": (8668.4, 997.7),
    "ps1-y": (9613.6, 639.0),
    "ztf-g": (4746.5, 1317.2),
    "ztf-r": (6366.4, 1553.4),
    "ztf-i": (7829.0, 1489.0),
    "tess": (7452.6, 3900.0),
    "kepler": (5980.0, 3745.0),
}

PASSBANDS: dict[str, tuple[float, float]] = {
    **{name: (band.wavelength, band.width) for name, band in BANDS.items()},
    **_NAMED,
}
"""Name, lower case -> wavelength and width, Angstrom."""


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
