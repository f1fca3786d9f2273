"""One part of a match, where the work runs: read the places, associate them, keep or write the objects."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from crossmatch.associate import associate
from crossmatch.columns import association_schema
from crossmatch.level import Tally
from crossmatch.places import SKY
from crossmatch.plan import Task
from crossmatch.rule import Rule
from mmu.schema.arrow import arrow_schema
from mmu.shards.catalogue import skymap
from mmu.shards.parquet import Shard, rows_per_group, write_shard
from mmu.sky.partition import Partition


@dataclass(frozen=True)
class Tile:
    """What came of one part: its counts, its shard if it was written, its rows if they were kept."""

    partition: Partition
    rows: int
    tallies: tuple[Tally, ...]
    pixels: tuple[list[int], list[int]]
    shard: Shard | None = None
    table: pa.Table | None = None

    def entry(self) -> dict[str, Any]:
        """For the journal."""
        written = None if self.shard is None else {k: v for k, v in asdict(self.shard).items() if k != "partition"}
        return {
            "shard": [self.partition.order, self.partition.pixel],
            "rows": self.rows,
            "tallies": [asdict(tally) for tally in self.tallies],
            "pixels": self.pixels,
            "written": written,
        }

    @staticmethod
    def of_entry(entry: dict[str, Any]) -> Tile:
        partition, written = Partition(*entry["shard"]), entry["written"]
        shard = None if written is None else Shard(partition=partition, **written)
        tallies = tuple(Tally(**tally) for tally in entry["tallies"])
        return Tile(partition, entry["rows"], tallies, tuple(entry["pixels"]), shard)


def match_tile(rule: Rule, task: Task, out: Path | None, threads: int = 1) -> Tile:
    """Match one part of the sky; its objects go to a shard below `out`, or back to the caller.

    Raises:
        FormatError, UsageError: a file cannot be read, or a record has no position or id.
    """
    places = [part.places(task.cover) for part in task.parts]
    table, tallies = associate(rule, places, task.cover, threads)
    schema = arrow_schema(association_schema(rule))
    table = table.select(schema.names).cast(schema)
    partition = task.cover.partition
    pixels, counts = skymap(table[SKY].to_numpy())
    facts = (partition, len(table), tuple(tallies), (pixels.tolist(), counts.tolist()))
    if out is None:
        return Tile(*facts, table=table)
    path = out / partition.path
    if not len(table):
        path.unlink(missing_ok=True)
        return Tile(*facts)
    width = sum(16 if pa.types.is_string(field.type) else field.type.bit_width // 8 for field in schema)
    rows, size, digest, groups = write_shard(path, [table], schema, rows_per_group(schema, width, None))
    return Tile(*facts, shard=Shard(partition, rows, size, digest, groups, rows))
