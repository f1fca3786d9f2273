"""Star-formation and metallicity histories of PROVABGS -> metallicity, age and star formation rate of each galaxy.

The model (Hahn et al. 2023) writes the star-formation rate over lookback time as a sum of four basis functions and a
burst, the metallicity as a sum of two, both in bins of lookback time that end at the age of the Universe at the
galaxy's redshift. The bases are tables that come with the provabgs package; they are read, not shipped.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmu.errors import UsageError

Floats = NDArray[np.float64]

EDGES_GYR = np.concatenate([[0.0], 10 ** (6.05 + 0.1 * np.arange(41) - 9)])
"""Lookback times that bound the bins, but for the last: the age of the Universe, (42,)."""
OLDEST_GYR = 13.8
FINE_GYR = np.linspace(0.0, OLDEST_GYR, 50_000)
"""Where the package tabulates the star-formation bases before it averages them in bins."""
LEAST_Z, MOST_Z = 4.49043431e-05, 4.49043431e-02  # mass fractions, from the isochrones
SFH_ORDER = (2, 0, 1, 3)
"""The package's component 1 to 4 as rows of the table."""
RECENT_GYR = 1.0
FARTHEST = 2.0  # redshift
LONGEST = 10_000


@dataclass(frozen=True)
class Basis:
    """The bases as functions of lookback time.

    Attributes:
        rate: the star-formation bases at `FINE_GYR`, (4, 50000), on any scale.
        formed: their integrals from 0 to there.
        metals: lookback times in Gyr, of any shape, -> the two metallicity bases, (2, ...).
    """

    rate: Floats
    formed: Floats
    metals: Callable[[Floats], Floats]

    def formed_by(self, lookback_gyr: Floats) -> Floats:
        """Integrals of the star-formation bases from 0 to these lookback times, (4, ...)."""
        step = FINE_GYR[1]
        index = np.clip((lookback_gyr / step).astype(np.int64), 0, len(FINE_GYR) - 2)
        part = lookback_gyr - FINE_GYR[index]
        low, high = self.rate[:, index], self.rate[:, index + 1]
        return np.asarray(self.formed[:, index] + part * (low + 0.5 * (high - low) * part / step))


def load_basis(time: Path, sfh: Path, zh: Path) -> Basis:
    """The basis tables as the provabgs package has them: text, oldest time first.

    Raises:
        UsageError: a table is not numbers, or not of the shape that goes with the others.
    """
    from scipy.interpolate import InterpolatedUnivariateSpline

    times, rates, metals = _numbers(time, 1), _numbers(sfh, 4), _numbers(zh, 2)
    if not rates.shape[1] == metals.shape[1] == times.shape[1] or np.any(np.diff(times[0, ::-1]) <= 0):
        raise UsageError(
            f"{time.name}, {sfh.name} and {zh.name} do not belong together: {times.shape[1]} times that must fall, "
            f"{rates.shape[1]} and {metals.shape[1]} values. Give the provabgs package's own folder `dat`."
        )
    lookback = times[0, ::-1]
    lines = [[InterpolatedUnivariateSpline(lookback, row[::-1], k=1) for row in table] for table in (rates, metals)]
    fine = np.stack([lines[0][row](FINE_GYR) for row in SFH_ORDER])
    steps = 0.5 * (fine[:, 1:] + fine[:, :-1]) * np.diff(FINE_GYR)
    formed = np.concatenate([np.zeros((4, 1)), np.cumsum(steps, axis=1)], axis=1)
    return Basis(fine, formed, lambda at: np.stack([line(at.ravel()).reshape(at.shape) for line in lines[1]]))


def derive(basis: Basis, theta: Floats, redshift: Floats) -> dict[str, Floats]:
    """Z_MW, TAGE_MW (Gyr) and AVG_SFR (solMass/yr over the last Gyr) of N galaxies, each (N,).

    Args:
        theta: best-fit parameters, (N, 13) (`THETA`).
        redshift: (N,); a galaxy whose redshift is not within 0..2 has NaN.
    """
    age = universe_age_gyr(redshift)
    edges = np.concatenate([np.minimum(EDGES_GYR, age[:, None]), age[:, None]], axis=1)  # bins beyond it are empty
    middle = 0.5 * (edges[:, 1:] + edges[:, :-1])
    parts = np.einsum("nb,bne->ne", theta[:, 1:5], np.diff(basis.formed_by(np.nan_to_num(edges)), axis=2))
    with np.errstate(divide="ignore", invalid="ignore"):
        steady = parts / parts.sum(axis=1, keepdims=True)
        covered = np.clip((RECENT_GYR - edges[:, :-1]) / np.diff(edges, axis=1), 0.0, 1.0)
    when = theta[:, 6]
    burst = np.where(when < age, theta[:, 5], 0.0)
    formed = (1 - burst)[:, None] * steady
    bins = np.clip((when[:, None] >= edges).sum(axis=1) - 1, 0, middle.shape[1] - 1)
    formed[np.arange(len(theta)), bins] += burst
    metals = np.clip(np.einsum("nb,bne->ne", theta[:, 7:9], basis.metals(middle)), LEAST_Z, MOST_Z)
    recent = (1 - burst) * (steady * np.nan_to_num(covered)).sum(axis=1) + np.where(when < RECENT_GYR, burst, 0.0)
    return {
        "Z_MW": (formed * metals).sum(axis=1),
        "TAGE_MW": (formed * middle).sum(axis=1),
        "AVG_SFR": recent * 10 ** theta[:, 0] / (1e9 * RECENT_GYR),
    }


def universe_age_gyr(redshift: Floats) -> Floats:
    """Age of the Universe at redshifts, (N,), NaN beyond 0..2; the cosmology of the package (Planck 2013)."""
    inside = (redshift >= 0) & (redshift <= FARTHEST)
    return np.where(inside, np.minimum(_age_spline()(np.where(inside, redshift, 0.0)), OLDEST_GYR), np.nan)


@functools.cache
def _age_spline() -> Any:
    from astropy.cosmology import Planck13
    from scipy.interpolate import CubicSpline

    grid = np.linspace(0.0, FARTHEST, 401)
    return CubicSpline(grid, Planck13.age(grid).value)


def _numbers(path: Path, rows: int) -> Floats:
    """A table of so many rows."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        table = np.array([[float(word) for word in line.split()] for line in lines if line.strip()], ndmin=2)
    except (OSError, ValueError) as problem:  # not text, not numbers, or not as many in each line
        msg = f"{path.name}: expected a text table of numbers ({problem}); give the provabgs package's folder `dat`."
        raise UsageError(msg) from problem
    table = table.reshape(1, -1) if rows == 1 else table
    if table.shape[0] != rows or not 2 <= table.shape[1] <= LONGEST or not np.isfinite(table).all():
        raise UsageError(f"{path.name}: expected {rows} rows of 2 to {LONGEST} finite numbers, found {table.shape}.")
    return table
