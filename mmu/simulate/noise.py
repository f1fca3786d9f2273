"""Random numbers that depend on names only.

The same seed and key give the same draw, in any order of asking.
"""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def generator(seed: int, *keys: int | str) -> np.random.Generator:
    """A generator for one thing (a file, a plane, a cell), named by `keys`."""
    words = [zlib.crc32(key.encode()) if isinstance(key, str) else int(key) for key in keys]
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))


def uniform(ids: npt.ArrayLike, seed: int, *keys: int | str) -> Floats:
    """One number in [0, 1) for each id, shape like `ids`.

    An object keeps its draw whoever it is drawn with.
    """
    salt = int(generator(seed, "uniform", *keys).integers(0, 2**63))
    with np.errstate(over="ignore"):
        word = np.asarray(ids).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(salt)
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        word = word ^ (word >> np.uint64(31))
    return (word >> np.uint64(11)).astype(np.float64) / float(2**53)
