"""The columns of a dataset of pairs: what the association says of an object, and `NAME_COLUMN` of each dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from crossmatch.association import Association
from crossmatch.columns import association_schema
from crossmatch.tables import is_table, is_v1, without_rows
from mmu.dataset import Dataset
from mmu.errors import UsageError, unknown
from mmu.opening import open as open_dataset
from mmu.remote.addresses import is_remote
from mmu.remote.listing import RemoteFolder
from mmu.remote.ranges import parquet
from mmu.schema.arrow import arrow_schema, column_of
from mmu.schema.column import HEALPIX, Schema

_REFERENCES = ("order", "pixel", "row")


@dataclass(frozen=True)
class Side:
    """One dataset of the pairs: where its rows are, and which of its columns are taken."""

    name: str
    folder: Path | RemoteFolder
    columns: tuple[str, ...]
    schema: pa.Schema = field(compare=False)


@dataclass(frozen=True)
class Layout:
    """What a shard of pairs holds.

    `kept` are the columns taken from the association, `sides` those from the datasets.
    """

    schema: Schema
    kept: tuple[str, ...]
    sides: tuple[Side, ...]
    bytes_per_row: int

    @property
    def arrow(self) -> pa.Schema:
        return arrow_schema(self.schema)


def lay_out(association: Association, columns: Sequence[str] | None = None) -> Layout:
    """The columns of the pairs of an association.

    Args:
        columns: which of the datasets' columns, as NAME.COLUMN; all if not given.

    Raises:
        UsageError: a dataset is only a table, has several rows an object, or has no such column; two columns would have
            one name.
    """
    known = association_schema(association.rule)
    dropped = {f"{name}_{reference}" for name in association.rule.names for reference in _REFERENCES}
    made = [column for column in known if column.name not in dropped]
    kept = tuple(column.name for column in made)
    sides, width = [], 64
    for member in association.members:
        dataset = whole_rows(member.name, member.address)
        taken = _taken(member.name, dataset, columns)
        sides.append(Side(member.name, dataset.folder, taken, dataset.schema))
        width += _width(dataset, taken)
        absent = member.name not in association.rule.needed
        for name in taken:
            column = column_of(dataset.schema.field(name))
            made.append(replace(column, name=f"{member.name}_{name}", nullable=absent or column.nullable))
    names = [column.name for column in made]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"Two columns would be called {twice[0]!r}; give one of the datasets another name: OTHER=ADDRESS."
        )
    return Layout(Schema(tuple(made)), (HEALPIX.name, *kept), tuple(sides), width)


def whole_rows(name: str, address: str) -> Dataset:
    """The dataset at an address, if its records can be written out.

    Raises:
        UsageError: it is a table, or has several rows an object.
    """
    path = Path(address)
    if not address or (not is_remote(address) and (is_table(path) or is_v1(path))):
        raise without_rows(name, address, "written out")
    dataset = open_dataset(address)
    if (rows := dataset.ledger) is not None and rows["rows"].to_pylist() != rows["objects"].to_pylist():
        raise UsageError(f"{name} ({dataset.release}) has several rows an object; take a release that has one.")
    return dataset


def _taken(name: str, dataset: Dataset, columns: Sequence[str] | None) -> tuple[str, ...]:
    everything = [column for column in dataset.columns if column != HEALPIX.name]
    if columns is None:
        return tuple(everything)
    wanted = [column.partition(".")[2] for column in columns if column.partition(".")[0] == name]
    for column in wanted:
        if column not in everything:
            raise unknown(f"column of {name}", column, everything)
    return tuple(dict.fromkeys(wanted))


def _width(dataset: Dataset, columns: Sequence[str]) -> int:
    """Bytes of a row's columns before compression, from the first shard's account of itself."""
    for leaf in dataset.partitions[:1]:
        with parquet(dataset.files(leaf)[0]) as file:
            metadata = file.metadata
        total = 0
        for group in range(metadata.num_row_groups):
            for number in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(number)
                if chunk.path_in_schema.split(".")[0] in columns:
                    total += chunk.total_uncompressed_size
        return int(total // max(metadata.num_rows, 1))
    return 0


def as_written(table: pa.Table, side: Side, schema: pa.Schema) -> dict[str, pa.ChunkedArray]:
    """A dataset's columns under the names and in the types that the pairs have."""
    out = {}
    for name in side.columns:
        field = schema.field(f"{side.name}_{name}")
        column = table[name]
        out[field.name] = column if column.type == field.type else column.cast(field.type)
    return out
