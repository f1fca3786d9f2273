"""What changed upstream since a dataset was built; asked file by file, nothing is downloaded."""

from __future__ import annotations

import json
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from mmu.archive.fetch import Fetcher
from mmu.archive.protocol import Provenance
from mmu.build.ledger import Folded
from mmu.build.progress import Progress


@dataclass
class Changes:
    """`units` depend on a file that the archive has another version of; `arrived` are files that were not there."""

    units: set[str] = field(default_factory=set)
    arrived: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.units or self.arrived)


def changes(before: Folded, fetcher: Fetcher, connections: int, progress: Progress) -> Changes:
    """Everything that a dataset was built from, as the archive has it now.

    Raises:
        DownloadError: the archive does not answer.
    """
    source, gate = fetcher.source, fetcher.gate
    users: dict[Provenance, set[str]] = defaultdict(set)
    for row in before.units.select(["unit", "files"]).to_pylist():
        for file in json.loads(row["files"]):
            users[_provenance(file)].add(row["unit"])
    everything = set(before.units["unit"].to_pylist())
    users.update({_provenance(file): everything for file in before.build.get("lists", [])})
    missing = before.build["not_there"]
    found = Changes()
    total = len(users) + len(missing)
    with (
        progress.phase("looking for changes", "files", total) as phase,
        ThreadPoolExecutor(connections) as threads,
    ):
        changed = threads.map(lambda file: source.changed(file, gate), users)
        there = threads.map(lambda path: source.has(path, gate), missing)
        for units, answer in zip(users.values(), changed, strict=True):
            found.units |= units if answer else set()
            phase.advance()
        for path, answer in zip(missing, there, strict=True):
            found.arrived += [path] if answer else []
            phase.advance()
    return found


def _provenance(file: dict[str, Any]) -> Provenance:
    return Provenance(**{"modified": "", "time": "", **file})
