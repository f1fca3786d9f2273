"""The simulated sky as PROVABGS's catalogue: the bright galaxies of the simulated DESI EDR, with fits of the truth.

The path is relative to https://data.desi.lbl.gov/public/ . One HDF5 file with one table, as astropy writes it. Among
its rows are galaxies without a fit (0 or -999) and without a magnitude. The parameters are such that with the bases of
`write_basis` (simple ones, in the form of the provabgs package's tables) the labels are the truth's, roughly.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmu.simulate import Sky
from mmu.simulate.files import records
from mmu.simulate.noise import generator
from mmu.simulate.sky import healpix
from mmu.simulate.targets import NORTH_OF, chosen, target_id
from surveys.desi_provabgs import BASIS_SFH, BASIS_TIME, BASIS_ZH, DRAWS, SURVEY, THETA
from surveys.desi_provabgs.histories import OLDEST_GYR, SFH_ORDER

Floats = npt.NDArray[np.float64]
Objects = npt.NDArray[np.void]

RELEASE = SURVEY.default_release
PATH: str = RELEASE.facts["path"]
TABLE = "__astropy_table__"
DTYPE: list[Any] = [
    ("TARGETID", "i8"), ("RA", "f8"), ("DEC", "f8"), ("Z_HP", "f8"), ("ZERR", "f8"), ("TSNR2_BGS", "f4"),
    *[(f"MAG_{band}", "f8") for band in ("G", "R", "Z", "W1")], ("FIBMAG_R", "f8"), ("HPIX_64", "i8"),
    ("PROVABGS_Z_MAX", "f8"), ("SCHLEGEL_COLOR", "f8"), ("PROVABGS_W_ZFAIL", "f8"), ("PROVABGS_W_FIBASSIGN", "f8"),
    ("IS_BGS_BRIGHT", "?"), ("IS_BGS_FAINT", "?"), ("PROVABGS_MCMC", "f8", (DRAWS, THETA)),
    ("PROVABGS_THETA_BF", "f8", (THETA,)), ("PROVABGS_LOGMSTAR_BF", "f8"),
]  # fmt: skip
EXTINCTION = {"g": 3.214, "r": 2.165, "z": 1.211}  # magnitudes per E(B-V)
SPREAD = np.array([0.08, *[0.05] * 4, 0.02, 0.3, 5e-4, 5e-4, 0.1, 0.1, 0.1, 0.05])
"""Of the posterior's draws, per parameter."""
PEAKS_GYR = np.array([0.5, 3.0, 6.5, 10.0])
"""Mean ages of the simulated bases of star formation."""
METALS = 5.0
"""What the two simulated metallicity bases add up to, at any time."""
SOLAR_Z = 0.019
FORMED_DEX = 0.22
"""Mass formed over mass in stars that survive."""


def files(release: str, sky: Sky) -> dict[str, int]:
    """The one file of the simulated archive, with its approximate size in bytes."""
    if release != RELEASE.name:
        msg = f"desi_provabgs has no simulated release {release!r}; allowed is {RELEASE.name}"
        raise ValueError(msg)
    return {PATH: 4096 + np.dtype(DTYPE).itemsize * len(galaxies(sky))}


def write(path: str, sky: Sky, destination: Path) -> None:
    """Write the file, named as in `files`."""
    import h5py

    if path != PATH:
        msg = f"{path!r} is not in the simulated PROVABGS archive; allowed is {PATH}"
        raise FileNotFoundError(msg)
    with h5py.File(destination, "w") as file:
        file.create_dataset(TABLE, data=catalogue(sky))


@functools.lru_cache(maxsize=8)
def galaxies(sky: Sky) -> Objects:
    """Truth of the galaxies in the catalogue: bright targets of SV3, nearer than z = 0.6, ordered by TARGETID."""
    objects = sky.objects()
    wanted = (objects["kind"] == "galaxy") & (objects["z"] < 0.6) & (objects["dec"] < NORTH_OF)
    objects = objects[wanted]
    objects = objects[chosen(sky, objects, "sv3", "bright")]
    return np.asarray(objects[np.argsort(target_id(sky, objects))])


