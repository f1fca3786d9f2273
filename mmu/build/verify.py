"""Is a dataset what its ledger says? Counts, checksums and ids, of every shard and every file beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmu.build.ledger import WRITTEN, Folded, imbalances, read_ledger, totals
from mmu.errors import LedgerError, UsageError
from mmu.schema import HEALPIX
from mmu.shards.parquet import Shard, checksum


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
    if not folders and not unfinished:
        raise UsageError(
            f"{path} holds no dataset built by mmu: give the folder of a survey, or of one of its releases."
        )
    known = {folder.name for folder in folders}
    verdicts = [_verify_release(folder) for folder in folders]
    for work in unfinished:
        name = work.name.removeprefix(".building-")
        if name not in known:
            verdicts.append(
                Verdict(name, 0, 0, 0, (f"{path / name}: the build is unfinished; run it again to go on.",))
            )
    return verdicts


def _verify_release(folder: Path) -> Verdict:
    try:
        ledger = read_ledger(folder / "_mmu")
    except LedgerError as problem:
        return Verdict(folder.name, 0, 0, 0, (str(problem),))
    if ledger is None:
        return Verdict(
            folder.name, 0, 0, 0, (f"{folder / '_mmu' / 'build.json'} is missing: the build never finished.",)
        )
    problems = [*_account(folder, ledger), *_files(folder, ledger)]
    listed = ledger.objects.filter(pc.equal(ledger.objects["status"], WRITTEN))
    for shard in ledger.shards:
        problems += _shard(folder / "dataset" / shard.partition.path, shard, listed)
    if (folder.parent / f".building-{folder.name}").exists():
        problems.append(f"{folder}: a build that extends it is unfinished; run it again to go on.")
    return Verdict(folder.name, len(ledger.shards), len(listed), ledger.build["bytes"], tuple(problems))


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
    if sum(shard.rows for shard in ledger.shards) != counts["written"]:
        problems.append(
            f"{folder}: the shards hold {sum(s.rows for s in ledger.shards)} rows, the units {counts['written']}."
        )
    return problems


def _files(folder: Path, ledger: Folded) -> list[str]:
    """Catalogue files and ledger files as they were written, and no shard that the ledger does not know."""
    problems = []
    digests = {folder.parent / name: digest for name, digest in ledger.build["files"].items()}
    digests |= {folder / "_mmu" / name: digest for name, digest in ledger.build["ledger"].items()}
    for path, digest in digests.items():
        if not path.is_file():
            problems.append(f"{path} is missing.")
        elif checksum(path) != digest:
            problems.append(f"{path} was changed since it was written.")
    known = {folder / "dataset" / shard.partition.path for shard in ledger.shards}
    problems += [
        f"{path} is not in the ledger." for path in sorted((folder / "dataset").rglob("*.parquet")) if path not in known
    ]
    if not (folder.parent / "README.md").is_file():
        problems.append(f"{folder.parent / 'README.md'} (the dataset card) is missing.")
    return problems


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
    if found["object_id"].to_pylist() != wanted["object_id"].to_pylist() or len(found) != shard.rows:
        return [f"{path} does not hold the {len(wanted)} objects the ledger lists, in order."]
    return []
