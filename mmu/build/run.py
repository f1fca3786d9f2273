"""A build from beginning to end: plan, fetch, read, write, account. Run again, it goes on where it was."""

from __future__ import annotations

import json
import logging
import platform
import shutil
import time
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmu.archive.fetch import Fetcher
from mmu.archive.protocol import Provenance
from mmu.build.estimate import Confirm, Estimate, ask, estimate, refuse_without_space
from mmu.build.executor import open_executor
from mmu.build.files import writable, write_json
from mmu.build.hold import hold
from mmu.build.journal import Journal
from mmu.build.ledger import WRITTEN, Folded, Ledger, balance, fold, read_ledger
from mmu.build.plan import Plan, load_plan
from mmu.build.planner import make_plan
from mmu.build.progress import Progress
from mmu.build.raw import drop_all, drop_folders, drop_raw, opened, raw_lock
from mmu.build.refresh import Changes, changes
from mmu.build.spec import BuildSpec
from mmu.build.work import Work
from mmu.errors import MmuError, UsageError
from mmu.schema import HEALPIX
from mmu.shards.card import write_card
from mmu.shards.catalogue import write_catalogue
from mmu.shards.parquet import Shard, checksum

log = logging.getLogger("mmu")


@dataclass(frozen=True)
class Report:
    """What a build did. `code` is the exit code: 0 all, 1 partial (the ledger says what)."""

    folder: Path
    counts: dict[str, Any]
    shards: int
    bytes: int
    seconds: float
    done_before: bool = False
    absent: int = 0
    not_there: int = 0

    @property
    def code(self) -> int:
        return 1 if self.counts["failed"] or self.absent else 0


def build(spec: BuildSpec, progress: Progress | None = None, confirm: Confirm | None = None) -> Report:
    """Build, resume or extend a dataset.

    Args:
        confirm: asked before a build that moves more than 100 GB; without it such a build is refused.

    Raises:
        UsageError: it cannot be done as asked (nothing was written).
        MmuError: the archive cannot be reached, or its catalogue is damaged.
    """
    progress = progress or Progress(quiet=True)
    started = time.time()
    for folder in (spec.root, spec.raw):
        writable(folder)
    with hold(*_locks(spec)), opened(spec, progress) as (source, fetcher):
        shutil.rmtree(_done(spec), ignore_errors=True)
        before = read_ledger(spec.ledger)
        spec = _for_workers(spec)
        spec = _as_there(spec, before, source.name)
        changed = _changed(spec, before, fetcher, progress)
        if before is not None and not (spec.work.exists() or changed) and _complete(before, spec, source.name):
            drop_all(spec) if spec.last and not spec.keep_raw else drop_folders(spec)
            return _report(spec, before.build, 0.0, done_before=True)
        executor = open_executor(spec.workers, spec.scheduler)
        try:
            plan = _planned(spec, source.name, fetcher, executor, progress, changed.units)
            _refuse_loss(spec, before, plan)
            cost = estimate(spec, plan)
            refuse_without_space(spec.root, cost.output_bytes)
            ask(cost, confirm)
            with closing(Journal(spec.work / "journal.jsonl")) as journal:
                ledger = Work(spec, plan, before, fetcher, executor, journal, progress).run()
        finally:
            executor.close()
        return _finish(spec, ledger, before, source.name, started)


def dry_run(spec: BuildSpec, progress: Progress | None = None) -> Estimate:
    """Plan and say what a build would take; writes nothing but catalogue files in the cache."""
    progress = progress or Progress(quiet=True)
    writable(spec.raw)
    spec = _for_workers(spec)
    executor = open_executor(spec.workers, spec.scheduler)
    try:
        with opened(spec, progress) as (_, fetcher):
            return estimate(spec, make_plan(spec, fetcher, executor, progress))
    finally:
        executor.close()


