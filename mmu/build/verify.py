"""Is a dataset what its ledger says? Counts, checksums and ids, of every shard and every file beside them.

Of a dataset that is elsewhere, by default: the ledger and all small files by their checksums, shards by their sizes.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from mmu.build.ledger import WRITTEN, Folded, imbalances, read_ledger, totals
from mmu.build.verify_match import ACCOUNT, is_match, verify_match
from mmu.errors import LedgerError, UsageError, unknown
from mmu.remote.addresses import is_remote, located
from mmu.remote.ranges import parquet
from mmu.remote.tree import LocalTree, RemoteTree, Tree
from mmu.schema import HEALPIX
from mmu.shards.beside import altered
from mmu.shards.parquet import Shard
from mmu.shards.seal import CARD, JSON, unbroken

CARD_NAME = "README.md"
_SMALL = 1 << 24
"""Bytes up to which a file's checksum is looked at even where not every byte is read."""


@dataclass(frozen=True)
class Verdict:
    """What was checked in one release, and every problem found, each a sentence that names the file."""

    release: str
    shards: int
    rows: int
    bytes: int
    problems: tuple[str, ...]


def verify(path: Path | str, deep: bool | None = None) -> list[Verdict]:
    """Check every release in a dataset folder, or the one release given.

    Args:
        path: a folder, or an address as `mmu.open` takes it.
        deep: read every byte, and hold every object against the ledger. Else counts must balance, no file may be
            missing or unknown, small ones must have their checksums and shards their sizes. By default, True for a
            dataset that is here, False for one that is elsewhere.

    Raises:
        UsageError: there is no built dataset there.
    """
    tree, release = _at(path)
    deep = tree.here if deep is None else deep
    every = tree.folders()
    if release is not None and release not in every:
        raise unknown(f"release of {path}", release, every)
    folders = [name for name in every if _has_account(tree, name)] if release is None else [release]
    begun = {name.removeprefix(_BUILDING) for name in every if name.startswith(_BUILDING)}
    lost = [name for name in _strays(tree, every, folders) if name not in begun] if release is None else []
    begun = begun if release is None else begun & {release}
    if not folders and not begun and not lost:
        where = tree.shown("").rstrip("/")
        raise UsageError(
            f"{where} holds no dataset built by mmu: give the folder of a survey, or of one of its releases."
        )
    verdicts = [_verify_release(tree, name, deep, name in begun) for name in folders]
    verdicts += [_without_ledger(tree, name) for name in lost]
    for name in sorted(begun - set(folders)):
        words = f"{tree.shown(name)}: the build is unfinished; run it again to go on."
        verdicts.append(Verdict(name, 0, 0, 0, (words,)))
    return verdicts


_BUILDING = ".building-"
_ACCOUNTS = ("_mmu/build.json", "_mmu/match.json")


def _at(path: Path | str) -> tuple[Tree, str | None]:
    """The dataset's folder, and the one release in it that is meant, if it is one."""
    if isinstance(path, str) and is_remote(path):
        at, release = located(path)
        tree: Tree = RemoteTree(at)
        if any(tree.size(name) is not None for name in _ACCOUNTS):  # a release's own folder
            return RemoteTree(at.child("..")), at.name
        return tree, release
    folder = Path(path).expanduser().resolve()
    named = folder.name if (folder / "_mmu").is_dir() else None
    return LocalTree(folder if named is None else folder.parent), named


def _has_account(tree: Tree, name: str) -> bool:
    if tree.here:
        return tree.local(f"{name}/_mmu").is_dir()
    return any(tree.size(f"{name}/{account}") is not None for account in _ACCOUNTS)


def _strays(tree: Tree, every: list[str], folders: list[str]) -> list[str]:
    """Releases whose ledger is gone: catalogues that are no part of another release."""
    parts = {name + end for name in folders for end in ("", "_margin", "_collection")}
    others = (name for name in every if name not in parts and not name.endswith("_margin"))
    return [name for name in others if tree.size(f"{name}/hats.properties") is not None]


def _without_ledger(tree: Tree, name: str) -> Verdict:
    words = f"{tree.shown(f'{name}/_mmu/build.json')} is missing: the build never finished."
    return Verdict(name, 0, 0, 0, (words,))


def _verify_release(tree: Tree, name: str, deep: bool, begun: bool) -> Verdict:
    if is_match(tree.local(f"{name}/{ACCOUNT}").parents[1]):
        return Verdict(name, *verify_match(tree, name, deep))
    if not tree.local(f"{name}/_mmu/build.json").is_file():
        return _without_ledger(tree, name)
    verdict = _held_against_the_ledger(tree, name, deep)
    if not begun:
        return verdict
    words = f"{tree.shown(name)}: a build that extends it is unfinished; run it again to go on."
    return replace(verdict, problems=(*verdict.problems, words))


def _held_against_the_ledger(tree: Tree, name: str, deep: bool) -> Verdict:
    account = f"{name}/_mmu"
    if damaged := _ledger_files(tree, account, deep):
        return Verdict(name, 0, 0, 0, tuple(damaged))
    try:
        ledger = read_ledger(tree.local(f"{account}/build.json").parent, objects=deep)
        assert ledger is not None, "its build.json is there"
    except LedgerError as problem:
        return Verdict(name, 0, 0, 0, (str(problem),))
    problems = [*_account(tree, name, ledger), *_files(tree, name, ledger, deep), *_card(tree, name, ledger)]
    listed = ledger.objects.filter(pc.equal(ledger.objects["status"], WRITTEN))
    problems += [*_objects(tree, name, ledger)] if deep else []
    for shard in ledger.shards:
        problems += _shard(tree, f"{name}/dataset/{shard.partition.path}", shard, listed if deep else None)
    return Verdict(name, len(ledger.shards), ledger.build["counts"]["written"], ledger.build["bytes"], tuple(problems))


