"""Where the catalogue is, and which galaxies of it are wanted.

It is one file, and the data. A unit is a range of its rows, `0004096`; all units share the file.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mmu.sky.region import Region
from mmu.survey import Candidates, File, Group, Paths, Release
from surveys.desi_provabgs.catalogue import read_whole

MAGNITUDES = ("MAG_G", "MAG_R", "MAG_Z")


def bootstrap(release: Release) -> tuple[File, ...]:
    """Nothing is needed before the catalogue itself."""
    return ()


def groups(release: Release, paths: Paths, region: Region, walk: bool) -> Iterator[Group]:
    """The catalogue."""
    yield Group("catalogue", files(release, ""))


def select(release: Release, group: Group, paths: Paths) -> Candidates:
    """Every galaxy listed; those without a fit or a magnitude are cut (a missing number is cut too)."""
    table = read_whole(paths[release.facts["path"]], ("TARGETID", "ra", "dec", "LOG_MSTAR", *MAGNITUDES))
    size = release.facts["unit_rows"]
    ranges = np.array([f"{first:07d}" for first in range(0, len(table["TARGETID"]), size)], dtype="U7")
    return Candidates(
        object_id=table["TARGETID"].astype(np.str_),
        ra=table["ra"],
        dec=table["dec"],
        unit=ranges[np.arange(len(table["TARGETID"])) // size],
        cuts={
            "no PROVABGS fit": ~(table["LOG_MSTAR"] > 0),
            **{f"no {name[-1].lower()} magnitude": ~(table[name] > 0) for name in MAGNITUDES},
        },
    )


def files(release: Release, unit: str) -> tuple[File, ...]:
    """The one file."""
    return (File(release.facts["path"], release.facts["bytes"]),)