def _for_workers(spec: BuildSpec) -> BuildSpec:
    """With absolute paths: the workers of a scheduler may stand in another folder."""
    if spec.scheduler is None:
        return spec
    return replace(spec, out=spec.out.absolute(), cache=spec.cache and spec.cache.absolute())


def _locks(spec: BuildSpec) -> tuple[Path, Path]:
    """What keeps a second build out of the same release, and out of the same raw files."""
    return spec.root / f".{spec.release.name}.lock", raw_lock(spec)


def _as_there(spec: BuildSpec, before: Folded | None, source: str) -> BuildSpec:
    """The spec, extended by what is there with `--add`; refused where it differs from what is there."""
    there = _spec_there(spec, before)
    if there is None:
        return spec
    if spec.add and spec.max_objects is not None and not set(spec.regions) <= set(there["regions"]):
        raise UsageError(
            "--max-objects takes the first objects of a region; leave it out to extend a dataset by --add."
        )
    if spec.add and not set(spec.regions) <= set(there["regions"]):
        spec = replace(spec, regions=(*there["regions"], *(r for r in spec.regions if r not in there["regions"])))
    elif spec.add:
        spec = replace(spec, regions=tuple(there["regions"]))
    now = spec.identity(source)
    ignored = {"region", "regions"} if spec.add else set()
    differing = [key for key in now if key not in ignored and now[key] != there.get(key)]
    if differing:
        words = "; ".join(
            f"{key} was {there.get(key)!r} and is now {now[key]!r}" for key in differing if key != "regions"
        )
        raise UsageError(
            f"{spec.folder} holds another build: {words}. Give the same options to resume it, "
            "--add with a --region to extend it, or another --out."
        )
    return spec


def _spec_there(spec: BuildSpec, before: Folded | None) -> dict[str, Any] | None:
    unfinished = _unfinished(spec)
    return unfinished or (None if before is None else dict(before.build["spec"]))


