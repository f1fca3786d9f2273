"""What of a dataset or of a match is to be made tokens: tasks, codecs, the schema of the shards, their partitions.

made = plan("data/ls_x_desi", Path("codecs"), views=8)
made.tasks, made.schema, made.leaves
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from crossmatch.stream.choice import straddling
from crossmatch.stream.opening import open_samples, record_sky
from crossmatch.stream.samples import Samples
from mmu.errors import UsageError, unknown
from mmu.schema.column import HEALPIX
from mmu.sky.partition import Partition, locate, partition_tree
from training.codecs import Codec, digest, load
from training.modalities import MODALITIES, Modality, Source, version
from training.token_shards import ABOUT
from training.views import VIEWS

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
        "modalities": version(task.row.key for task in tasks),
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
