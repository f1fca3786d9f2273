"""Where Galaxy10 DECaLS is, and which galaxies it lists: all are wanted.

It is one file, and the data. A unit is a range of its rows, `00555-01109`; all units share the file. Its pictures are
compressed in blocks of many galaxies, so a range is a whole number of blocks: each is unpacked once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mmu.sky.region import Region
from mmu.survey import Candidates, File, Group, Paths, Release
from surveys.gz10 import PATH, SHA256
from surveys.gz10.file import open_galaxies

MOST_ROWS = 2048
"""Rows of a unit however large the blocks: 400 MB of pixels."""


def bootstrap(release: Release) -> tuple[File, ...]:
    """Nothing is needed before the file itself."""
    return ()


def groups(release: Release, paths: Paths, region: Region, walk: bool) -> Iterator[Group]:
    """The file."""
    yield Group("galaxies", files(release, ""))


def select(release: Release, group: Group, paths: Paths) -> Candidates:
    """Every galaxy of the file."""
    with open_galaxies(paths[PATH]) as file:
        ra, dec = file["ra"][:].astype(np.float64), file["dec"][:].astype(np.float64)
        block = file["images"].chunks[0] if file["images"].chunks else 1
    size = min(-(-release.facts["unit_rows"] // block) * block, MOST_ROWS)
    rows = len(ra)
    names = [unit_name(first, min(first + size, rows) - 1) for first in range(0, rows, size)]
    return Candidates(
        object_id=np.array([object_id(row) for row in range(rows)], dtype="U16"),
        ra=ra,
        dec=dec,
        unit=np.array(names, dtype="U16")[np.arange(rows) // size],
        cuts={},
    )


def files(release: Release, unit: str) -> tuple[File, ...]:
    """The one file, which must have the digest its authors publish."""
    return (File(PATH, release.raw_bytes, sha256=SHA256),)


def object_id(row: int) -> str:
    """`gz10-00042`."""
    return f"gz10-{row:05d}"


def unit_name(first: int, last: int) -> str:
    """`00555-01109`."""
    return f"{first:05d}-{last:05d}"