def catalogue(sky: Sky) -> Objects:
    """The catalogue's rows."""
    truth = galaxies(sky)
    n, rng = len(truth), generator(sky.seed, "provabgs")
    mags = {f"MAG_{band.upper()}": truth[f"mag_{band}"] - slope * truth["ebv"] for band, slope in EXTINCTION.items()}
    mags["MAG_W1"] = mags["MAG_Z"] - 0.3 + rng.normal(0, 0.1, n)
    error = 3e-5 * (1 + truth["z"])
    mass = truth["log_stellar_mass"] + rng.normal(0, 0.05, n)
    theta = parameters(truth, mass, rng)
    draws = theta[:, None, :] + rng.normal(0, 1, (n, DRAWS, THETA)) * SPREAD
    share = draws[:, :, 1:5].clip(1e-6)
    draws[:, :, 1:5] = share / share.sum(axis=2, keepdims=True)
    draws[:, :, 5:13] = draws[:, :, 5:13].clip(1e-6)
    columns: dict[str, Any] = {
        "TARGETID": target_id(sky, truth), "RA": truth["ra"], "DEC": truth["dec"], "ZERR": error,
        "Z_HP": truth["z"] + rng.normal(0, 1, n) * error, "TSNR2_BGS": rng.lognormal(7.2, 0.3, n), **mags,
        "FIBMAG_R": mags["MAG_R"] + 2.5 * np.log10(1.3 * (1 + (truth["r_half_arcsec"] / 0.9) ** 1.5)),
        "HPIX_64": healpix(truth, 6), "PROVABGS_Z_MAX": truth["z"] * rng.uniform(1.0, 1.5, n),
        "SCHLEGEL_COLOR": (mags["MAG_Z"] - mags["MAG_W1"]) - 1.2 * (mags["MAG_G"] - mags["MAG_R"]) + 1.2,
        "PROVABGS_W_ZFAIL": rng.uniform(1.0, 1.2, n), "PROVABGS_W_FIBASSIGN": 1 + rng.poisson(0.2, n),
        "IS_BGS_BRIGHT": truth["mag_r"] < 19.5, "IS_BGS_FAINT": truth["mag_r"] >= 19.5,
        "PROVABGS_MCMC": draws, "PROVABGS_THETA_BF": theta, "PROVABGS_LOGMSTAR_BF": mass,
    }  # fmt: skip
    table = records(DTYPE, columns, n)
    lot = rng.random(n)
    table["PROVABGS_LOGMSTAR_BF"][lot < 0.02] = 0.0
    table["PROVABGS_LOGMSTAR_BF"][(lot >= 0.02) & (lot < 0.03)] = -999.0
    table["MAG_G"][(lot >= 0.03) & (lot < 0.04)] = -99.0
    return table


def parameters(truth: Objects, mass: Floats, rng: np.random.Generator) -> Floats:
    """Best-fit parameters, (N, 13): ages, metals and, by a burst of late, star formation as the truth says."""
    n = len(truth)
    when = rng.uniform(0.1, 0.9, n)
    burst = np.clip(10 ** (truth["log_sfr"] + 9 - mass - FORMED_DEX), 0.0, 0.3)
    place = np.interp((truth["age_gyr"] - burst * when) / (1 - burst), PEAKS_GYR, np.arange(4.0))
    low = np.minimum(place.astype(np.int64), 2)
    theta = np.zeros((n, THETA))
    theta[:, 0] = mass + FORMED_DEX
    theta[np.arange(n), 1 + low] = 1 - (place - low)
    theta[np.arange(n), 2 + low] = place - low
    theta[:, 5], theta[:, 6] = burst, when
    theta[:, 7:9] = (SOLAR_Z * 10 ** truth["metallicity"] / METALS)[:, None]
    theta[:, 9:11] = 3.1 * truth["dust_ebv"][:, None] * rng.uniform(0.8, 1.2, (n, 2))
    theta[:, 11], theta[:, 12] = rng.normal(0, 0.3, n), rng.uniform(0.3, 0.9, n)
    return theta


def write_basis(folder: Path) -> Path:
    """Simple bases in the form of the provabgs package's tables: text, oldest time first, components in its order."""
    folder.mkdir(parents=True, exist_ok=True)
    time = np.linspace(13.65, 0.05, 50)
    width = np.minimum(1.2, PEAKS_GYR / 3)[:, None]
    hills = np.exp(-0.5 * ((time - PEAKS_GYR[:, None]) / width) ** 2) / width
    tables = {
        BASIS_TIME: time,
        BASIS_SFH: hills[np.argsort(SFH_ORDER)],
        BASIS_ZH: METALS * np.stack([1 - time / OLDEST_GYR, time / OLDEST_GYR]),
    }
    for name, table in tables.items():
        np.savetxt(folder / name, table)
    return folder


__all__ = ["files", "write"]
