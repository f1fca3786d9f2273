"""Is a dataset what its ledger says? Counts, checksums and ids, of every shard and every file beside them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from mmu.build.ledger import WRITTEN, Folded, imbalances, read_ledger, totals
from mmu.build.verify_match import is_match, verify_match
from mmu.errors import LedgerError, UsageError
from mmu.schema import HEALPIX
from mmu.shards.beside import altered
from mmu.shards.parquet import Shard, checksum
from mmu.shards.seal import CARD, JSON, unbroken


@dataclass(frozen=True)
class Verdict:
    """What was checked in one release, and every problem found, each a sentence that names the file."""

    release: str
    shards: int
    rows: int
    bytes: int
    problems: tuple[str, ...]


def verify(path: Path) -> list[Verdict]:
    """Check every release in a dataset folder, or the one release folder given.

    Raises:
        UsageError: there is no built dataset there.
    """
    path = Path(path).resolve()
    folders = [path] if (path / "_mmu").is_dir() else sorted(p.parent for p in path.glob("*/_mmu"))
    unfinished = sorted(path.glob(".building-*"))
    begun = {work.name.removeprefix(".building-") for work in unfinished}
    lost = [folder for folder in _strays(path, folders) if folder.name not in begun]
    if not folders and not unfinished and not lost:
        raise UsageError(
            f"{path} holds no dataset built by mmu: give the folder of a survey, or of one of its releases."
        )
    known = {folder.name for folder in folders}
    verdicts = [_verify_release(folder) for folder in folders]
    verdicts += [_without_ledger(folder) for folder in lost]
    for name in sorted(begun - known):
        words = f"{path / name}: the build is unfinished; run it again to go on."
        verdicts.append(Verdict(name, 0, 0, 0, (words,)))
    return verdicts


def _strays(path: Path, folders: list[Path]) -> list[Path]:
    """Releases whose ledger is gone: catalogues that are no part of another release."""
    parts = {folder.with_name(folder.name + end) for folder in folders for end in ("", "_margin", "_collection")}
    found = {properties.parent for properties in path.glob("*/hats.properties")} - parts
    return sorted(folder for folder in found if not folder.name.endswith("_margin"))


def _without_ledger(folder: Path) -> Verdict:
    words = f"{folder / '_mmu' / 'build.json'} is missing: the build never finished."
    return Verdict(folder.name, 0, 0, 0, (words,))


def _verify_release(folder: Path) -> Verdict:
    if is_match(folder):
        return Verdict(folder.name, *verify_match(folder))
    if not (folder / "_mmu" / "build.json").is_file():
        return _without_ledger(folder)
    verdict = _held_against_the_ledger(folder)
    if not (folder.parent / f".building-{folder.name}").exists():
        return verdict
    words = f"{folder}: a build that extends it is unfinished; run it again to go on."
    return replace(verdict, problems=(*verdict.problems, words))


def _held_against_the_ledger(folder: Path) -> Verdict:
    if damaged := _ledger_files(folder / "_mmu"):
        return Verdict(folder.name, 0, 0, 0, tuple(damaged))
    try:
        ledger = read_ledger(folder / "_mmu")
        assert ledger is not None, "its build.json is there"
    except LedgerError as problem:
        return Verdict(folder.name, 0, 0, 0, (str(problem),))
    problems = [*_account(folder, ledger), *_files(folder, ledger), *_card(folder, ledger)]
    listed = ledger.objects.filter(pc.equal(ledger.objects["status"], WRITTEN))
    for shard in ledger.shards:
        problems += _shard(folder / "dataset" / shard.partition.path, shard, listed)
    return Verdict(folder.name, len(ledger.shards), len(listed), ledger.build["bytes"], tuple(problems))


def _ledger_files(folder: Path) -> list[str]:
    """The ledger's own files, before anything is believed that they say."""
    path = folder / "build.json"
    if not unbroken(path, JSON):
        return [f"{path} was changed since it was written."]
    try:
        digests = json.loads(path.read_text(encoding="utf-8"))["ledger"]
    except (ValueError, LookupError, TypeError):
        return [f"{path} does not hold what a ledger holds."]
    return [*_unlike(folder, digests), *_unknown(folder, {path, *(folder / name for name in digests)})]