def _ledger_files(tree: Tree, account: str, deep: bool) -> list[str]:
    """The ledger's own files, before anything is believed that they say."""
    name = f"{account}/build.json"
    path = tree.local(name)
    if not unbroken(path, JSON):
        return [f"{tree.shown(name)} was changed since it was written."]
    try:
        digests = json.loads(path.read_text(encoding="utf-8"))["ledger"]
        listed = [(posixpath.join(account, file), digest) for file, digest in digests.items()]
    except (ValueError, LookupError, TypeError, AttributeError):
        return [f"{tree.shown(name)} does not hold what a ledger holds."]
    for table in ("shards", "units", "objects") if deep else ("shards", "units"):
        tree.local(f"{account}/{table}.parquet")  # what was fetched for reading is not fetched again for its checksum
    known = {name, *(file for file, _ in listed)}
    return [*unlike(tree, listed, deep), *_unknown(tree, account, known)]


def unlike(tree: Tree, digests: list[tuple[str, str]], deep: bool) -> Iterator[str]:
    """Files that are missing, or not those of the checksums: of shards and large ones, only where all is read."""
    for name, digest in digests:
        size = tree.size(name)
        if size is None:
            yield f"{tree.shown(name)} is missing."
        elif (deep or (size <= _SMALL and "/Npix=" not in name)) and tree.digest(name) != digest:
            yield f"{tree.shown(name)} was changed since it was written."


def _unknown(tree: Tree, folder: str, known: set[str]) -> list[str]:
    return [f"{tree.shown(name)} is not in the ledger." for name in tree.below(folder) if name not in known]


def _account(tree: Tree, name: str, ledger: Folded) -> list[str]:
    """The units add up, to what the ledger and the shards say."""
    problems = imbalances(ledger.units)
    counts = totals(ledger.units)
    if counts != ledger.build["counts"]:
        problems.append(f"{tree.shown(f'{name}/_mmu')}: build.json and units.parquet count differently.")
    if (held := sum(shard.objects for shard in ledger.shards)) != counts["written"]:
        problems.append(f"{tree.shown(name)}: the shards hold {held} objects, the units {counts['written']}.")
    return problems


def _objects(tree: Tree, name: str, ledger: Folded) -> Iterator[str]:
    counts = totals(ledger.units)
    status = {entry["values"]: entry["counts"] for entry in ledger.objects["status"].value_counts().to_pylist()}
    if status.get(WRITTEN, 0) != counts["written"] or len(ledger.objects) != counts["selected"]:
        where = tree.shown(f"{name}/_mmu/objects.parquet")
        yield f"{where} lists {len(ledger.objects)} objects, the units count otherwise."


def _files(tree: Tree, name: str, ledger: Folded, deep: bool) -> list[str]:
    """Catalogue files and HDF5 files as they were written, and no file that the ledger does not know."""
    written: dict[str, Any] = ledger.build["files"]
    known = {*written, *(f"{name}/dataset/{shard.partition.path}" for shard in ledger.shards)}
    places = (f"{name}_margin", f"{name}_collection", f"hdf5/{name}")
    extra = [problem for place in places for problem in _unknown(tree, place, known)]
    own = {*known, *(file for file in tree.below(f"{name}/_mmu"))}
    return [*unlike(tree, list(written.items()), deep), *_unknown(tree, name, own), *extra]


def _card(tree: Tree, name: str, ledger: Folded) -> list[str]:
    """The dataset card and what belongs to it: as they were written, and for this build of the release."""
    path, shown = tree.local(CARD_NAME), f"{tree.shown(CARD_NAME)} (the dataset card)"
    if not path.is_file():
        return [f"{shown} is missing."]
    if not unbroken(path, CARD):
        return [f"{shown} was changed since it was written."]
    head = yaml.safe_load(path.read_text(encoding="utf-8").split("---\n")[1])
    rows = {info["config_name"]: info["splits"][0]["num_examples"] for info in head["dataset_info"]}
    there = sum(shard.rows for shard in ledger.shards)
    if rows.get(name, 0) != there:
        return [f"{shown} does not count the {there} rows of {name}."]
    return altered(tree)


def _shard(tree: Tree, name: str, shard: Shard, listed: pa.Table | None) -> list[str]:
    """A shard has its size; where the ledger's list of objects is given, also its checksum, and just those objects."""
    shown, size = tree.shown(name), tree.size(name)
    if size is None:
        return [f"{shown} is missing ({shard.rows} rows)."]
    if size != shard.bytes:
        return [f"{shown} has {size} bytes, the ledger {shard.bytes}."]
    if listed is None:
        return []
    if tree.digest(name) != shard.xxh3:
        return [f"{shown} was altered: its checksum is not the ledger's."]
    with parquet(tree.place(name)) as file:
        found = file.read(columns=[HEALPIX.name, "object_id"])
    low, high = shard.partition.span
    keys = np.asarray(listed[HEALPIX.name])
    first, end = np.searchsorted(keys, low), np.searchsorted(keys, high)
    wanted = listed.slice(first, end - first).select([HEALPIX.name, "object_id"])
    held = found["object_id"].to_pylist()
    if shard.objects != shard.rows:  # an object's rows follow one another
        held = [name for name, _ in groupby(held)]
    if held != wanted["object_id"].to_pylist() or len(found) != shard.rows:
        return [f"{shown} does not hold the {len(wanted)} objects the ledger lists, in order."]
    return []