def _unfinished(spec: BuildSpec) -> dict[str, Any]:
    """What the interrupted run was asked; {} if there is none, or its note is damaged (then it starts anew)."""
    try:
        found = json.loads((spec.work / "spec.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _complete(before: Folded, spec: BuildSpec, source: str) -> bool:
    hdf5 = "hdf5" in spec.formats and "hdf5" not in before.build["formats"]
    whole = not before.build["counts"]["failed"] and not before.build["absent"]
    return before.build["spec"] == spec.identity(source) and whole and not hdf5


def _changed(spec: BuildSpec, before: Folded | None, fetcher: Fetcher, progress: Progress) -> Changes:
    """With `--refresh`, what a finished dataset was built from and changed upstream."""
    if not spec.refresh or before is None:
        return Changes()
    if spec.work.exists():
        log.info("The unfinished build is finished first; give --refresh again for what changed since.")
        return Changes()
    return changes(before, fetcher, spec.survey.policy.connections, progress)


def _planned(
    spec: BuildSpec, source: str, fetcher: Fetcher, executor: Any, progress: Progress, outdated: set[str]
) -> Plan:
    """The plan of the interrupted run, or a new one, saved."""
    identity = spec.identity(source)
    if _unfinished(spec) == identity and (plan := load_plan(spec.work)) is not None:
        if all(fetcher.still(Provenance(**known)) for known in plan.catalogues.values()):
            return plan
        log.info("The archive's catalogues were replaced since this build began: it is planned anew.")
        outdated = outdated | {*plan.outdated, *plan.read}
    shutil.rmtree(spec.work, ignore_errors=True)
    plan = make_plan(spec, fetcher, executor, progress)
    plan.outdated = sorted(outdated)
    plan.save(spec.work)
    write_json(spec.work / "spec.json", identity)
    return plan


def _refuse_loss(spec: BuildSpec, before: Folded | None, plan: Plan) -> None:
    """Never replace a dataset by one that lacks objects it holds, unless their own catalogue was replaced."""
    if before is None:
        return
    settled = before.settled()
    gone = settled.filter(
        pc.invert(pc.is_in(settled["object_id"], value_set=plan.objects["object_id"].combine_chunks()))
    )
    if not plan.absent:
        gone = gone.filter(pc.invert(pc.is_in(gone["unit"], value_set=pa.array(plan.outdated, pa.string()))))
    if len(gone):
        shutil.rmtree(spec.work, ignore_errors=True)
        why = ", ".join(sorted(plan.absent.values())[:1]) or "the archive's catalogue changed"
        raise MmuError(
            f"{len(gone):,} objects of {spec.folder} (for example {gone['object_id'][0].as_py()}) are not in this "
            f"selection now ({why}); nothing was changed. Wait until the archive is whole again, give --refresh if it "
            "has released anew, or another --out."
        )


def _finish(spec: BuildSpec, ledger: Ledger, before: Folded | None, source: str, started: float) -> Report:
    """Catalogue files, ledger, card, and the HDF5 pass; then the work folder goes."""
    account = balance(ledger)
    written = account.objects.filter(pc.equal(account.objects["status"], WRITTEN))
    write_catalogue(spec.root, spec.survey, spec.release, account.shards, np.asarray(written[HEALPIX.name]))
    formats = sorted({*spec.formats, *(before.build["formats"] if before else ())})
    if "hdf5" in formats:
        from mmu.shards.hdf5 import write_hdf5

        write_hdf5(spec.root, spec.survey, spec.release)
    built = fold(account, spec.ledger, _facts(spec, ledger.plan, source, formats, started))
    _drop_others(spec, account.shards)
    write_card(spec.root, spec.survey)
    drop_raw(spec, ledger.plan, source)
    spec.work.rename(_done(spec))  # at once: half a work folder would be planned, and fetched for, again
    shutil.rmtree(_done(spec), ignore_errors=True)
    return _report(spec, built, time.time() - started)


def _facts(spec: BuildSpec, plan: Plan, source: str, formats: list[str], started: float) -> dict[str, Any]:
    """What build.json says besides the counts."""
    packages = ("pyarrow", "numpy", "astropy", "multimodal-universe")
    clock = "%Y-%m-%dT%H:%M:%SZ"
    return {
        "survey": spec.survey.name,
        "release": spec.release.name,
        "spec": spec.identity(source),
        "formats": formats,
        "lists": [plan.catalogues[file.path] for file in spec.survey.archive.bootstrap(spec.release)],
        "versions": {name: version(name) for name in packages} | {"python": platform.python_version()},
        "started": time.strftime(clock, time.gmtime(started)),
        "finished": time.strftime(clock, time.gmtime()),
        "files": {str(path.relative_to(spec.root)): checksum(path) for path in _catalogue_files(spec)},
    }


def _report(spec: BuildSpec, built: dict[str, Any], seconds: float, *, done_before: bool = False) -> Report:
    absent, not_there = len(built["absent"]), len(built["not_there"])
    return Report(
        spec.folder, built["counts"], built["shards"], built["bytes"], seconds, done_before, absent, not_there
    )


def _drop_others(spec: BuildSpec, shards: list[Shard]) -> None:
    """Shards that are not of this dataset: outgrown by `--add`, or left by a build that was given up."""
    dataset = spec.folder / "dataset"
    known = {dataset / shard.partition.path for shard in shards}
    for path in set(dataset.glob("Norder=*/Dir=*/Npix=*")) - known:
        path.unlink()


def _catalogue_files(spec: BuildSpec) -> list[Path]:
    """Every file of the release but its shards and ledger."""
    name = spec.release.name
    folders = [spec.folder, spec.root / f"{name}_margin", spec.root / f"{name}_collection", spec.root / "hdf5" / name]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    shards = spec.folder / "dataset"
    return [
        p for p in files if spec.ledger not in p.parents and not (shards in p.parents and p.name.startswith("Npix="))
    ]


def _done(spec: BuildSpec) -> Path:
    """What the work folder is called while it is removed."""
    return spec.work.with_name(f".done-{spec.release.name}")
