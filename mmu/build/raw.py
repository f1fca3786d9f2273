"""The raw files of a build: where they come from, who may touch them, and when they go."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmu.archive.fetch import FRESH_FOR_S, LITTER, Fetcher
from mmu.archive.part import own_folder
from mmu.archive.source import Source, open_source
from mmu.archive.supplied import with_supplements
from mmu.build.plan import Plan, unit_files
from mmu.build.progress import Progress
from mmu.build.spec import BuildSpec

_BESIDE = (*LITTER, ".fetched.json", ".part", ".bad")
"""What is kept beside a raw file, by the end of its name."""


@contextmanager
def opened(spec: BuildSpec, progress: Progress) -> Iterator[tuple[Source, Fetcher]]:
    """The source of raw files and what fetches from it, with one bucket per host for every mmu of this user."""
    hosts = own_folder(Path(tempfile.gettempdir()) / f"mmu-hosts-{os.getuid()}")
    source = with_supplements(open_source(spec.source, spec.survey, spec.release), spec.supplements)
    fresh_for = 0.0 if spec.refresh else FRESH_FOR_S
    policy = spec.survey.policy
    with Fetcher(source, spec.raw, policy, on_bytes=progress.fetched, hosts=hosts, fresh_for=fresh_for) as fetcher:
        yield source, fetcher


def raw_lock(spec: BuildSpec) -> Path:
    """What keeps two commands from fetching, and removing, the same raw files."""
    return spec.raw.with_name(f".{spec.raw.name}.lock")


def drop_raw(spec: BuildSpec, plan: Plan, source: str) -> None:
    """Raw files are not needed once everything they gave is verified; a folder that is built from is spared."""
    if spec.keep_raw or spec.more or (Path(source).is_absolute() and Path(source).is_relative_to(spec.raw.resolve())):
        return
    if spec.survey.builds and not spec.last:
        _drop_own(spec, plan)
        drop_folders(spec)
    else:
        drop_all(spec)


def drop_all(spec: BuildSpec) -> None:
    """Everything in the cache's folder, whatever it was for."""
    shutil.rmtree(spec.raw, ignore_errors=True)
    drop_folders(spec)


def _drop_own(spec: BuildSpec, plan: Plan) -> None:
    """Of a folder that releases share what this one's units had, and all of it unless another's files are there.

    A catalogue of all releases stays with them: on a machine without internet it is not to be had again.
    """
    files = [file for unit in unit_files(spec, plan).values() for file in unit]
    own = {file.path for file in files}
    listed = {*plan.catalogues, *(file.checksums for file in files)}
    there = {path: _archived(path, spec.raw) for path in spec.raw.rglob("*") if path.is_file()}
    there = {path: name for path, name in there.items() if not name.startswith(".hosts/")}
    if own | listed >= set(there.values()):
        shutil.rmtree(spec.raw, ignore_errors=True)
    for path in (path for path, name in there.items() if name in own):
        path.unlink(missing_ok=True)


def _archived(path: Path, raw: Path) -> str:
    """The archive's path of a file in the cache, or of what is kept beside it."""
    name = path.relative_to(raw).as_posix()
    return name.removesuffix(next((suffix for suffix in _BESIDE if name.endswith(suffix)), ""))


def drop_folders(spec: BuildSpec) -> None:
    """The cache's folders, where nothing is in them."""
    with suppress(OSError):
        spec.raw.rmdir()
    if spec.cache is None and not spec.raw.exists():
        shutil.rmtree(spec.raw.parent, ignore_errors=True) if _only_locks(spec.raw.parent) else None
        with suppress(OSError):
            spec.raw.parent.parent.rmdir()


def _only_locks(folder: Path) -> bool:
    return all(path.name.endswith(".lock") for path in folder.iterdir())
