"""Is a cross-match what its account says? Checksums of every shard and of every file beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from mmu.remote.tree import Tree
from mmu.shards.beside import altered
from mmu.shards.seal import CARD, JSON, unbroken
from mmu.sky.partition import Partition

ACCOUNT = "_mmu/match.json"


def is_match(folder: Path) -> bool:
    """True for a folder of associations or pairs."""
    return (folder / ACCOUNT).is_file()


def verify_match(tree: Tree, name: str, deep: bool = True) -> tuple[int, int, int, tuple[str, ...]]:
    """Shards, rows, bytes, and every problem found, each a sentence that names the file.

    Args:
        tree: the folder of the match; name: of its association or pairs.
        deep: read every byte; else only the account, sizes and small files.
    """
    path, shown = tree.local(f"{name}/{ACCOUNT}"), tree.shown(f"{name}/{ACCOUNT}")
    if not unbroken(path, JSON):
        return 0, 0, 0, (f"{shown} was changed since it was written.",)
    facts = json.loads(path.read_text(encoding="utf-8"))
    files = {f"{name}/{file}": digest for file, digest in facts["files"].items()}
    listed = tree.local(f"{name}/_mmu/shards.parquet")
    problems = [*_unlike(tree, files)]
    if problems:
        return 0, 0, 0, tuple(problems)
    shards = pq.read_table(listed).to_pylist()
    known = {f"{name}/{ACCOUNT}", *files}
    for shard in shards:
        file = f"{name}/dataset/{Partition(shard['Norder'], shard['Npix']).path}"
        known.add(file)
        size = tree.size(file)
        if size is not None and size != shard["bytes"]:
            problems.append(f"{tree.shown(file)} has {size} bytes, the account {shard['bytes']}.")
        elif deep or size is None:
            problems += _unlike(tree, {file: shard["xxh3"]})
    if (rows := sum(shard["rows"] for shard in shards)) != facts["rows"]:
        problems.append(f"{shown} counts {facts['rows']} rows, its shards {rows}.")
    problems += [f"{tree.shown(file)} is not in the account." for file in tree.below(name) if file not in known]
    card = tree.local("README.md")
    if card.is_file() and not unbroken(card, CARD):
        problems.append(f"{tree.shown('README.md')} was changed since it was written.")
    problems += altered(tree)
    return len(shards), rows, sum(shard["bytes"] for shard in shards), tuple(problems)


def _unlike(tree: Tree, digests: dict[str, str]) -> Iterator[str]:
    """Files that are missing, or not those of the checksums."""
    for name, digest in digests.items():
        if tree.size(name) is None:
            yield f"{tree.shown(name)} is missing."
        elif tree.digest(name) != digest:
            yield f"{tree.shown(name)} was changed since it was written."
