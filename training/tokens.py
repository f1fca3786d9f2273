"""Token shards: what codecs make of a dataset, a HATS catalogue again.

    OUT/NAME/dataset/Norder=K/Dir=D/Npix=N.parquet      a row an object, in the order of the sky
        object_id, ra, dec, _healpix_29                 of the first dataset that has it
        NAME_id ...                                     of each dataset's record; null where it has none
        straddles                                       of matches: records, or objects that share them, are in two
                                                        cells that splits of the sky are made of
        tok_image, ...                                  fixed_size_list<int16>, or list<int16> of a sequence; or null

Ids are those of the model: a codec's, plus the modality's offset. The schema's metadata says which version of the
table of modalities, which codecs (their sha256) and which rows they are of.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from crossmatch.stream.choice import straddling
from crossmatch.stream.opening import open_samples, record_sky
from crossmatch.stream.samples import Samples, Side
from mmu.decoding import decode
from mmu.errors import UsageError, unknown
from mmu.remote.ranges import parquet
from mmu.schema.column import HEALPIX
from mmu.shards.parquet import Shard, checksum, write_shard
from mmu.sky.partition import Partition, locate, partition_tree
from training.codecs import ABSENT, Codec, digest, load
from training.inputs import encoded
from training.modalities import MODALITIES, Modality, Source, version
from training.token_shards import ABOUT, ROW_GROUP, about

PARTITION_ROWS = 100_000


@dataclass(frozen=True)
class Task:
    """One column of tokens of one dataset."""

    row: Modality
    side: int
    source: Source


@dataclass(frozen=True)
class Plan:
    """What is to be written.

    Attributes:
        tasks: a modality may come of several datasets: the first that has it counts.
        schema: of the shards.
        leaves: partitions; leaf: of each sample.
    """

    name: str
    samples: Samples
    tasks: tuple[Task, ...]
    codecs: Mapping[str, Codec]
    schema: pa.Schema
    leaves: tuple[Partition, ...]
    leaf: NDArray[np.int64]

    @cached_property
    def straddles(self) -> NDArray[np.bool_]:
        """Of each sample of a match, whether it is in two cells of the sky."""
        sky = [record_sky(self.samples, number) for number in range(len(self.samples.sides))]
        return straddling(self.samples, sky)


def plan(path: str, folder: Path, only: Sequence[str] | None = None) -> Plan:
    """What of a dataset, or of a match, the codecs in a folder make tokens of.

    Args:
        only: keys of modalities; all that there is a codec for if left out.

    Raises:
        UsageError: there is nothing to do, or an unknown key.
    """
    samples = open_samples(path, {})
    unknown_keys = [key for key in only or () if key not in MODALITIES]
    if unknown_keys:
        raise unknown("modality", unknown_keys[0], MODALITIES)
    found = (
        {child.name: child for child in sorted(folder.iterdir()) if (child / "config.json").is_file()}
        if folder.is_dir()
        else {}
    )
    tasks = tuple(
        Task(row, number, source)
        for row in MODALITIES.values()
        for number, side in enumerate(samples.sides)
        if (source := row.source(side.name)) is not None
        and row.codec in found
        and (only is None or row.key in only)
        and side.prefix + source.column in side.schema.names
    )
    if not tasks:
        have = f"codecs {', '.join(found)}" if found else "no codecs"
        raise UsageError(f"{path} has nothing that a codec in {folder} is of ({have}); see training/modalities.py.")
    used = list(dict.fromkeys(task.row.codec for task in tasks))
    about = {
        "modalities": version(task.row.key for task in tasks),
        "codecs": {name: digest(found[name]) for name in used},
        "of": {task.row.key: task.row.codec for task in tasks},
        "rows": {side.name: side.fingerprint for side in samples.sides},
    }
    if len(samples.sides) == 1:
        leaves, leaf = samples.sides[0].partitions, samples.leaf[0].astype(np.int64)
    else:
        leaves = tuple(partition_tree(samples.sky, 1, PARTITION_ROWS, PARTITION_ROWS))
        leaf = locate(samples.sky, list(leaves))
    name = Path(str(path).split("://")[-1]).name if len(samples.sides) > 1 else samples.sides[0].name
    loaded = {name: load(found[name]) for name in used}
    return Plan(name, samples, tasks, loaded, _schema(samples, tasks, about), leaves, leaf)


def _schema(samples: Samples, tasks: Sequence[Task], about: Mapping[str, Any]) -> pa.Schema:
    fields = [
        pa.field("object_id", pa.string(), nullable=False),
        pa.field("ra", pa.float64(), nullable=False),
        pa.field("dec", pa.float64(), nullable=False),
        pa.field(HEALPIX.name, pa.int64(), nullable=False),
        *(pa.field(f"{side.name}_id", pa.string()) for side in samples.sides),
        *([pa.field("straddles", pa.bool_(), nullable=False)] if len(samples.sides) > 1 else []),
    ]
    for row in dict.fromkeys(task.row for task in tasks):
        item = pa.field("element", pa.int16(), nullable=False)
        fields.append(pa.field(row.key, pa.list_(item, row.tokens) if row.kind == "grid" else pa.list_(item)))
    return pa.schema(fields, {ABOUT: json.dumps(about, sort_keys=True).encode()})


def tokenise(
    made: Plan, out: Path, *, batch: int = 64, threads: int = 1, settled: Callable[[Shard], None] = lambda shard: None
) -> list[Shard]:
    """Write the token shards of a plan below `out`/NAME; those that are there already stay.

    Args:
        batch: objects that are encoded at once. threads: partitions at a time.
        settled: called for each shard.

    Raises:
        UsageError: there are tokens of other codecs, or of other rows, in `out`.
    """
    folder = out / made.name
    _compatible(made, folder)
    numbers = np.unique(made.leaf).tolist()
    with ThreadPoolExecutor(max(1, threads)) as pool:
        shards = []
        for shard in pool.map(lambda number: _partition(made, folder, number, batch), numbers):
            settled(shard)
            shards.append(shard)
    from mmu.shards.catalogue import skymap, write_objects

    write_objects(folder, {"obs_title": f"tokens of {made.name}"}, made.schema, shards, skymap(made.samples.sky))
    return shards


def _compatible(made: Plan, folder: Path) -> None:
    """Refuse to mix tokens."""
    for path in sorted((folder / "dataset").glob("Norder=*/Dir=*/Npix=*.parquet")):
        old, new = about(path), json.loads(made.schema.metadata[ABOUT])
        if old != new:
            parts = [name for name in new if old.get(name) != new[name]]
            raise UsageError(f"{folder} has tokens of another kind ({', '.join(parts)} differ); give another --out.")
        return


def _partition(made: Plan, folder: Path, number: int, batch: int) -> Shard:
    leaf = made.leaves[number]
    path = folder / "dataset" / leaf.path
    if path.is_file() and pq.read_schema(path).equals(made.schema, check_metadata=True):
        metadata = pq.read_metadata(path)
        size = path.stat().st_size
        return Shard(leaf, metadata.num_rows, size, checksum(path), metadata.num_row_groups, metadata.num_rows)
    samples = np.flatnonzero(made.leaf == number)
    table = _table(made, samples, batch)
    rows, size, xxh3, groups = write_shard(path, [table], made.schema, ROW_GROUP)
    return Shard(leaf, rows, size, xxh3, groups, rows)


def _table(made: Plan, samples: NDArray[np.int64], batch: int) -> pa.Table:
    """The rows of a partition."""
    return _arrow(made, samples, *encode(made, samples, batch))


def encode(made: Plan, samples: NDArray[np.int64], batch: int) -> tuple[dict[str, NDArray[np.int16]], Any, Any]:
    """What codecs make of some samples.

    Returns:
        Key -> ids (samples, tokens), `ABSENT` where there are none; names (datasets, samples) of records, None where
        there are none; ra and dec (2, samples).
    """
    count = len(samples)
    ids = {task.row.key: np.full((count, task.row.tokens), ABSENT, np.int16) for task in made.tasks}
    names = np.full((len(made.samples.sides), count), None, dtype=object)
    positions = np.full((2, count), np.nan)
    for index, side in enumerate(made.samples.sides):
        tasks = [task for task in made.tasks if task.side == index]
        for places, decoded in _decoded(made, index, samples, tasks):
            names[index, places] = np.asarray(decoded[side.id], dtype=object)
            for axis, column in enumerate((side.ra, side.dec)):
                missing = np.isnan(positions[axis, places])
                positions[axis, places[missing]] = np.asarray(decoded[column])[missing]
            for task in tasks:
                codec = made.codecs[task.row.codec]
                values = decoded[side.prefix + task.source.column]
                known = encoded(codec, task.row, task.source, values, len(places), batch)
                own = ids[task.row.key]
                free = (own[places] == ABSENT).all(1)
                own[places[free]] = known[free]
    return ids, names, positions


def _decoded(
    made: Plan, index: int, samples: NDArray[np.int64], tasks: Sequence[Task]
) -> Iterator[tuple[NDArray[np.int64], dict[str, Any]]]:
    """Places among the samples, and a dataset's rows for them, a row group at a time."""
    side: Side = made.samples.sides[index]
    columns = list(dict.fromkeys([side.id, side.ra, side.dec, *(side.prefix + task.source.column for task in tasks)]))
    leaf, row = made.samples.leaf[index, samples], made.samples.row[index, samples]
    for number in np.unique(leaf[leaf >= 0]).tolist():
        first = 0
        for place in side.files[number]:
            with parquet(place) as file:
                for group in range(file.num_row_groups):
                    size = file.metadata.row_group(group).num_rows
                    here = np.flatnonzero((leaf == number) & (row >= first) & (row < first + size))
                    if len(here):
                        table = file.read_row_group(group, columns=columns).take(pa.array(row[here] - first))
                        yield here, decode(table.combine_chunks(), pictures=True)
                    first += size


