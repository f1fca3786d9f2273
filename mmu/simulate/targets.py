"""Which objects of the simulated sky DESI took spectra of, and what it calls them.

The spectra, and the catalogues made from them, are of the same targets; so the rule lives with the sky.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from mmu.simulate import bricks as tiling
from mmu.simulate.files import records
from mmu.simulate.noise import uniform
from mmu.simulate.sky import Sky

Objects = npt.NDArray[np.void]

NORTH_OF = 32.375  # degrees, border of the imaging surveys
SHARE = {"main": 0.6, "sv3": 0.5}  # of the galaxies within reach, by survey


def chosen(sky: Sky, objects: Objects, survey: str, program: str) -> npt.NDArray[np.bool_]:
    """Which objects are targets of a survey and program ("bright", "dark"); some are of both."""
    ids, r, star = objects["true_id"], objects["mag_r"], objects["kind"] == "star"
    lot = uniform(ids, sky.seed, "desi", survey)
    keep = np.where(star, (lot < 0.15) & (r > 15.5) & (r < 19.5), (lot < SHARE[survey]) & (objects["mag_z"] < 20.5))
    split = np.where(star, 17.5, 19.4)
    both = (np.abs(r - split) < 0.5) & (uniform(ids, sky.seed, "twice", survey) < 0.6)
    here = (r < split) if program == "bright" else (r >= split)
    return np.asarray(keep & (here | both), dtype=bool)


@functools.lru_cache(maxsize=16)
def identities(sky: Sky) -> Objects:
    """Brick id, name and number within the brick of every object, ordered by true_id."""
    dtype: list[Any] = [("true_id", "i8"), ("BRICKID", "i4"), ("BRICKNAME", "S8"), ("BRICK_OBJID", "i4")]
    parts = []
    for brick in tiling.bricks(sky):
        objects, _, _ = tiling.members(sky, brick)
        number = np.flatnonzero(brick.contains(objects["ra"], objects["dec"]))
        columns = {"true_id": objects["true_id"][number], "BRICKID": brick.id, "BRICKNAME": brick.name}
        parts.append(records(dtype, {**columns, "BRICK_OBJID": number}, len(number)))
    table = np.concatenate(parts)
    return np.asarray(table[np.argsort(table["true_id"])])


def target_id(sky: Sky, objects: Objects) -> npt.NDArray[np.int64]:
    """TARGETID of each object: imaging release << 42 | brick << 22 | number in the brick."""
    known = identities(sky)
    names = known[np.clip(np.searchsorted(known["true_id"], objects["true_id"]), 0, len(known) - 1)]
    release = np.where(objects["dec"] >= NORTH_OF, 9011, 9010).astype(np.int64)
    return np.asarray((release << 42) | (names["BRICKID"].astype(np.int64) << 22) | names["BRICK_OBJID"])
