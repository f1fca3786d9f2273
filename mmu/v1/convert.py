"""A v1 tree written anew as a dataset of ours: shards in the order of the sky, catalogue files, a card.

    OUT/README.md      the card
    OUT/RELEASE/       a HATS catalogue as a build writes it, without margin and ledger: what v1 left out is not known

Ids and positions of all records are in memory, 100 bytes each; of the rest a row group at a time.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml

from mmu.build.progress import Progress
from mmu.dataset import Dataset
from mmu.errors import UsageError
from mmu.schema.arrow import arrow_schema
from mmu.schema.column import HEALPIX
from mmu.schema.document import column_table
from mmu.schema.features import features_yaml
from mmu.shards.catalogue import skymap, write_objects
from mmu.shards.parquet import Shard, rows_per_group, write_groups, write_text
from mmu.sky import healpix
from mmu.sky.partition import partition_tree
from mmu.v1.dataset import V1Dataset

PARTITION_BYTES = 1 << 30

_WORDS = f"""Names and numbers are those of the files; `{HEALPIX.name}` was added. Images and spectra are gathered into
structs, without the padding that names of bands and wavelengths tell from data. What v1's builders got wrong is as
they left it: `mmu build` makes such a dataset anew from the survey's own files.

The licence is that of the survey; cite it, and the Multimodal Universe (arXiv:2412.02527)."""


def convert(
    tree: V1Dataset, out: Path, partition_bytes: int = PARTITION_BYTES, progress: Progress | None = None
) -> Dataset:
    """Write a v1 tree as a dataset below `out`; a run that was stopped begins anew.

    Raises:
        UsageError: `out` holds that release already, or a record has no position.
        FormatError: a file is damaged, or unlike the first.
    """
    folder, unfinished = out / tree.release, out / f".{tree.release}.converting"
    if folder.exists():
        raise UsageError(f"{folder} is there already; give another --out, or remove it.")
    shutil.rmtree(unfinished, ignore_errors=True)
    places = _Places(tree)
    schema, width = arrow_schema(tree.exact_schema), tree.bytes_per_row
    rows, shards = rows_per_group(schema, width, None), []
    with (progress or Progress(quiet=True)).phase("converting", "objects", len(places.sky)) as phase:
        for leaf in partition_tree(places.sky, width, partition_bytes):
            first, last = np.searchsorted(places.sky, leaf.span).tolist()
            written = write_groups(unfinished / "dataset" / leaf.path, places.tables(first, last, rows, schema), schema)
            shards.append(Shard(leaf, *written, written[0]))
            phase.advance(last - first, last - first)
    about = {"obs_title": f"{tree.release}, from Multimodal Universe v1"}
    write_objects(unfinished, about, schema, shards, skymap(places.sky))
    unfinished.rename(folder)
    write_text(out / "README.md", _card(out.name, tree))
    return Dataset(folder)


class _Places:
    """Where each record is, in the order of the sky: its file and its number there."""

    def __init__(self, tree: V1Dataset) -> None:
        self.tree = tree
        self.paths = [path for leaf in tree.partitions for path in tree.files(leaf)]
        tables = [tree.of_file(path, ["object_id", "ra", "dec"]) for path in self.paths]
        whole = pa.concat_tables(tables)
        ra, dec = whole["ra"].to_numpy(), whole["dec"].to_numpy()
        bad = np.flatnonzero(~healpix.valid(ra, dec))
        if len(bad):
            name = whole["object_id"][int(bad[0])]
            raise UsageError(f"{tree.path}: {len(bad)} of {len(ra)} records have no position; the first is {name}.")
        sky = healpix.pixel(ra, dec)
        ids = np.asarray(whole["object_id"].to_numpy(), dtype=np.str_)
        order = np.lexsort((ids, sky))
        sizes = [len(table) for table in tables]
        self.sky = sky[order]
        self.file = np.repeat(np.arange(len(sizes)), sizes)[order]
        self.row = np.concatenate([np.arange(size) for size in sizes])[order]

    def tables(self, first: int, last: int, rows: int, schema: pa.Schema) -> Iterator[pa.Table]:
        """The records `first` to `last` - 1, so many at a time."""
        for start in range(first, last, rows):
            yield self._table(slice(start, min(start + rows, last)), schema)

    def _table(self, here: slice, schema: pa.Schema) -> pa.Table:
        file, row, pieces = self.file[here], self.row[here], []
        by_file = np.argsort(file, kind="stable")
        for number in np.unique(file):
            pieces.append(self.tree.rows_at(self.paths[number], row[by_file][file[by_file] == number], "all"))
        back = np.empty_like(by_file)
        back[by_file] = np.arange(len(by_file))
        table = pa.concat_tables(pieces).take(pa.array(back)).combine_chunks()
        return pa.Table.from_arrays([pa.array(self.sky[here]), *table.columns], schema=schema)


def _card(name: str, tree: V1Dataset) -> str:
    """What `datasets` needs to know, and what a reader does."""
    columns, release = tree.exact_schema, tree.release
    glob = f"{release}/dataset/Norder=*/Dir=*/Npix=*.parquet"
    head = {
        "pretty_name": f"{name}, from Multimodal Universe v1",
        "tags": ["astronomy", "multimodal-universe", "hats", *columns.modalities],
        "configs": [{"config_name": release, "data_files": [{"split": "train", "path": glob}], "default": True}],
        "dataset_info": [{"config_name": release, "features": features_yaml(columns)}],
    }
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=120)}---",
        f"# {name}",
        f"Converted from Multimodal Universe v1's HDF5 files, release `{release}`: {len(tree):,} records.\n{_WORDS}",
        "\n".join(f"- `{one}` was left out: {why}" for one, why in tree.left_out.items()),
        "## Columns\n\n" + column_table(columns),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
