"""Spectral lines of galaxies, quasars and stars: vacuum wavelengths in Angstrom at rest, and where their names fit.

Wavelengths are those of the SDSS line list, of NIST (atoms and ions) and, for forbidden lines, of the NIST compilation
of ground-level fine structure; the names of a doublet stand between its lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """A line, or lines that stand together under one name; the first lines of a list are the ones best known."""

    name: str
    vacuum: tuple[float, ...]
    emission: bool = True
    rank: int = 1
    stellar: bool = False

    @property
    def middle(self) -> float:
        return sum(self.vacuum) / len(self.vacuum)


def _emission(name: str, *vacuum: float, rank: int = 1) -> Line:
    return Line(name, vacuum, True, rank)


def _balmer(name: str, vacuum: float, rank: int = 1) -> Line:
    return Line(name, (vacuum,), True, rank, True)


def _absorption(name: str, *vacuum: float, rank: int = 1) -> Line:
    return Line(name, vacuum, False, rank, True)


LINES = (
    _emission("Lyβ", 1025.72),
    _emission("Lyα", 1215.67, rank=0),
    _emission("N V", 1238.82, 1242.80),
    _emission("Si IV", 1393.76, 1402.77),
    _emission("C IV", 1548.19, 1550.77, rank=0),
    _emission("He II", 1640.42),
    _emission("C III]", 1906.68, 1908.73, rank=0),
    _emission("Mg II", 2796.35, 2803.53, rank=0),
    _emission("[Ne V]", 3426.85, rank=2),
    _emission("[O II]", 3727.09, 3729.88, rank=0),
    _emission("[Ne III]", 3869.86),
    _balmer("Hδ", 4102.89),
    _balmer("Hγ", 4341.69),
    _emission("He II", 4687.02, rank=2),
    _balmer("Hβ", 4862.69, rank=0),
    _emission("[O III]", 4960.30, 5008.24, rank=0),
    _emission("He I", 5877.25, rank=2),
    _emission("[O I]", 6302.05, rank=2),
    _emission("[N II]", 6549.86, 6585.27, rank=2),
    _balmer("Hα", 6564.61, rank=0),
    _emission("[S II]", 6718.29, 6732.67),
    _emission("[S III]", 9071.1, rank=2),
    _emission("[S III]", 9533.2),
    _emission("Paγ", 10941.1),
    _emission("Paβ", 12821.6),
    _emission("Paα", 18756.1),
    _absorption("Ca K", 3934.78),
    _absorption("Ca H", 3969.59),
    _absorption("G", 4305.61),
    _absorption("Mg b", 5168.76, 5174.13, 5185.05),
    _absorption("Na D", 5891.58, 5897.56),
    _absorption("Ca II", 8500.36, 8544.44, 8664.52),
)


def air(vacuum: float) -> float:
    """The wavelength in standard air, Angstrom: Ciddor (1996), Applied Optics 35, 1566; for 2000 Angstrom and more."""
    if vacuum < 2000.0:
        return vacuum
    wavenumber2 = (1e4 / vacuum) ** 2
    return vacuum / (1.0 + 0.05792105 / (238.0185 - wavenumber2) + 0.00167917 / (57.362 - wavenumber2))


def observed(
    redshift: float, low: float, high: float, in_air: bool = False, star: bool = False
) -> list[tuple[Line, list[float]]]:
    """The lines that lie within a range of observed wavelengths (Angstrom), and where: (1 + z) times those at rest.

    Args:
        in_air: the wavelengths asked for and given are those in air.
        star: only lines that stars have.
    """
    found = []
    for line in LINES:
        if star and not line.stellar:
            continue
        at = [one * (1.0 + redshift) for one in line.vacuum]
        inside = [air(one) if in_air else one for one in at if low < one < high]
        found += [(line, inside)] if inside else []
    return found


def tiers(at: Sequence[float], widths: Sequence[float], ranks: Sequence[int], most: int) -> list[int | None]:
    """On which line of text each name stands so that none overlap; None where there is no room.

    Args:
        at: positions of the middles; `widths` in the same unit.
        ranks: those of smaller rank are placed first.
        most: lines of text there are.
    """
    placed: list[int | None] = [None] * len(at)
    taken: list[list[tuple[float, float]]] = [[] for _ in range(most)]
    for index in sorted(range(len(at)), key=lambda one: (ranks[one], at[one])):
        low, high = at[index] - widths[index] / 2, at[index] + widths[index] / 2
        for number, row in enumerate(taken):
            if all(high <= start or low >= end for start, end in row):
                row.append((low, high))
                placed[index] = number
                break
    return placed


def running_mean(flux: Floats, weight: Floats, width: int) -> Floats:
    """Weighted mean over `width` pixels round each one; NaN where none of them has weight."""
    box = np.ones(width)
    total = np.convolve(weight, box, "same")
    sums = np.convolve(weight * np.where(weight > 0, flux, 0.0), box, "same")
    return np.where(total > 0, sums / np.where(total > 0, total, 1.0), np.nan)
