"""Multimodal Universe v1's own files as a source: HDF5 below `healpix=P` folders, wherever in a survey's folder.

Three layouts are read: arrays of one length, one group a record (MaNGA), one file a record (supernovae). Positions
decide where a record is, not the folder that it lies in; `order` is 4, `pixel` the folder's number, and `row` counts
through the pixel's files in the order of their names.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from crossmatch.frames import as_table
from crossmatch.places import Names, as_places, in_sky_order, one_row_each
from crossmatch.roles import MOTIONS, Choice, Given, chosen, has_positions, prepared
from crossmatch.sources import Memory, Wanted
from mmu.errors import FormatError, UsageError
from mmu.hdf5 import open_hdf5
from mmu.sky.partition import Partition

ORDER = 4
"""nside 16."""

_IDS = ("object_id", "source_id")
_POSITIONS = ("ra", "dec", "RA", "DEC")
_MOST_BYTES = 4 << 30
"""Of ids and positions in one file; pixels and spectra are not counted, as they are not read."""


def is_v1(path: str | Path) -> bool:
    """True for a folder of `healpix=P` folders, or a survey's folder with such in it that is not a catalogue itself."""
    path = Path(path).expanduser()
    if not path.is_dir():
        return False
    return bool(_pixels(path)) or (not _is_hats(path) and bool(_roots(path)))


def from_v1(name: str, path: str | Path, wanted: Wanted) -> Memory:
    """A source from files in v1's layout; only ids and positions are read.

    Raises:
        UsageError: the folder holds several releases, or a record has no id or position.
        FormatError: a file is damaged, points elsewhere, or is in none of the layouts.
    """
    root = Path(path).expanduser()
    if not _pixels(root):
        roots = _roots(root)
        if len(roots) != 1:
            raise UsageError(f"{root} holds several releases; give one of {', '.join(map(str, roots))}.")
        root = roots[0]
    files = _files(root)
    if not files:
        raise UsageError(f"{root} has folders healpix=P, but no .hdf5 or .h5 file in them.")
    found = [_pixel_places(root, pixel, paths, wanted) for pixel, paths in sorted(files.items())]
    if len({tuple(places.column_names) for places in found}) > 1:
        raise FormatError(f"Only some files of {root} have proper motions; match without them.")
    listed = [path for paths in files.values() for path in paths]
    places = one_row_each(in_sky_order(pa.concat_tables(found)))
    return Memory(name, str(root.absolute()), places, _fingerprint(root, listed), wanted.epoch)


def _pixels(folder: Path) -> list[Path]:
    return [child for child in folder.glob("healpix=*") if child.is_dir()]


def _roots(folder: Path) -> list[Path]:
    """The folders of releases: of v1 itself, and where a build of ours writes them."""
    children = [child for place in (folder, folder / "hdf5") if place.is_dir() for child in sorted(place.iterdir())]
    return [child for child in children if child.is_dir() and _pixels(child)]


def _is_hats(folder: Path) -> bool:
    """True if the folder, or one in it, is a catalogue that is better opened as such."""
    names = ("hats.properties", "properties", "collection.properties")
    return any((place / name).is_file() for place in (folder, *folder.iterdir()) for name in names)


def _files(root: Path) -> dict[int, list[Path]]:
    """Files by pixel, in the order of their names; the number of a folder may begin with zeros."""
    found: dict[int, list[Path]] = defaultdict(list)
    for folder in sorted(_pixels(root)):
        number = re.fullmatch(r"healpix=(\d+)", folder.name)
        if number is None or int(number[1]) >= 12 << (2 * ORDER):
            raise UsageError(f"{folder} is not named after an nside-16 pixel, healpix=0 to healpix=3071.")
        found[int(number[1])] += sorted(path for path in folder.iterdir() if path.suffix in (".hdf5", ".h5"))
    return {pixel: paths for pixel, paths in found.items() if paths}


def _pixel_places(root: Path, pixel: int, paths: list[Path], wanted: Wanted) -> pa.Table:
    """The places of all records in one pixel's folder."""
    tables = [table for path in paths for table in _tables(path, wanted)]
    table = pa.concat_tables(tables)
    names = Names(
        id="object_id" if "object_id" in table.column_names else "",
        healpix="",
        pm=MOTIONS[0] if MOTIONS[0][0] in table.column_names else None,
        errors=wanted.errors,
    )
    where = str(root / f"healpix={pixel}")
    return as_places(table, names, where, np.arange(len(table)), Partition(ORDER, pixel))


def _tables(path: Path, wanted: Wanted) -> Iterator[pa.Table]:
    """What is needed of the records in a file, in its three layouts, under one set of names."""
    needed = {*_IDS, *_POSITIONS, *(MOTIONS[0] if wanted.motion else ()), *wanted.errors}
    with open_hdf5(path, _MOST_BYTES, needed) as file:
        if any(name in file for name in _POSITIONS):
            yield _records({name: file[name] for name in needed if name in file}, path, wanted)
            return
        if not len(file):
            raise FormatError(f"{path} is empty.")
        for key in file:
            group = file[key]
            if not hasattr(group, "keys"):
                raise FormatError(f"{path} holds neither ra and dec, nor a group for each record, but {key!r}.")
            members = {name: group.attrs[name] for name in needed if name in group.attrs}
            members |= {name: group[name] for name in needed - members.keys() if name in group}
            yield _records(members, path, wanted)


def _records(members: dict[str, Any], path: Path, wanted: Wanted) -> pa.Table:
    """Arrays, or the values of one record, as a table of `object_id`, `ra`, `dec` and what else is wanted."""
    units = {name: _unit(member) for name, member in members.items()}
    arrays = {name: _values(member) for name, member in members.items()}
    given = Given(list(members), lambda names: as_table(arrays, names, str(path)))
    if not has_positions(given.columns, Choice()):
        raise FormatError(f"{path} has no ra and dec beside {', '.join(members) or 'what else it holds'}.")
    names = chosen(given, Choice(), wanted, str(path))
    table = prepared(given.read(names), names, units, str(path))
    ours = {"object_id": names.id, "ra": names.ra, "dec": names.dec}
    ours |= dict(zip(MOTIONS[0], names.pm or (), strict=False)) | {name: name for name in wanted.errors}
    return pa.table({new: table[old] for new, old in ours.items() if old})


def _values(member: Any) -> np.ndarray[Any, Any]:
    """A dataset or an attribute; one value is a column of one row."""
    values = np.atleast_1d(np.asarray(member[()] if hasattr(member, "id") else member))
    if values.dtype.kind != "O":
        return values
    return np.array([one.decode() if isinstance(one, bytes) else str(one) for one in values])


def _unit(member: Any) -> str:
    unit = getattr(member, "attrs", {}).get("units", "")
    return unit.decode() if isinstance(unit, bytes) else str(unit)


def _fingerprint(root: Path, paths: list[Path]) -> str:
    digest = xxhash.xxh3_128()
    for path in paths:
        facts = path.stat()
        digest.update(f"{path.relative_to(root)} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()
