"""Is a cross-match what its account says? Checksums of every shard and of every file beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mmu.shards.beside import altered
from mmu.shards.parquet import checksum
from mmu.shards.seal import CARD, JSON, unbroken
from mmu.sky.partition import Partition

ACCOUNT = "_mmu/match.json"


def is_match(folder: Path) -> bool:
    """True for a folder of associations or pairs."""
    return (folder / ACCOUNT).is_file()


def verify_match(folder: Path) -> tuple[int, int, int, tuple[str, ...]]:
    """Shards, rows, bytes, and every problem found, each a sentence that names the file."""
    if not unbroken(folder / ACCOUNT, JSON):
        return 0, 0, 0, (f"{folder / ACCOUNT} was changed since it was written.",)
    facts = json.loads((folder / ACCOUNT).read_text(encoding="utf-8"))
    problems = [*_unlike(folder, facts["files"])]
    if problems:
        return 0, 0, 0, tuple(problems)
    shards = pq.read_table(folder / "_mmu" / "shards.parquet").to_pylist()
    known = {folder / ACCOUNT, *(folder / name for name in facts["files"])}
    for shard in shards:
        path = folder / "dataset" / Partition(shard["Norder"], shard["Npix"]).path
        known.add(path)
        problems += _unlike(folder, {str(path.relative_to(folder)): shard["xxh3"]})
    if (rows := sum(shard["rows"] for shard in shards)) != facts["rows"]:
        problems.append(f"{folder / ACCOUNT} counts {facts['rows']} rows, its shards {rows}.")
    strays = [path for path in sorted(folder.rglob("*")) if path.is_file() and path not in known]
    problems += [f"{path} is not in the account." for path in strays]
    card = folder.parent / "README.md"
    if card.is_file() and not unbroken(card, CARD):
        problems.append(f"{card} was changed since it was written.")
    problems += altered(folder.parent)
    return len(shards), rows, sum(shard["bytes"] for shard in shards), tuple(problems)


def _unlike(folder: Path, digests: dict[str, Any]) -> Iterator[str]:
    """Files that are missing, or not those of the checksums."""
    for name, digest in digests.items():
        path = folder / name
        if not path.is_file():
            yield f"{path} is missing."
        elif checksum(path) != digest:
            yield f"{path} was changed since it was written."