def _unlike(folder: Path, digests: dict[str, str]) -> list[str]:
    """Files below `folder` that are missing, or not those of the checksums."""
    problems = []
    for path, digest in ((folder / name, digest) for name, digest in digests.items()):
        if not path.is_file():
            problems.append(f"{path} is missing.")
        elif checksum(path) != digest:
            problems.append(f"{path} was changed since it was written.")
    return problems


def _unknown(folder: Path, known: set[Path]) -> list[str]:
    found = (path for path in sorted(folder.rglob("*")) if not path.is_dir() and path not in known)
    return [f"{path} is not in the ledger." for path in found]


def _account(folder: Path, ledger: Folded) -> list[str]:
    problems = imbalances(ledger.units)
    counts = totals(ledger.units)
    if counts != ledger.build["counts"]:
        problems.append(f"{folder / '_mmu'}: build.json and units.parquet count differently.")
    status = {entry["values"]: entry["counts"] for entry in ledger.objects["status"].value_counts().to_pylist()}
    if status.get(WRITTEN, 0) != counts["written"] or len(ledger.objects) != counts["selected"]:
        problems.append(
            f"{folder / '_mmu' / 'objects.parquet'} lists {len(ledger.objects)} objects, the units count otherwise."
        )
    if sum(shard.objects for shard in ledger.shards) != counts["written"]:
        held = sum(shard.objects for shard in ledger.shards)
        problems.append(f"{folder}: the shards hold {held} objects, the units {counts['written']}.")
    return problems


def _files(folder: Path, ledger: Folded) -> list[str]:
    """Catalogue files and HDF5 files as they were written, and no file that the ledger does not know."""
    root, name = folder.parent, folder.name
    known = {root / path for path in ledger.build["files"]}
    known |= {folder / "dataset" / shard.partition.path for shard in ledger.shards}
    known |= set((folder / "_mmu").iterdir())
    places = (folder, root / f"{name}_margin", root / f"{name}_collection", root / "hdf5" / name)
    extra = [problem for place in places for problem in _unknown(place, known)]
    return [*_unlike(root, ledger.build["files"]), *extra]


def _card(folder: Path, ledger: Folded) -> list[str]:
    """The dataset card and what belongs to it: as they were written, and for this build of the release."""
    path = folder.parent / "README.md"
    if not path.is_file():
        return [f"{path} (the dataset card) is missing."]
    if not unbroken(path, CARD):
        return [f"{path} (the dataset card) was changed since it was written."]
    head = yaml.safe_load(path.read_text(encoding="utf-8").split("---\n")[1])
    rows = {info["config_name"]: info["splits"][0]["num_examples"] for info in head["dataset_info"]}
    there = sum(shard.rows for shard in ledger.shards)
    if rows.get(folder.name, 0) != there:
        return [f"{path} (the dataset card) does not count the {there} rows of {folder.name}."]
    return altered(folder.parent)


def _shard(path: Path, shard: Shard, listed: pa.Table) -> list[str]:
    if not path.is_file():
        return [f"{path} is missing ({shard.rows} rows)."]
    if path.stat().st_size != shard.bytes:
        return [f"{path} has {path.stat().st_size} bytes, the ledger {shard.bytes}."]
    if checksum(path) != shard.xxh3:
        return [f"{path} was altered: its checksum is not the ledger's."]
    found = pq.read_table(path, columns=[HEALPIX.name, "object_id"])
    low, high = shard.partition.span
    keys = np.asarray(listed[HEALPIX.name])
    first, end = np.searchsorted(keys, low), np.searchsorted(keys, high)
    wanted = listed.slice(first, end - first).select([HEALPIX.name, "object_id"])
    held = found["object_id"].to_pylist()
    if shard.objects != shard.rows:  # an object's rows follow one another
        held = [name for name, _ in groupby(held)]
    if held != wanted["object_id"].to_pylist() or len(found) != shard.rows:
        return [f"{path} does not hold the {len(wanted)} objects the ledger lists, in order."]
    return []
