"""Where Gaia's bulk files are, and which sources are wanted.

A unit is a range of level-8 HEALPix cells, `000000-003111`: one file of sources and one of XP spectra. A source's cell
is `source_id >> 43`. The catalogue is the data, so a unit's files are its group's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmu.errors import FormatError
from mmu.sky import healpix
from mmu.sky.neighbours import neighbours
from mmu.sky.region import Region
from mmu.survey import Candidates, File, Group, Paths, Release
from surveys.gaia.ecsv import AGAIN, read_table

ORDER = 8
FINE = 11
CELLS = 12 * 4**ORDER
KINDS = ("source", "xp")
SUMS = "_MD5SUM.txt"


def bootstrap(release: Release) -> tuple[File, ...]:
    """The MD5 lists: they name the files, and so the ranges."""
    return tuple(File(f"{release.facts[kind][0]}/{SUMS}", 260_000) for kind in KINDS)


def groups(release: Release, paths: Paths, region: Region, walk: bool) -> Iterator[Group]:
    """One group a range of cells that the region touches."""
    ranges = _ranges(release, paths)
    if not region.whole:
        cells = _near(region)
        place = np.searchsorted(cells, ranges[:, 0])
        ranges = ranges[(place < len(cells)) & (np.append(cells, CELLS)[place] <= ranges[:, 1])]
    for first, last in ranges.tolist():
        unit = f"{first:06d}-{last:06d}"
        yield Group(unit, files(release, unit))


def select(release: Release, group: Group, paths: Paths) -> Candidates:
    """Every source of a range; those without an XP spectrum are cut."""
    source, xp = (paths[file.path] for file in group.files)
    table = read_table(source, {"source_id": "int64", "ra": "float64", "dec": "float64"})
    spectra = read_table(xp, {"source_id": "int64"})
    ids = table["source_id"].to_numpy()
    return Candidates(
        object_id=ids.astype(np.str_),
        ra=table["ra"].to_numpy(),
        dec=table["dec"].to_numpy(),
        unit=np.full(len(ids), group.name),
        cuts={"no XP continuous spectrum": ~np.isin(ids, spectra["source_id"].to_numpy())},
    )


def files(release: Release, unit: str) -> tuple[File, ...]:
    """A range's file of sources and file of XP spectra."""
    found = []
    for kind in KINDS:
        folder, stem = release.facts[kind]
        found.append(
            File(f"{folder}/{stem}_{unit}.csv.gz", release.facts[f"{kind}_bytes"], checksums=f"{folder}/{SUMS}")
        )
    return tuple(found)


def _ranges(release: Release, paths: Paths) -> NDArray[np.int64]:
    """First and last cell of each file of sources, sorted, (R, 2).

    Raises:
        FormatError: the MD5 list names no file, or files that overlap.
    """
    folder, stem = release.facts["source"]
    text = paths[f"{folder}/{SUMS}"].read_text(encoding="utf-8", errors="replace")
    found = re.findall(rf"\b{stem}_(\d{{6}})-(\d{{6}})\.csv\.gz\b", text)
    ranges: NDArray[Any] = np.unique(np.array(found, dtype=np.int64).reshape(-1, 2), axis=0)
    if len(ranges) == 0 or np.any(ranges[1:, 0] <= ranges[:-1, 1]):
        raise FormatError(f"{folder}/{SUMS}: does not list files {stem}_FIRST-LAST.csv.gz of separate ranges; {AGAIN}.")
    return ranges


def _near(region: Region) -> NDArray[np.int64]:
    """Level-8 cells that may hold a source inside the region, sorted.

    The cell in a source's name is that of an early position, arcseconds off: a rim is added, finely for small regions.
    """
    cells = region.pixels(ORDER)
    order = FINE if len(cells) < 1000 else ORDER
    pixels = region.pixels(order)
    rim = neighbours(order, pixels).reshape(-1)
    return healpix.at_order(np.union1d(pixels, rim[rim >= 0]), order, ORDER)
