"""Where the archive keeps what, what is asked of its services, and which of two routes moves fewer bytes.

A unit is a patch, called `09813-501` (tract, and 100 x + y of the patch). Its images are five files, about 110 MB each,
or cutouts, 0.4 MB a band, that a service makes for a list of positions. Which is less depends on how many of a patch's
objects are selected, so it is settled once they are: cutout units are called `09813-501-cutouts-00` and so on.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmu.sky import healpix
from mmu.sky.region import Region
from mmu.survey import Candidates, File, Group, Paths, Release
from surveys.hsc.catalogue import Box, patches_sql, read_objects, read_patches, select_sql
from surveys.hsc.columns import BANDS, CATALOGUE
from surveys.hsc.cutouts import LINES, MEMBER_BYTES, question

PATCH_RADIUS_DEG = 0.14
"""Half the diagonal of a patch, 4200 x 4200 pixels, and a little."""
ROW_BYTES = 400
CUTOUTS = "cutouts"
_OBJECTS = LINES // len(BANDS)


def bootstrap(release: Release) -> tuple[File, ...]:
    """The list of patches that have data."""
    return (patches_file(release.facts),)


def patches_file(facts: Mapping[str, Any]) -> File:
    """The answer that lists a release's patches."""
    return File(f"catalogue/{facts['schema']}/patches.fits", 500_000, query=_sql(facts, patches_sql(facts)))


def groups(release: Release, paths: Paths, region: Region, walk: bool) -> Iterator[Group]:
    """One query for some tracts that the region touches (one, to walk), with the region's box in it; in their order."""
    facts = release.facts
    patches = read_patches(paths[patches_file(facts).path])
    touched = region.touches(patches["ra"], patches["dec"], PATCH_RADIUS_DEG)
    tracts = np.unique(patches["tract"][touched]).tolist()
    box = None if region.whole else bounding_box(region)
    step = 1 if walk else facts["tracts_per_query"]
    for start in range(0, len(tracts), step):
        some = tracts[start : start + step]
        yield objects_group(release, some[0], some[-1], box)


def objects_group(release: Release, first: int, last: int, box: Box | None) -> Group:
    """The query for the objects of the tracts `first` to `last` in a box; its answer's name says which it is."""
    name = f"{release.name}-{first:05d}-{last:05d}"
    sql = _sql(release.facts, select_sql(release.facts, first, last, box))
    where = "" if box is None else "-" + "_".join(f"{edge:.4f}" for edge in box)
    path = f"catalogue/{release.facts['schema']}/{name}{where}.fits"
    return Group(name, (File(path, (last - first + 1) * 5000 * ROW_BYTES, query=sql),))


def _sql(facts: Mapping[str, Any], sql: str) -> str:
    return json.dumps({"release_version": facts["release_version"], "sql": sql})


def bounding_box(region: Region) -> Box:
    """A box that holds the region, a little larger: RA1 to RA2 (eastward; may be above 360), Dec1, Dec2, degrees."""
    order = 8 if len(pixels := region.pixels(8)) > 200 else 11
    ra, dec = healpix.centres(order, pixels if order == 8 else region.pixels(order))
    if len(ra) == 0:
        return 0.0, 0.0, 0.0, 0.0
    reach = healpix.max_radius_deg(order) + 1e-4
    low, high = max(-90.0, float(dec.min()) - reach), min(90.0, float(dec.max()) + reach)
    cosine = np.cos(np.radians(max(abs(low), abs(high))))
    east = np.sort(ra)
    gaps = np.diff(east, append=east[0] + 360.0)
    after = int(np.argmax(gaps))
    wide = reach / cosine if cosine > 1e-6 else 360.0
    if gaps[after] <= 2 * wide:
        return 0.0, 360.0, low, high
    first = float(east[(after + 1) % len(east)]) - wide
    width = 360.0 - float(gaps[after]) + 2 * wide
    return first % 360.0, first % 360.0 + width, low, high


