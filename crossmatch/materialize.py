"""Pairs as one dataset: every matched object with the columns of all its records, itself a dataset like any other.

    OUT/pairs/     a HATS catalogue: what the association says, then each dataset's columns as `NAME_COLUMN`

Partitions are cut anew, for rows of that size; each row group is gathered from the datasets' shards and written, so no
more than a few row groups of each are in memory.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from crossmatch.association import PAIRS, Association, facts_of, read_facts
from crossmatch.finish import drop_leftovers, put_in_place, write_account
from crossmatch.gather import Gather
from crossmatch.pairs import Layout, as_written, lay_out
from crossmatch.places import SKY
from crossmatch.work import Where, Work
from mmu.build.files import write_json
from mmu.build.hold import hold
from mmu.build.journal import Journal, read_journal
from mmu.build.progress import Progress
from mmu.dataset import Dataset
from mmu.shards.catalogue import skymap, write_objects
from mmu.shards.parquet import Shard, rows_per_group, write_groups
from mmu.sky.partition import Partition, partition_tree

PARTITION_BYTES = 1 << 30


def materialize(
    association: Association,
    columns: Sequence[str] | None = None,
    partition_bytes: int = PARTITION_BYTES,
    where: Where | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Write the pairs of an association on disk beside it; what an earlier run wrote is not written again.

    Args:
        columns: which of the datasets' columns, as NAME.COLUMN; all if not given.
        partition_bytes: largest shard, before compression.

    Raises:
        UsageError: a dataset changed since it was matched, or cannot be written out; see `lay_out`.
        MmuError: parts of it failed; the others are kept, and the same call tries those again.
    """
    where, progress = where or Where(), progress or Progress(quiet=True)
    source = association.dataset
    association.check()
    layout = lay_out(association, columns)
    out = source.path.parent
    folder, work = out / PAIRS, out / ".pairing"
    members = [asdict(member) for member in association.members]
    identity = {"rule": facts_of(association.rule), "members": members,
                "columns": layout.schema.names, "partition_bytes": partition_bytes}  # fmt: skip
    with hold(out / ".matching.lock"):
        if (facts := read_facts(folder)) is not None and all(facts.get(key) == identity[key] for key in identity):
            drop_leftovers(work, folder)
            return Dataset(folder)
        started = work / "identity.json"
        if not started.is_file() or json.loads(started.read_text(encoding="utf-8")) != identity:
            shutil.rmtree(work, ignore_errors=True)
        write_json(started, identity)
        made = work / PAIRS
        shards = _write(source, layout, made / "dataset", partition_bytes, where, progress)
        _finish(association, layout, shards, source, made, identity)
        put_in_place(made, folder)
    return Dataset(folder)


def _write(
    source: Dataset, layout: Layout, dataset: Path, partition_bytes: int, where: Where, progress: Progress
) -> list[Shard]:
    """Write every shard that an earlier run did not; all of them, in the order of the sky."""
    sky = source.table([SKY])[SKY].to_numpy()
    leaves = partition_tree(sky, layout.bytes_per_row, partition_bytes)
    path = dataset.parent.parent / "journal.jsonl"
    done = {shard.partition: shard for shard in _settled(path, dataset)}
    todo = [leaf for leaf in leaves if leaf not in done]
    journal, executor = Journal(path), where.executor(len(sky))
    try:
        with progress.phase("writing pairs", "shards", len(todo)) as phase:

            def finished(shard: Shard | None) -> None:
                assert shard is not None
                counts = {k: v for k, v in asdict(shard).items() if k != "partition"}
                journal.add(shard=[shard.partition.order, shard.partition.pixel], written=counts)
                done[shard.partition] = shard
                phase.advance(objects=shard.rows)

            Work(write_pairs, executor, finished).run((leaf, (leaf, source.path, layout, dataset)) for leaf in todo)
    finally:
        executor.close()
        journal.close()
    return [done[leaf] for leaf in leaves]


def _settled(journal: Path, dataset: Path) -> Iterator[Shard]:
    for entry in read_journal(journal):
        shard = Shard(Partition(*entry["shard"]), **entry["written"])
        path = dataset / shard.partition.path
        if path.is_file() and path.stat().st_size == shard.bytes:
            yield shard


def write_pairs(leaf: Partition, association: Path, layout: Layout, dataset: Path) -> Shard:
    """Write one shard of pairs; runs in a worker.

    Raises:
        FormatError: a dataset's shard cannot be read, or has not the rows it had.
    """
    rows = _rows_of(Dataset(association), leaf)
    schema = layout.arrow
    size = rows_per_group(schema, layout.bytes_per_row, None)
    gathers = [Gather(side.folder, side.columns, side.schema) for side in layout.sides]
    groups = (_group(rows.slice(start, size), layout, gathers, schema) for start in range(0, len(rows), size))
    count, written, digest, number = write_groups(dataset / leaf.path, groups, schema)
    return Shard(leaf, count, written, digest, number, count)


def _rows_of(association: Dataset, leaf: Partition) -> pa.Table:
    """The objects of an association in one pixel, in the order of the sky."""
    low, high = leaf.span
    tables = []
    import pyarrow.parquet as pq

    for partition in association.partitions:
        if partition.span[0] < high and low < partition.span[1]:
            table = pq.read_table(association.shard(partition), partitioning=None)
            sky = table[SKY].to_numpy()
            first, last = np.searchsorted(sky, [low, high])
            tables.append(table.slice(first, last - first))
    return pa.concat_tables(tables).combine_chunks()


def _group(rows: pa.Table, layout: Layout, gathers: Sequence[Gather], schema: pa.Schema) -> pa.Table:
    columns: dict[str, Any] = {name: rows[name] for name in layout.kept}
    for side, gather in zip(layout.sides, gathers, strict=True):
        place = (_integers(rows[f"{side.name}_{reference}"]) for reference in ("order", "pixel", "row"))
        columns |= as_written(gather(*place), side, schema)
    arrays = [pa.chunked_array(columns[field.name].chunks, field.type).combine_chunks() for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _integers(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Numbers as int64, -1 where there is none."""
    return np.asarray(column.fill_null(-1).to_numpy(), dtype=np.int64)


def _finish(
    association: Association,
    layout: Layout,
    shards: Sequence[Shard],
    source: Dataset,
    made: Path,
    identity: dict[str, Any],
) -> None:
    """Catalogue files and account of the pairs."""
    rule = association.rule
    about = {
        "obs_title": f"{' x '.join(rule.names)}: pairs within {rule.radius_arcsec:g} arcsec",
        "hats_cols_default": " ".join(layout.schema.scalars),
    }
    write_objects(made, about, layout.arrow, shards, skymap(source.table([SKY])[SKY].to_numpy()))
    facts = {
        **identity,
        "tallies": [asdict(tally) for tally in association.tallies],
        "rows": sum(shard.rows for shard in shards),
        "bytes": sum(shard.bytes for shard in shards),
        "command": f"{association.command} --materialize",
    }
    write_account(made, shards, facts)
