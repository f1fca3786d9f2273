"""Token shards: what codecs make of a dataset, a HATS catalogue again.

    OUT/NAME/dataset/Norder=K/Dir=D/Npix=N.parquet      a row an object, in the order of the sky
        object_id, ra, dec, _healpix_29                 of the first dataset that has it
        NAME_id ...                                     of each dataset's record; null where it has none
        straddles                                       of matches: records, or objects that share them, are in two
                                                        cells that splits of the sky are made of
        view                                            of objects that are turned and mirrored: 0 to 7, a row each
        tok_image, ...                                  fixed_size_list<int16>, or list<int16> of a sequence; or null

Ids are those of the model: a codec's, plus the modality's offset. The schema's metadata says which version of the
table of modalities, which codecs (their sha256) and which rows they are of.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
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
from training.modalities import MODALITIES, VERSION, Modality, Source
from training.token_shards import ABOUT, ROW_GROUP, about
from training.views import VIEWS, has_direction, turned

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
        folder: of codecs.
        about: what the tokens are of, as their shards tell it.
        leaves: partitions; leaf: of each sample.
        straddles: of each sample of a match, whether it is in two cells that splits of the sky are made of.
        views: of each object, of `training.views`.
        device: where codecs run.
    """

    name: str
    samples: Samples
    tasks: tuple[Task, ...]
    folder: Path
    about: Mapping[str, Any]
    leaves: tuple[Partition, ...]
    leaf: NDArray[np.int64]
    straddles: NDArray[np.bool_]
    views: int = 1
    device: str = "cpu"

    @property
    def schema(self) -> pa.Schema:
        """Of the shards; made anew in each process: on its way there a schema forgets what is not nullable."""
        return _schema(self.samples, self.tasks, self.about)

    @property
    def codecs(self) -> dict[str, Codec]:
        """Codecs by their folders; loaded once in a process."""
        return {name: _loaded(self.folder / name, of, self.device) for name, of in self.about["codecs"].items()}

    def part(self, number: int) -> Plan:
        """What is to be written of one partition."""
        mine = np.flatnonzero(self.leaf == number)
        straddles = self.straddles[mine] if len(self.straddles) else self.straddles
        leaves = (self.leaves[number],)
        return replace(
            self, samples=self.samples.take(mine), leaves=leaves, leaf=0 * self.leaf[mine], straddles=straddles
        )


@lru_cache(64)
def _loaded(folder: Path, digest: str, device: str) -> Codec:
    """A codec on a device; the digest tells it from another one that was there before."""
    codec = load(folder)
    codec.to(device)
    return codec


