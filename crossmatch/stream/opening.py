"""What was given to `stream` as samples: one dataset, several to be matched, a match made earlier, or its pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from crossmatch.stream.samples import Rows, Samples, Side, referenced, rows_of, side_of
from mmu.dataset import Dataset
from mmu.errors import UsageError
from mmu.remote.ranges import parquet
from mmu.schema.column import HEALPIX

SKY = HEALPIX.name


def open_samples(given: Any, rule: Mapping[str, Any]) -> Samples:
    """The objects to stream over.

    Args:
        given: an address, a dataset, an association; or a list, or mapping of names, of addresses and datasets.
        rule: how several are matched: arguments of `crossmatch`.

    Raises:
        UsageError: there is nothing there that can be streamed.
    """
    if isinstance(given, Mapping) or (isinstance(given, Sequence) and not isinstance(given, str)):
        many = dict(given) if isinstance(given, Mapping) else list(given)
        if len(many) > 1:
            return _matched(many, rule)
        if not many:
            raise UsageError("A stream needs a dataset, or several that are matched.")
        name, given = next(iter(many.items())) if isinstance(many, dict) else ("", many[0])
    else:
        name = ""
    samples = _known(given, name)
    region = rule.get("region", "all")
    return samples if region == "all" else samples.take(_inside(samples, region))


def _known(given: Any, name: str) -> Samples:
    """The samples of what needs no matching."""
    if isinstance(given, (str, Path)) and (match := _match_at(Path(given).expanduser())) is not None:
        folder, facts = match
        return _pairs(folder, facts) if "columns" in facts else _association(folder)
    if hasattr(given, "members") and hasattr(given, "tallies"):
        return _referenced(given)
    return _one(given, name)


def _inside(samples: Samples, region: str) -> np.ndarray[Any, Any]:
    """True for objects in a region; that of their first record decides."""
    from mmu.sky.region import parse_region

    wanted, found = parse_region(region), np.zeros(len(samples), bool)
    left = np.ones(len(samples), bool)
    for number, side in enumerate(samples.sides):
        here = left & (samples.leaf[number] >= 0)
        columns = [side.ra, side.dec]
        for leaf in np.unique(samples.leaf[number, here]).tolist():
            table = _columns(side.files[leaf], columns)
            mine = np.flatnonzero(here & (samples.leaf[number] == leaf))
            ra, dec = (table[name].to_numpy()[samples.row[number, mine]] for name in columns)
            found[mine] = wanted.contains(ra, dec)
        left &= ~here
    return found


def record_sky(samples: Samples, number: int) -> Rows:
    """Order-29 pixels of a dataset's records, (N,); -1 where it has none."""
    side, out = samples.sides[number], np.full(len(samples), -1, np.int64)
    for leaf in np.unique(samples.leaf[number][samples.leaf[number] >= 0]).tolist():
        mine = np.flatnonzero(samples.leaf[number] == leaf)
        out[mine] = _sky(side, side.files[leaf])[samples.row[number, mine]]
    return out


def _match_at(path: Path) -> tuple[Path, dict[str, Any]] | None:
    """The folder of a finished match, or of its pairs, and its account; None if there is no such thing."""
    for folder in (path / "association", path):
        account = folder / "_mmu" / "match.json"
        if account.is_file():
            return folder, json.loads(account.read_text(encoding="utf-8"))
    return None


def _matched(many: dict[str, Any] | list[Any], rule: Mapping[str, Any]) -> Samples:
    from crossmatch.api import crossmatch

    given = [many] if isinstance(many, dict) else many
    return _referenced(crossmatch(*given, **rule))


def _association(folder: Path) -> Samples:
    from crossmatch.association import open_association

    found = open_association(folder)
    found.check()
    return _referenced(found)


def _referenced(association: Any) -> Samples:
    """An association's rows; its datasets are opened where they were."""
    sides = [_side(member.name, member.address, member.fingerprint) for member in association.members]
    wanted = [SKY, *(f"{side.name}_{part}" for side in sides for part in ("order", "pixel", "row"))]
    wanted += [f"{side.name}_sep_arcsec" for side in sides[1:]]
    return referenced(sides, association.table(wanted), SKY)


