"""From matched parts to the association: counts added up and checked, catalogue files, account, card and picture."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from crossmatch.association import PAIRS, Association, Member, command_of, facts_of
from crossmatch.columns import association_schema
from crossmatch.level import Tally
from crossmatch.rule import Rule
from crossmatch.sources import Source
from crossmatch.tile import Tile
from mmu.build.files import write_bytes, write_table
from mmu.errors import LedgerError
from mmu.schema.arrow import arrow_schema
from mmu.shards.catalogue import write_objects
from mmu.shards.parquet import Shard, checksum
from mmu.shards.seal import sealed_json


def joined(rule: Rule, members: Sequence[Member], done: Sequence[Tile]) -> Association:
    """All parts together, in memory."""
    schema = arrow_schema(association_schema(rule))
    tables = [tile.table for tile in done if tile.table is not None]
    table = pa.concat_tables(tables) if tables else schema.empty_table()
    return Association(rule, tuple(members), added_up(rule, done), len(table), memory=table)


def added_up(rule: Rule, done: Sequence[Tile]) -> tuple[Tally, ...]:
    """The counts of each dataset over all parts."""
    totals = tuple(Tally() for _ in rule.names)
    for tile in done:
        for total, tally in zip(totals, tile.tallies, strict=True):
            total.add(tally)
    return totals


def finish(
    rule: Rule, sources: Sequence[Source], members: Sequence[Member], done: Sequence[Tile], made: Path, folder: Path
) -> Association:
    """Make the shards in `made` a catalogue with its account, and put it in the place of `folder`.

    Raises:
        LedgerError: the counts do not balance.
    """
    shards = [tile.shard for tile in done if tile.shard is not None]
    tallies = added_up(rule, done)
    _balance(rule, sources, done, shards, tallies)
    schema = arrow_schema(association_schema(rule))
    about = {
        "obs_title": f"{' x '.join(rule.names)}: matched within {rule.radius_arcsec:g} arcsec",
        "prov_progenitor": " ".join(member.address for member in members if member.address),
    }
    _remove_others(made / "dataset", shards)
    write_objects(made, about, schema, shards, _pixels(done))
    rows, command = sum(shard.rows for shard in shards), command_of(rule, members, folder.parent)
    facts: dict[str, Any] = {
        "rule": facts_of(rule),
        "members": [asdict(member) for member in members],
        "tallies": [asdict(tally) for tally in tallies],
        "rows": rows,
        "bytes": sum(shard.bytes for shard in shards),
        "command": command,
    }
    write_account(made, shards, facts)
    shutil.rmtree(folder.with_name(PAIRS), ignore_errors=True)  # they are of the match that this one replaces
    put_in_place(made, folder)
    return Association(rule, tuple(members), tallies, rows, folder, command=command)


def write_account(made: Path, shards: Sequence[Shard], facts: dict[str, Any]) -> None:
    """`_mmu/shards.parquet` and, last, `_mmu/match.json`, with a checksum of every file."""
    account = made / "_mmu"
    rows = [{"Norder": s.partition.order, "Npix": s.partition.pixel, **_counts(s)} for s in shards]
    kinds = {"Norder": pa.int8(), "xxh3": pa.string()}
    names = ("Norder", "Npix", "rows", "bytes", "xxh3", "row_groups", "objects")
    schema = pa.schema([(name, kinds.get(name, pa.int64())) for name in names])
    write_table(account / "shards.parquet", pa.Table.from_pylist(rows, schema=schema))
    others = [p for p in sorted(made.rglob("*")) if p.is_file() and not p.name.startswith("Npix=")]
    files = {str(p.relative_to(made)): checksum(p) for p in others if p.name != "match.json"}
    write_bytes(account / "match.json", sealed_json({**facts, "files": files}).encode())


def put_in_place(made: Path, folder: Path) -> None:
    """Replace a folder by another; killed in between, the same command does it again."""
    old = _replaced(folder)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    made.rename(folder)
    drop_leftovers(made.parent, folder)


def drop_leftovers(work: Path, folder: Path) -> None:
    """Remove what a finished folder no longer needs, also where a kill kept that from happening before."""
    shutil.rmtree(_replaced(folder), ignore_errors=True)
    shutil.rmtree(work, ignore_errors=True)


def _replaced(folder: Path) -> Path:
    return folder.with_name(f".old-{folder.name}")


def _counts(shard: Shard) -> dict[str, Any]:
    return {name: getattr(shard, name) for name in ("rows", "bytes", "xxh3", "row_groups", "objects")}


def _balance(
    rule: Rule, sources: Sequence[Source], done: Sequence[Tile], shards: Sequence[Shard], tallies: Sequence[Tally]
) -> None:
    """Every row of every part is in a shard; where every part was matched, every record was read once."""
    if sum(tile.rows for tile in done) != sum(shard.rows for shard in shards):
        raise LedgerError(f"The parts have {sum(t.rows for t in done)} rows, the shards {sum(s.rows for s in shards)}.")
    whole = rule.region == "all" and not rule.required  # else parts that cannot have objects were not read
    makers = {"outer": len(sources), "left": 1}.get(rule.how, 0) if whole else 0
    for source, tally in list(zip(sources, tallies, strict=True))[:makers]:
        if source.exact and tally.records != source.rows:
            raise LedgerError(f"{source.name} has {source.rows:,} objects, and {tally.records:,} were read.")


def _pixels(done: Sequence[Tile]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Order-8 pixels with rows, and how many, over all parts."""
    counts: Counter[int] = Counter()
    for tile in done:
        counts.update(dict(zip(*tile.pixels, strict=True)))
    pixels = np.array(sorted(counts), dtype=np.int64)
    return pixels, np.array([counts[int(pixel)] for pixel in pixels], dtype=np.int64)


def _remove_others(dataset: Path, shards: Sequence[Shard]) -> None:
    """What a killed run left beside the shards."""
    kept = {dataset / shard.partition.path for shard in shards}
    for path in dataset.glob("Norder=*/Dir=*/*"):
        if path not in kept:
            path.unlink()
