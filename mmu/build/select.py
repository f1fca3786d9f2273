"""The part of the plan that runs in a worker: one group's catalogue files -> the objects selected, and the account."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmu.errors import FormatError, MmuError
from mmu.schema import HEALPIX
from mmu.sky import healpix
from mmu.sky.region import Region
from mmu.survey import Candidates, Group, cut_reasons, get_survey

NO_POSITION = "no usable position"
OUTSIDE = "outside the region"
NOT_ASKED = "not in the list of ids"
BEYOND = "beyond the number of objects asked for"


@dataclass
class Selection:
    """What one group gave.

    Attributes:
        rows: object_id, ra, dec, unit, _healpix_29 and carried columns of the selected objects.
        read: unit -> rows listed. cut: (unit, reason) -> rows not wanted.
    """

    rows: pa.Table
    read: Counter[str]
    cut: Counter[tuple[str, str]]


def select_group(
    survey: str, release: str, group: Group, paths: dict[str, Path], region: Region, ids: frozenset[str] | None
) -> Selection:
    """Read a group's catalogue files and apply every cut, ours first."""
    declared = get_survey(survey)
    try:
        return _selection(declared.archive.select(declared.release(release), group, paths), survey, region, ids)
    except FormatError as problem:
        if group.name in str(problem) or any(path.rpartition("/")[2] in str(problem) for path in paths):
            raise
        msg = f"{survey} {group.name}: {problem}"
        raise FormatError(msg) from problem
    except (MmuError, MemoryError):
        raise
    except Exception as problem:
        names = ", ".join(sorted(paths))
        raise FormatError(
            f"{survey} {group.name}: the catalogue ({names}) is not as the data model says "
            f"({type(problem).__name__}: {' '.join(str(problem).split())[:300]}); fetch it again, or look at it."
        ) from problem


def _selection(found: Candidates, survey: str, region: Region, ids: frozenset[str] | None) -> Selection:
    """What passes every cut, and the account of what does not."""
    size = len(found.object_id)
    cuts = {**_general_cuts(found, region, ids), **found.cuts}
    for reason, mask in cuts.items():
        if np.shape(mask) != (size,):
            raise FormatError(f"{survey}: the cut {reason!r} has shape {np.shape(mask)} for {size} objects.")
    reasons = cut_reasons(cuts, size)
    kept = np.flatnonzero(reasons < 0)
    return Selection(_rows(found, kept), _count(found.unit), _count_cuts(found.unit, reasons, list(cuts)))


def _general_cuts(found: Candidates, region: Region, ids: frozenset[str] | None) -> dict[str, np.ndarray[Any, Any]]:
    good = (found.ra >= 0) & (found.ra <= 360) & (np.abs(found.dec) <= 90)
    cuts = {NO_POSITION: ~good}
    if not region.whole:
        inside = np.zeros(len(good), dtype=bool)
        inside[good] = region.contains(found.ra[good], found.dec[good])
        cuts[OUTSIDE] = ~inside
    if ids is not None:
        wanted = pa.array(sorted(ids), type=pa.string())
        listed = pa.array(np.asarray(found.object_id).astype(object), type=pa.string())
        cuts[NOT_ASKED] = ~np.asarray(pc.is_in(listed, value_set=wanted))
    return cuts


def _rows(found: Candidates, kept: np.ndarray[Any, Any]) -> pa.Table:
    ra, dec = np.asarray(found.ra, dtype=np.float64)[kept], np.asarray(found.dec, dtype=np.float64)[kept]
    columns: dict[str, Any] = {
        "object_id": pa.array(np.asarray(found.object_id)[kept].astype(object), type=pa.string()),
        "ra": ra,
        "dec": dec,
        "unit": pa.array(np.asarray(found.unit)[kept].astype(object), type=pa.string()),
        HEALPIX.name: healpix.pixel(ra, dec) if len(ra) else np.empty(0, dtype=np.int64),
    }
    if found.carried is not None:
        columns.update(found.carried(kept))
    return pa.table(columns)


def _count(units: np.ndarray[Any, Any]) -> Counter[str]:
    names, counts = np.unique(np.asarray(units).astype(str), return_counts=True)
    return Counter(dict(zip(names.tolist(), counts.tolist(), strict=True)))


def _count_cuts(
    units: np.ndarray[Any, Any], reasons: np.ndarray[Any, Any], names: list[str]
) -> Counter[tuple[str, str]]:
    total: Counter[tuple[str, str]] = Counter()
    for index, reason in enumerate(names):
        for unit, count in _count(np.asarray(units)[reasons == index]).items():
            total[unit, reason] = count
    return total