def _side(name: str, address: Any, fingerprint: str = "") -> Side:
    """A dataset, by its address or open, as a side.

    Raises:
        UsageError: it is a table, which has no more than its positions.
    """
    from crossmatch.sources import Catalogue, Wanted, open_source
    from crossmatch.tables import without_rows

    source = open_source(name, address, Wanted()) if address else None
    if not isinstance(source, Catalogue):
        raise without_rows(name, address, "streamed")
    partitions = tuple(source.partitions)
    files = tuple(source.files(leaf) for leaf in partitions)
    names, schema = source.names, source.dataset.schema
    known = fingerprint or source.fingerprint
    return Side(name, partitions, files, schema, "", names.id, known, names.healpix, names.ra, names.dec)


def _pairs(folder: Path, facts: Mapping[str, Any]) -> Samples:
    """Pairs written out: every dataset's columns are in the same rows, each under a prefix."""
    dataset = Dataset(folder)
    names = facts["rule"]["names"]
    whole = side_of(names[0], dataset)
    kept = {"order", "pixel", "row", "sep_arcsec", "candidates", "flags", "rank", "id"}
    sides = []
    for name in names:
        dropped = {f"{name}_{one}" for one in kept}
        fields = [field for field in dataset.schema if field.name not in dropped and field.name.startswith(f"{name}_")]
        others = [other for other in names if other != name and other.startswith(f"{name}_")]
        fields = [field for field in fields if not any(field.name.startswith(f"{other}_") for other in others)]
        schema = pa.schema(fields)
        columns = {"id": f"{name}_id", "sky": "", "ra": f"{name}_ra", "dec": f"{name}_dec"}
        known = str(facts["rows"])
        sides.append(Side(name, whole.partitions, whole.files, schema, f"{name}_", fingerprint=known, **columns))
    wanted = [SKY, *(f"{name}_id" for name in names), *(f"{name}_sep_arcsec" for name in names[1:])]
    tables = [_columns(files, wanted) for files in whole.files]
    every = rows_of(whole, [len(table) for table in tables], [table[SKY].to_numpy() for table in tables])
    has = np.stack(
        [np.concatenate([_has(table[f"{name}_id"]) for table in tables] or [np.empty(0, bool)]) for name in names]
    )
    separation = np.zeros((len(names), len(every)), np.float32)
    for index, name in enumerate(names[1:], start=1):
        found = [table[f"{name}_sep_arcsec"].to_numpy() for table in tables]
        separation[index] = np.concatenate([*found, np.empty(0)])
    separation[~has] = np.nan
    leaf, row = np.where(has, every.leaf, -1).astype(np.int32), np.where(has, every.row, -1)
    return Samples(tuple(sides), every.sky, leaf, row, separation)


def _has(column: Any) -> np.ndarray[Any, Any]:
    return np.asarray(column.is_valid().to_numpy())


def _one(given: Any, name: str) -> Samples:
    """Every row of one dataset, under its own name if no other is given."""
    from crossmatch.sources import own_name

    side = _side(name, given) if name else _side(*own_name(given))
    keys = [_sky(side, files) for files in side.files]
    return rows_of(side, [len(one) for one in keys], keys)


def _sky(side: Side, files: Sequence[Any]) -> Rows:
    """Order-29 pixels of the rows of a partition."""
    if side.sky in side.schema.names:
        return np.asarray(_columns(files, [side.sky])[side.sky].to_numpy(), dtype=np.int64)
    from mmu.sky import healpix

    table = _columns(files, [side.ra, side.dec])
    ra, dec = (np.nan_to_num(column.to_numpy()) for column in table.columns)
    return healpix.pixel(ra, dec)


def _columns(files: Sequence[Any], names: Sequence[str]) -> Any:
    tables = []
    for place in files:
        with parquet(place) as file:
            tables.append(file.read(columns=list(names), use_threads=False))
    return pa.concat_tables(tables)
