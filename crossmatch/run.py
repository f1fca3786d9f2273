"""Run a match part by part on an executor, every part journalled as it settles; the same command resumes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crossmatch.association import FOLDER, Association, Member, facts_of, of_facts, read_facts
from crossmatch.finish import drop_leftovers, finish, joined
from crossmatch.plan import tasks, tiles
from crossmatch.row_groups import BORDERS, KEPT
from crossmatch.rule import Rule
from crossmatch.sources import Source
from crossmatch.tile import Tile, match_tile
from crossmatch.work import Where, Work
from mmu.build.files import writable, write_json
from mmu.build.hold import hold
from mmu.build.journal import Journal, read_journal
from mmu.build.progress import Progress
from mmu.errors import UsageError
from mmu.sky.partition import Partition


def run_in_memory(rule: Rule, sources: Sequence[Source], where: Where, progress: Progress) -> Association:
    """Match, and keep the objects in memory."""
    done = _match(rule, sources, where, progress, None, {}, lambda tile: None)
    return joined(rule, [Member.of(source) for source in sources], done)


def run_on_disk(
    rule: Rule, sources: Sequence[Source], out: Path, where: Where, progress: Progress, renew: bool
) -> Association:
    """Match into `out`/association, or go on where an earlier run stopped; what is there already is not done again.

    Raises:
        UsageError: another match is there, or one of datasets that changed since and `renew` is not given.
        MmuError: parts of it failed; the others are kept, and the same call tries those again.
    """
    writable(out)
    folder, work = out / FOLDER, out / ".matching"
    members = [Member.of(source) for source in sources]
    identity = {"rule": facts_of(rule), "members": [asdict(member) for member in members]}
    with hold(out / ".matching.lock"):
        if (facts := read_facts(folder)) is not None:
            if same(facts, identity):
                drop_leftovers(work, folder)
                return of_facts(folder, facts)
            if not renew:
                raise UsageError(_difference(facts, identity, out))
        started = work / "identity.json"
        if read_identity(started) != {**identity, "tile_rows": where.tile_rows}:
            shutil.rmtree(work, ignore_errors=True)
        write_json(started, {**identity, "tile_rows": where.tile_rows})
        dataset = work / FOLDER / "dataset"
        journal = Journal(work / "journal.jsonl")
        try:
            before = _settled(work / "journal.jsonl", dataset)
            done = _match(rule, sources, where, progress, dataset, before, lambda tile: journal.add(**tile.entry()))
        finally:
            journal.close()
        return finish(rule, sources, members, done, work / FOLDER, folder)


def same(facts: dict[str, Any], identity: dict[str, Any]) -> bool:
    return {name: facts[name] for name in identity} == identity


def read_identity(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def _difference(facts: dict[str, Any], identity: dict[str, Any], out: Path) -> str:
    """Why a match that is there is not the one asked for, in words."""
    old, new = ({member["name"]: member for member in one["members"]} for one in (facts, identity))
    changed = [name for name in new if name in old and old[name] != new[name]]
    if facts["rule"] == identity["rule"] and old.keys() == new.keys() and changed:
        return (
            f"{', '.join(changed)} changed since {out} was matched; give --renew to match again, or another --out to "
            "keep both."
        )
    rules = [key for key in identity["rule"] if facts["rule"].get(key) != identity["rule"][key]]
    what = ", ".join(f"{key} {facts['rule'].get(key)!r} there, {identity['rule'][key]!r} now" for key in rules)
    return f"{out} holds another match ({what}); give another --out, or --renew to replace it."


def _settled(journal: Path, dataset: Path) -> dict[Partition, Tile]:
    """Parts that an earlier run finished and whose shards are there, whole."""
    found = {}
    for entry in read_journal(journal):
        tile = Tile.of_entry(entry)
        path = dataset / tile.partition.path
        if tile.shard is None or (path.is_file() and path.stat().st_size == tile.shard.bytes):
            found[tile.partition] = tile
    return found


def _match(
    rule: Rule,
    sources: Sequence[Source],
    where: Where,
    progress: Progress,
    dataset: Path | None,
    before: dict[Partition, Tile],
    settled: Callable[[Tile], None],
) -> list[Tile]:
    """Match every part that is not settled; all of them, in the order of the sky."""
    leaves = tiles(rule, sources, where.tile_rows)
    done = {leaf: before[leaf] for leaf in leaves if leaf in before}
    todo = [leaf for leaf in leaves if leaf not in done]
    if todo:
        executor = where.executor(sum(source.rows for source in sources))
        try:
            with progress.phase("matching", "parts", len(todo)) as phase:

                def finished(tile: Tile | None) -> None:
                    phase.advance(objects=tile.rows if tile else 0)
                    if tile is not None:
                        done[tile.partition] = tile
                        settled(tile)

                calls = ((leaf, (rule, task, dataset) if task else None) for leaf, task in tasks(rule, sources, todo))
                Work(match_tile, executor, finished).run(calls)
        finally:
            executor.close()
            KEPT.clear()
            BORDERS.clear()
    return [done[leaf] for leaf in leaves if leaf in done]
