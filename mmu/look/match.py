"""Matches (`mmu crossmatch`): the objects of several datasets, to be looked at side by side.

A match is a folder OUT with `association`, and `pairs` where the records were written out too; either folder will do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmu.dataset import Dataset
from mmu.decoding import decode
from mmu.errors import UsageError
from mmu.look.choose import known, no_such
from mmu.look.draw import EVERYTHING
from mmu.look.subject import Subject, read, rows
from mmu.opening import open as open_dataset

_ACCOUNT = Path("_mmu", "match.json")
Opener = Callable[[str], Dataset]


@dataclass(frozen=True)
class Match:
    """A match on disk.

    Attributes:
        dataset: the association, or the pairs.
        addresses: name of each dataset -> where it was, the anchor first.
        objects: a row an object: object_id, datasets, and NAME_id, NAME_sep_arcsec for each dataset.
        materialised: are the records themselves in `dataset`?
    """

    dataset: Dataset
    addresses: Mapping[str, str]
    objects: pa.Table
    materialised: bool

    def best(self) -> int:
        """The row of an object that most datasets have."""
        return int(np.argmax(self.objects["datasets"].to_numpy()))

    def random(self, count: int, seed: int = 0) -> list[int]:
        """Rows at random, of objects that more than one dataset has where there are any."""
        seen = self.objects["datasets"].to_numpy()
        several = np.flatnonzero(seen > 1) if (seen > 1).any() else np.arange(len(seen))
        chosen = np.random.default_rng(seed).choice(several, min(count, len(several)), replace=False)
        return [int(one) for one in chosen]

    def row_of(self, one: str) -> int:
        """The row of the object that has this id, in the match or in any of its datasets.

        Raises:
            UsageError: there is none.
        """
        columns = ["object_id", *(f"{name}_id" for name in self.addresses)]
        ids = [self.objects[name].to_pylist() for name in columns]
        for values in ids:
            if one in values:
                return int(values.index(one))
        there = [value for values in ids for value in values if value is not None]
        raise no_such(f"The match of {' and '.join(self.addresses)}", one, there)

    def subjects(self, row: int, opener: Opener = open_dataset) -> list[Subject]:
        """The object of a row in every dataset that has it.

        Raises:
            UsageError: a dataset is not where it was, or has not this object any more.
        """
        record = self.objects.slice(row, 1).to_pylist()[0]
        seen = [name for name in self.addresses if record[f"{name}_id"] is not None]
        apart = {name: record.get(f"{name}_sep_arcsec") for name in seen}
        if self.materialised:
            return self._from_pairs(record, apart)
        found = []
        for name in seen:
            try:
                dataset = opener(self.addresses[name])
            except UsageError as problem:
                raise UsageError(
                    f"{name}, a dataset of the match, cannot be opened (--data says where): {problem}"
                ) from problem
            one = read(dataset, [record[f"{name}_id"]], EVERYTHING, name)[0]
            found.append(Subject(one.survey, one.release, one.fields, one.record, apart[name]))
        return found

    def _from_pairs(self, record: Mapping[str, Any], apart: Mapping[str, float | None]) -> list[Subject]:
        table = known(self.dataset, [record["object_id"]], self.dataset.columns)
        wanted = {f"{name}_id": record[f"{name}_id"] for name in apart}
        pairs = (one for one in rows(decode(table, pictures=True), len(table)))
        pair = next(one for one in pairs if all(one[key] == value for key, value in wanted.items()))
        found = []
        for name, separation in apart.items():
            own = own_columns(self.dataset.columns, name, list(self.addresses))
            fields = {short: self.dataset.schema.field(full).with_name(short) for short, full in own.items()}
            values = {short: pair[full] for short, full in own.items()}
            values |= {"object_id": record[f"{name}_id"]}
            values |= {axis: values.get(axis, pair[axis]) for axis in ("ra", "dec")}
            found.append(Subject(name, "", fields, values, separation))
        return found


def own_columns(columns: Sequence[str], name: str, names: Sequence[str]) -> dict[str, str]:
    """A dataset's columns among those of pairs: own name -> `NAME_COLUMN`; the longest NAME that fits has it."""
    longer = [f"{other}_" for other in names if other.startswith(f"{name}_")]
    own = [one for one in columns if one.startswith(f"{name}_") and not one.startswith(tuple(longer))]
    return {one.removeprefix(f"{name}_"): one for one in own}


def open_match(path: Path) -> Match | None:
    """A match's folder, or one of those in it; None if it is no match.

    The association is preferred, with the datasets where they were; the pairs are taken if a dataset is not there.

    Raises:
        UsageError: its account cannot be read.
    """
    folders = [path / "association", path / "pairs"] if (path / "association" / _ACCOUNT).is_file() else [path]
    there = [folder for folder in folders if (folder / _ACCOUNT).is_file()]
    if not there:
        return None
    found = [_opened(folder) for folder in there]
    try:
        for address in found[0].addresses.values():
            open_dataset(address)
    except UsageError:
        return found[-1]
    return found[0]


def _opened(folder: Path) -> Match:
    try:
        facts = json.loads((folder / _ACCOUNT).read_text(encoding="utf-8"))
        addresses = {str(one["name"]): str(one["address"]) for one in facts["members"]}
    except (ValueError, LookupError, TypeError) as problem:
        msg = f"{folder / _ACCOUNT} cannot be read ({problem}); make the match anew."
        raise UsageError(msg) from problem
    dataset = open_dataset(folder)
    wanted = ["object_id", "datasets", *(f"{name}_id" for name in addresses)]
    wanted += [f"{name}_sep_arcsec" for name in addresses if f"{name}_sep_arcsec" in dataset.columns]
    first = next(iter(addresses))
    whole = f"{first}_row" not in dataset.columns  # pairs hold the records, not where they are
    return Match(dataset, addresses, dataset.table(wanted), whole)