def select(release: Release, group: Group, paths: Paths) -> Candidates:
    """The objects of an answer. The database has made the cuts already, so there are none left to count."""
    table = read_objects(paths[group.files[0].path])
    names = [column.name for column in CATALOGUE]
    return Candidates(
        object_id=table["object_id"].astype(np.str_),
        ra=table["ra"].astype(np.float64),
        dec=table["dec"].astype(np.float64),
        unit=unit_names(table["tract"], table["patch"]),
        cuts={},
        carried=lambda kept: {name: table[name][kept] for name in names},
    )


def unit_names(tract: NDArray[Any], patch: NDArray[Any]) -> NDArray[np.str_]:
    """`09813-501` of each row."""
    return np.char.add(np.char.add(np.char.mod("%05d", tract), "-"), np.char.mod("%03d", patch))


def plan_units(release: Release, objects: pa.Table) -> NDArray[Any]:
    """Whole patches where that moves fewer bytes; the objects of the others in lists that the cutout service takes."""
    codes = pc.dictionary_encode(objects["unit"].combine_chunks())
    patches, index = np.array(codes.dictionary.to_pylist(), dtype="U40"), np.asarray(codes.indices)
    whole = np.bincount(index, minlength=len(patches)) * MEMBER_BYTES > release.facts["patch_bytes"]
    order = np.lexsort((np.asarray(objects["object_id"]).astype(np.str_), index))
    rank = np.empty(len(index), dtype=np.int64)
    rank[order] = np.arange(len(index)) - np.searchsorted(index[order], index[order])
    lists = np.char.add(np.char.add(patches[index], f"-{CUTOUTS}-"), np.char.mod("%02d", rank // _OBJECTS))
    return np.where(whole[index], patches[index], lists)


def route(release: Release, units: Collection[str]) -> str:
    """`12 patches whole, cutouts of the objects of 340 others`, and why."""
    kinds = Counter(CUTOUTS in unit for unit in {unit[:17] for unit in units})  # not how many lists a patch has
    least = release.facts["patch_bytes"] // MEMBER_BYTES
    return (
        f"{kinds[False]:,} patches whole, cutouts of the objects of {kinds[True]:,} others: whichever moves fewer "
        f"bytes; above {least} objects in a patch its {len(BANDS)} files do"
    )


def files_for(release: Release, unit: str, rows: pa.Table) -> tuple[File, ...]:
    """The files of a unit, for the objects wanted of it."""
    if CUTOUTS not in unit:
        return files(release, unit)
    return (cutouts_file(release.facts, unit, rows),)


def files(release: Release, unit: str) -> tuple[File, ...]:
    """The five files of a whole patch; the archive may lack some bands."""
    size = release.facts["patch_bytes"]
    return tuple(File(calexp_path(release.facts, unit, band), size, required=False) for band in BANDS)


def calexp_path(facts: Mapping[str, Any], unit: str, band: str) -> str:
    """The coadd of a patch in a band."""
    tract, x, y = parse(unit)
    name = f"HSC-{band.upper()}"
    folder = f"archive/filetree/{facts['rerun']}/deepCoadd-results/{name}/{tract}/{x},{y}"
    return f"{folder}/calexp-{name}-{tract}-{x},{y}.fits"


def cutouts_file(facts: Mapping[str, Any], unit: str, rows: pa.Table) -> File:
    """The cutouts of some objects of a patch: an answer, named by the patch and what was asked."""
    tract, x, y = parse(unit)
    asked = question(facts["rerun"], tract, rows)
    digest = hashlib.sha256(asked.encode()).hexdigest()[:16]
    path = f"cutouts/{facts['rerun']}/{tract}/{x},{y}/{digest}.tar"
    return File(path, len(rows) * len(BANDS) * MEMBER_BYTES, query=asked)


def parse(unit: str) -> tuple[int, int, int]:
    """Tract, and the patch's x and y, of a unit."""
    tract, patch = map(int, unit.split("-")[:2])
    return tract, patch // 100, patch % 100
