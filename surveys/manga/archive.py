"""Where MaNGA's files are, and which galaxies are wanted.

A unit is one observation of one galaxy, `PLATE-IFUDESIGN`, which is also the object_id: a galaxy that was observed
twice is there twice, under one `mangaid`. Two summary tables say what there is; the archive serves them only whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmu.fits import open_fits
from mmu.rows import positions
from mmu.schema import nested_list
from mmu.sky.region import Region
from mmu.survey import Candidates, File, Group, Paths, Release
from surveys.manga.columns import FROM_DRPALL

DRPALL_BYTES, DAPALL_BYTES = 50_000_000, 260_000_000
CUBE_BYTES, MAPS_BYTES = 140_000_000, 14_000_000
"""Typical sizes; estimates, as 1.7 TB for 11 273 cubes and 10 735 files of maps."""

NOT_ANALYSED = "not in the catalogue of the DAP"
NOT_DONE = "not analysed by the DAP (DAPDONE is false)"
_MISSING = (-9999.0, -999.0)

Columns = dict[str, NDArray[Any]]


def bootstrap(release: Release) -> tuple[File, ...]:
    """Nothing: the two summary tables are one group."""
    return ()


def groups(release: Release, paths: Paths, region: Region, walk: bool) -> Iterator[Group]:
    """The two summary tables, whatever the region: 11 000 rows."""
    yield Group("drpall", (File(drpall_path(release), DRPALL_BYTES), File(dapall_path(release), DAPALL_BYTES)))


def select(release: Release, group: Group, paths: Paths) -> Candidates:
    """Every cube there is, and those the DAP has no maps of, as v1 cut them. Quality is a column, not a cut."""
    with open_fits(paths[drpall_path(release)]) as file:
        wanted = [column.name for column in FROM_DRPALL]
        found = file.columns("MANGA", ["PLATEIFU", "IFURA", "IFUDEC", *(name.upper() for name in wanted)])
    with open_fits(paths[dapall_path(release)]) as file:
        analysed = file.columns(release.facts["daptype"], ["PLATEIFU", "DAPDONE", "DAPQUAL"])
    name = found.pop("PLATEIFU")
    listed = np.isin(name, analysed["PLATEIFU"])
    row = np.zeros(len(name), dtype=np.intp)
    row[listed] = positions(name[listed], analysed["PLATEIFU"])
    done, quality = (
        np.where(listed, analysed[key][row], 0) if len(analysed[key]) else np.zeros(len(name), dtype=np.int64)
        for key in ("DAPDONE", "DAPQUAL")
    )

    def carried(kept: NDArray[Any]) -> dict[str, Any]:
        columns = {key: _plain(found[key.upper()][kept]) for key in wanted}
        return columns | {"dapqual": quality[kept]}

    return Candidates(
        object_id=name,
        ra=found["IFURA"],
        dec=found["IFUDEC"],
        unit=name,
        cuts={NOT_ANALYSED: ~listed, NOT_DONE: listed & (done == 0)},
        carried=carried,
    )


def files(release: Release, unit: str) -> tuple[File, ...]:
    """A galaxy's cube; and its maps where records hold them, without which the record has none."""
    cube = File(cube_path(release, unit), CUBE_BYTES)
    return (cube, File(maps_path(release, unit), MAPS_BYTES, required=False)) if release.facts["maps"] else (cube,)


def drpall_path(release: Release) -> str:
    """The summary table of the data reduction pipeline."""
    return f"{release.facts['redux']}/drpall-{release.facts['drp']}.fits"


def dapall_path(release: Release) -> str:
    """The summary table of the data analysis pipeline."""
    return f"{release.facts['analysis']}/dapall-{release.facts['drp']}-{release.facts['dap']}.fits"


def cube_path(release: Release, unit: str) -> str:
    """The cube of a galaxy."""
    plate, _, _ = unit.partition("-")
    return f"{release.facts['redux']}/{plate}/stack/manga-{unit}-LOGCUBE.fits.gz"


def maps_path(release: Release, unit: str) -> str:
    """The maps of a galaxy."""
    daptype, (plate, _, ifu) = release.facts["daptype"], unit.partition("-")
    return f"{release.facts['analysis']}/{daptype}/{plate}/{ifu}/manga-{unit}-MAPS-{daptype}.fits.gz"


def _plain(values: NDArray[Any]) -> Any:
    """A column as the plan's table can hold it, NaN for a number the archive does not have."""
    if values.dtype.kind == "f":
        values = np.where(np.isin(values, _MISSING), np.nan, values)
    if values.dtype.kind == "U":
        return values.astype(object)
    return values if values.ndim == 1 else nested_list(values.astype(np.float32))
