"""Multimodal Universe v1's own files as a source; see `mmu.v1`. Only ids and positions are read.

Positions decide where a record is, not the folder that it lies in; `order` is 4, `pixel` the folder's number, and `row`
counts through the pixel's files in the order of their names.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from crossmatch.places import Names, as_places, in_sky_order, one_row_each
from crossmatch.roles import Choice, Given, chosen, prepared
from crossmatch.sources import Memory, Wanted
from mmu.sky.partition import Partition
from mmu.v1 import V1Dataset, open_v1


def from_v1(name: str, given: str | Path | V1Dataset, wanted: Wanted) -> Memory:
    """A source from a v1 tree.

    Raises:
        UsageError: the folder holds several releases, or a record has no id or position.
        FormatError: a file is damaged, points elsewhere, or is in none of the layouts.
    """
    dataset = given if isinstance(given, V1Dataset) else open_v1(given)
    root = dataset.path.absolute()
    units = {field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in dataset.schema}
    tables = Given(dataset.columns, lambda names: dataset.table(names.columns), units)
    names = chosen(tables, Choice(), wanted, str(root))
    found = [_places(dataset, leaf, names, units) for leaf in dataset.partitions]
    places = one_row_each(in_sky_order(pa.concat_tables(found)))
    return Memory(name, str(root), places, dataset.fingerprint, wanted.epoch)


def _places(dataset: V1Dataset, leaf: Partition, names: Names, units: dict[str, str]) -> pa.Table:
    """The places of all records in one pixel's folder."""
    where = str(dataset.files(leaf)[0].parent)
    table = prepared(dataset.pixel(leaf, names.columns), names, units, where)
    return as_places(table, names, where, np.arange(len(table)), leaf)