def plan(path: str, folder: Path, only: Sequence[str] | None = None, *, views: int = 1, device: str = "cpu") -> Plan:
    """What of a dataset, or of a match, the codecs in a folder make tokens of.

    Args:
        only: keys of modalities; all that there is a codec for if left out.
        views: 1, or 8 for objects turned and mirrored too.
        device: where codecs run.

    Raises:
        UsageError: there is nothing to do, or an unknown key.
    """
    if views not in (1, VIEWS):
        raise UsageError(f"{views} views: give 1, or {VIEWS} for those turned by quarters and mirrored.")
    samples = open_samples(path, {})
    unknown_keys = [key for key in only or () if key not in MODALITIES]
    if unknown_keys:
        raise unknown("modality", unknown_keys[0], MODALITIES)
    found = sorted(child.name for child in folder.glob("*") if (child / "config.json").is_file())
    tasks = _tasks(samples, found, only)
    if not tasks:
        have = f"codecs {', '.join(found)}" if found else "no codecs"
        raise UsageError(f"{path} has nothing that a codec in {folder} is of ({have}); see training/modalities.py.")
    about = {
        "modalities": VERSION,
        "codecs": {name: digest(folder / name) for name in dict.fromkeys(task.row.codec for task in tasks)},
        "of": {task.row.key: task.row.codec for task in tasks},
        "rows": {side.name: side.fingerprint for side in samples.sides},
        **({"views": views} if views > 1 else {}),
    }
    straddles = np.zeros(0, bool)
    if len(samples.sides) == 1:
        name, leaves, leaf = samples.sides[0].name, samples.sides[0].partitions, samples.leaf[0].astype(np.int64)
    else:
        name = Path(str(path).split("://")[-1]).name
        leaves = tuple(partition_tree(samples.sky, 1, PARTITION_ROWS // views, PARTITION_ROWS // views))
        leaf = locate(samples.sky, list(leaves))
        straddles = straddling(samples, [record_sky(samples, number) for number in range(len(samples.sides))])
    return Plan(name, samples, tasks, folder, about, leaves, leaf, straddles, views, device)


def _tasks(samples: Samples, codecs: Sequence[str], only: Sequence[str] | None) -> tuple[Task, ...]:
    return tuple(
        Task(row, number, source)
        for row in MODALITIES.values()
        for number, side in enumerate(samples.sides)
        if (source := row.source(side.name)) is not None
        and row.codec in codecs
        and (only is None or row.key in only)
        and side.prefix + source.column in side.schema.names
    )


def _schema(samples: Samples, tasks: Sequence[Task], about: Mapping[str, Any]) -> pa.Schema:
    fields = [
        pa.field("object_id", pa.string(), nullable=False),
        pa.field("ra", pa.float64(), nullable=False),
        pa.field("dec", pa.float64(), nullable=False),
        pa.field(HEALPIX.name, pa.int64(), nullable=False),
        *(pa.field(f"{side.name}_id", pa.string()) for side in samples.sides),
        *([pa.field("straddles", pa.bool_(), nullable=False)] if len(samples.sides) > 1 else []),
        *([pa.field("view", pa.int8(), nullable=False)] if about.get("views", 1) > 1 else []),
    ]
    for row in dict.fromkeys(task.row for task in tasks):
        item = pa.field("element", pa.int16(), nullable=False)
        fields.append(pa.field(row.key, pa.list_(item, row.tokens) if row.kind == "grid" else pa.list_(item)))
    return pa.schema(fields, {ABOUT: json.dumps(about, sort_keys=True).encode()})


def tokenise(
    made: Plan,
    out: Path,
    *,
    batch: int = 64,
    threads: int = 1,
    where: Any = None,
    settled: Callable[[Shard], None] = lambda shard: None,
) -> list[Shard]:
    """Write the token shards of a plan below `out`/NAME; those that are there already stay.

    Args:
        batch: objects that are encoded at once. threads: partitions at a time.
        where: a `crossmatch.work.Where`, for processes or a Dask cluster instead of threads.
        settled: called for each shard.

    Raises:
        UsageError: there are tokens of other codecs, or of other rows, in `out`.
        MmuError: some partitions could not be done; the others are kept.
    """
    from crossmatch.work import Threads, Work
    from mmu.shards.catalogue import skymap, write_objects

    folder = out / made.name
    _compatible(made, folder)
    shards: dict[Partition, Shard] = {}

    def finished(shard: Shard | None) -> None:
        assert shard is not None
        shards[shard.partition] = shard
        settled(shard)

    executor = Threads(max(1, threads)) if where is None else where.executor(len(made.samples))
    numbers = np.unique(made.leaf).tolist()
    try:
        todo = ((made.leaves[number], (made.part(number), folder, batch)) for number in numbers)
        Work(write_part, executor, finished).run(todo)
    finally:
        executor.close()
    written = [shards[made.leaves[number]] for number in numbers]
    write_objects(folder, {"obs_title": f"tokens of {made.name}"}, made.schema, written, skymap(made.samples.sky))
    return written


def _compatible(made: Plan, folder: Path) -> None:
    """Refuse to mix tokens."""
    for path in sorted((folder / "dataset").glob("Norder=*/Dir=*/Npix=*.parquet")):
        old, new = about(path), json.loads(made.schema.metadata[ABOUT])
        if old != new:
            parts = [name for name in new if old.get(name) != new[name]]
            raise UsageError(f"{folder} has tokens of another kind ({', '.join(parts)} differ); give another --out.")
        return


def write_part(made: Plan, folder: Path, batch: int) -> Shard:
    """Write the shard of a plan of one partition, if it is not there; runs in a worker."""
    (leaf,) = made.leaves
    path, schema = folder / "dataset" / leaf.path, made.schema
    if path.is_file() and pq.read_schema(path).equals(schema, check_metadata=True):
        metadata = pq.read_metadata(path)
        size, count = path.stat().st_size, metadata.num_rows
        return Shard(leaf, count, size, checksum(path), metadata.num_row_groups, count // made.views)
    table = _arrow(made, *encode(made, np.arange(len(made.samples)), batch))
    rows, size, xxh3, groups = write_shard(path, [table], schema, ROW_GROUP)
    return Shard(leaf, rows, size, xxh3, groups, rows // made.views)


def encode(made: Plan, samples: NDArray[np.int64], batch: int) -> tuple[dict[str, NDArray[np.int16]], Any, Any]:
    """What codecs make of some samples.

    Returns:
        Key -> ids (samples, views, tokens), `ABSENT` where there are none; names (datasets, samples) of records,
        None where there are none; ra and dec (2, samples).
    """
    count = len(samples)
    ids = {task.row.key: np.full((count, made.views, task.row.tokens), ABSENT, np.int16) for task in made.tasks}
    codecs = made.codecs
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
                own = ids[task.row.key]
                known = _in_views(made, task, codecs[task.row.codec], decoded, len(places), batch)
                free = (own[places] == ABSENT).all((1, 2))
                own[places[free]] = known[free]
    return ids, names, positions


def _in_views(
    made: Plan, task: Task, codec: Codec, decoded: Mapping[str, Any], count: int, batch: int
) -> NDArray[np.int16]:
    """Ids of rows of a dataset in all views, (rows, views, tokens)."""
    kind, column = codec.kind, task.source.column
    values = decoded[made.samples.sides[task.side].prefix + column]
    out = np.full((count, made.views, task.row.tokens), ABSENT, np.int16)
    for view in range(made.views if has_direction(kind, column) else 1):
        if (seen := turned(kind, column, values, view)) is not None:
            out[:, view] = encoded(codec, task.row, task.source, seen, count, batch)
    return out if has_direction(kind, column) else np.broadcast_to(out[:, :1], out.shape)


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


def _arrow(made: Plan, ids: Mapping[str, NDArray[np.int16]], names: Any, positions: Any) -> pa.Table:
    """The rows of a partition: an object's views one after another."""
    views, schema = made.views, made.schema
    first = [next(name for name in column if name is not None) for column in names.T]
    columns: dict[str, Any] = {
        "object_id": pa.array(np.repeat(np.array(first, object), views), pa.string()),
        "ra": pa.array(np.repeat(positions[0], views)),
        "dec": pa.array(np.repeat(positions[1], views)),
        HEALPIX.name: pa.array(np.repeat(made.samples.sky, views), pa.int64()),
        "straddles": pa.array(np.repeat(made.straddles, views)),
        "view": pa.array(np.tile(np.arange(views, dtype=np.int8), len(first))),
        **{f"{s.name}_id": pa.array(np.repeat(names[i], views), pa.string()) for i, s in enumerate(made.samples.sides)},
    }
    for key, values in ids.items():
        columns[key] = _lists(values.reshape(-1, values.shape[2]), MODALITIES[key], schema.field(key).type)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _lists(values: NDArray[np.int16], row: Modality, kind: Any) -> Any:
    """Ids as a column; null where there are none."""
    there = (values != ABSENT).any(1)
    if row.kind == "grid":
        flat = pa.array(np.where(there[:, None], values, 0).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, type=kind, mask=pa.array(~there))
    lengths = (values != ABSENT).sum(1)
    offsets = pa.array(np.r_[0, np.cumsum(lengths)].astype(np.int32), mask=np.r_[~there, False])
    return pa.ListArray.from_arrays(offsets, pa.array(values[values != ABSENT]), type=kind)