def _arrow(
    made: Plan, samples: NDArray[np.int64], ids: Mapping[str, NDArray[np.int16]], names: Any, positions: Any
) -> pa.Table:
    columns: dict[str, Any] = {
        "object_id": pa.array([next(name for name in column if name is not None) for column in names.T], pa.string()),
        "ra": pa.array(positions[0]),
        "dec": pa.array(positions[1]),
        HEALPIX.name: pa.array(made.samples.sky[samples], pa.int64()),
        **{f"{s.name}_id": pa.array(list(names[i]), pa.string()) for i, s in enumerate(made.samples.sides)},
    }
    if "straddles" in made.schema.names:
        columns["straddles"] = pa.array(made.straddles[samples])
    for key, values in ids.items():
        there = (values != ABSENT).any(1)
        kind = made.schema.field(key).type
        if MODALITIES[key].kind == "grid":
            flat = pa.array(np.where(there[:, None], values, 0).reshape(-1))
            columns[key] = pa.FixedSizeListArray.from_arrays(flat, type=kind, mask=pa.array(~there))
        else:
            lengths = (values != ABSENT).sum(1)
            offsets = pa.array(np.r_[0, np.cumsum(lengths)].astype(np.int32), mask=np.r_[~there, False])
            columns[key] = pa.ListArray.from_arrays(offsets, pa.array(values[values != ABSENT]), type=kind)
    return pa.table([columns[name] for name in made.schema.names], schema=made.schema)
