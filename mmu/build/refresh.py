"""What changed upstream since a dataset was built: the units whose files the archive has other versions of now."""

from __future__ import annotations

import json
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mmu.archive.fetch import Fetcher
from mmu.archive.protocol import Provenance
from mmu.build.ledger import Folded
from mmu.build.progress import Progress


def changed_units(before: Folded, fetcher: Fetcher, connections: int, progress: Progress) -> set[str]:
    """Units that depend on a file which is not the archive's any more; asked once a file, nothing is downloaded.

    Raises:
        DownloadError: the archive does not answer.
    """
    users: dict[Provenance, set[str]] = defaultdict(set)
    for row in before.units.select(["unit", "files"]).to_pylist():
        for file in json.loads(row["files"]):
            users[_provenance(file)].add(row["unit"])
    lists = [_provenance(file) for file in before.build.get("lists", [])]
    everything = set(before.units["unit"].to_pylist())
    users.update(dict.fromkeys(lists, everything))
    found: set[str] = set()
    with (
        progress.phase("looking for changes", "files", len(users)) as phase,
        ThreadPoolExecutor(connections) as threads,
    ):
        answers = threads.map(lambda file: fetcher.source.changed(file, fetcher.gate), users)
        for units, changed in zip(users.values(), answers, strict=True):
            found |= units if changed else set()
            phase.advance()
    return found


def _provenance(file: dict[str, Any]) -> Provenance:
    return Provenance(**{"modified": "", "time": "", **file})
