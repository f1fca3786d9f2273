"""A range of the catalogue's rows -> records. Galaxies are matched by TARGETID within the range."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmu.rows import missing, positions
from mmu.schema import table_of
from mmu.survey import Paths, Records, Release
from surveys.desi_provabgs import BASIS, BASIS_SFH, BASIS_TIME, BASIS_ZH, CATALOGUE, DERIVED, PHYSICS
from surveys.desi_provabgs.catalogue import Columns, open_table, read_rows
from surveys.desi_provabgs.histories import derive, load_basis

NAMES = ("ra", "dec", *(column.name for column in (*PHYSICS, *CATALOGUE)))


def read(release: Release, unit: str, paths: Paths, rows: pa.Table) -> Records:
    """Records of one range of rows; the derived labels are null where no basis tables were given."""
    wanted = rows["object_id"].to_numpy(zero_copy_only=False).astype(np.str_).astype(np.int64)
    table = read_range(paths[release.facts["path"]], int(unit), release.facts["unit_rows"])
    excluded = missing(wanted, table["TARGETID"], "catalogue")
    target = wanted[[str(one) not in excluded for one in wanted.tolist()]]
    place = positions(target, table["TARGETID"])
    values: dict[str, Any] = {name: column[place] for name, column in table.items()}
    values |= _derived(paths, values)
    values["object_id"] = target.astype(np.str_)
    return Records(table_of(release.schema, values), excluded)


def read_range(path: Path, first: int, count: int) -> Columns:
    """All columns of `count` rows from row `first` on."""
    with open_table(path) as table:
        return read_rows(table, NAMES, slice(first, first + count), path.name)


def _derived(paths: Paths, values: dict[str, Any]) -> dict[str, Any]:
    """Labels that follow from the parameters and the basis tables."""
    basis = [paths.get(f"{BASIS}/{name}") for name in (BASIS_TIME, BASIS_SFH, BASIS_ZH)]
    if any(path is None for path in basis):
        return {column.name: pa.nulls(len(values["ra"]), pa.float64()) for column in DERIVED}
    labels = derive(load_basis(*(path for path in basis if path)), values["PROVABGS_THETA_BF"], values["Z_HP"])
    return {**labels, "AVG_SSFR": labels["AVG_SFR"] * 10 ** -values["LOG_MSTAR"]}
