"""One galaxy's cube and maps -> its record, or a record a spaxel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmu.fits import FitsFile, open_fits
from mmu.schema import arrow_schema, table_of
from mmu.survey import Paths, Records, Release
from surveys.manga import cube as cubes
from surveys.manga.archive import cube_path, maps_path
from surveys.manga.columns import FROM_DAPALL, FROM_DRPALL, MAPS, SPAXEL
from surveys.manga.maps import read_column

UNCOVERED = "no spaxel is covered"


def read(release: Release, unit: str, paths: Paths, rows: pa.Table) -> Records:
    """The galaxy's record; or, for a release of spaxels, one a covered spaxel, row by row."""
    with ExitStack() as stack:
        cube = stack.enter_context(open_fits(paths[cube_path(release, unit)]))
        _check(cube, unit)
        if not release.facts["maps"]:
            return spaxels(release, cube, rows)
        path = paths.get(maps_path(release, unit))
        maps = None if path is None else stack.enter_context(_maps(path, unit, release.facts["dap"]))
        return galaxy(release, cube, maps, rows)


def galaxy(release: Release, cube: FitsFile, maps: FitsFile | None, rows: pa.Table) -> Records:
    """The record of one galaxy."""
    shape = cubes.stored_planes(cube)["flux"].shape[1:]
    values: dict[str, Any] = {name.lower(): read_column(maps, release.schema[name.lower()], shape) for name in MAPS}
    for column, members in (("image", cubes.images(cube, shape)), ("cube", cubes.whole(cube))):
        values[column] = {name: [part] if isinstance(part, list) else part[None] for name, part in members.items()}
    carried = ("object_id", "ra", "dec", *(column.name for column in (*FROM_DRPALL, *FROM_DAPALL)))
    return Records(table_of(release.schema, values | {name: rows[name] for name in carried}))


def spaxels(release: Release, cube: FitsFile, rows: pa.Table) -> Records:
    """The covered spaxels of one galaxy, row by row, each with its own position."""
    found = cubes.spaxels(cube)
    count = len(found.x)
    name = rows["object_id"][0].as_py()
    if not count:
        return Records(arrow_schema(release.schema).remove(0).empty_table(), {name: UNCOVERED})
    ra, dec = cubes.coordinates(cube).all_pix2world(found.x, found.y, 0)
    height, width = found.shape
    constant = {"width": width, "height": height, "coeff0": cubes.COEFF0, "coeff1": cubes.COEFF1}
    constant |= {key: rows[key][0].as_py() for key in ("z", "drp3qual", "dapqual")}
    values: dict[str, Any] = {key: np.full(count, value, SPAXEL[key].dtype) for key, value in constant.items()}
    values |= {"object_id": np.full(count, name), "ra": ra, "dec": dec, "x": found.x, "y": found.y}
    return Records(table_of(release.schema, values | {"spectrum": found.spectra}))


@contextmanager
def _maps(path: Path, unit: str, version: str) -> Iterator[FitsFile]:
    """The maps; those of the release's own version of the pipeline have every extension, others lack some."""
    with open_fits(path) as file:
        _check(file, unit)
        file.hdu("SPX_MFLUX")
        missing = [name for name in MAPS if not file.has(name)]
        if missing and file.hdu(0).text("VERSDAP") == version:
            raise file.error(f"no HDU {', '.join(missing)}, which the maps of version {version} have")
        yield file


def _check(file: FitsFile, unit: str) -> None:
    """Raise unless the file is of this observation."""
    if (found := file.hdu(0).text("PLATEIFU")) != unit:
        raise file.error(f"the primary HDU names the observation {found!r}, not {unit}")
