"""What a build was asked to do, and where its files go."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mmu.archive.supplied import check_supplements, supplement_digests
from mmu.errors import UsageError, unknown
from mmu.sky.region import AnyOf, Region, parse_region
from mmu.survey import Release, Survey, get_survey

FORMATS = ("parquet", "hdf5")
GIB = 1 << 30


@dataclass(frozen=True)
class BuildSpec:
    """One build: which objects of which release, from where, into which folder.

    Attributes:
        source: None for the public archive, a mirror's URL, a folder in the archive's layout, or "simulated"
            ("simulated:SEED", "simulated:SEED:noiseless" for pixels as they truly are).
        regions: what parts of the sky; their union. More than one only through `--add`.
        ids: only these object_ids.
        max_objects: stop once that many rows are selected, walking the units in name order.
        workers: processes; 0 runs everything in this one.
        scheduler: None for local workers, or tcp://HOST:PORT, file:PATH, or slurm (`workers` is then how many jobs).
        add: extend what is there by this region instead of refusing.
        more: another release is built next from the same raw files; catalogues stay for it.
        last: all releases that share raw files were built, this one last; none of the files stay.
        refresh: ask the archive what changed since, and build again what depends on it.
        supplements: name -> folder of files that the archive does not have (`Survey.supplements`).
    """

    survey_name: str
    out: Path
    release_name: str | None = None
    source: str | None = None
    regions: tuple[str, ...] = ("all",)
    ids: frozenset[str] | None = None
    max_objects: int | None = None
    partition_bytes: int = GIB
    formats: tuple[str, ...] = ("parquet",)
    cache: Path | None = None
    workers: int = 2
    scheduler: str | None = None
    add: bool = False
    more: bool = False
    last: bool = False
    refresh: bool = False
    keep_raw: bool = False
    supplements: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.formats:
            if name not in FORMATS:
                raise unknown("format", name, FORMATS)
        if self.max_objects is not None and self.max_objects < 1:
            raise UsageError(f"--max-objects {self.max_objects}: give a number of 1 or more, or leave it out for all.")
        if self.partition_bytes < 1 << 16:
            raise UsageError(f"--partition-bytes {self.partition_bytes}: a shard needs at least 64 kB.")
        if self.workers < 0:
            raise UsageError(f"--workers {self.workers}: give 0 (this process) or more.")
        # An unknown survey or release, and a region that cannot be read, are told at once.
        _ = self.release, self.region
        check_supplements(self.survey, self.supplements)

    @cached_property
    def survey(self) -> Survey:
        return get_survey(self.survey_name)

    @cached_property
    def release(self) -> Release:
        return self.survey.release(self.release_name)

    @cached_property
    def region(self) -> Region:
        regions = [parse_region(text) for text in self.regions]
        return regions[0] if len(regions) == 1 else AnyOf(regions)

    @property
    def root(self) -> Path:
        """The dataset: `<out>/<survey>`."""
        return self.out / self.survey.name

    @property
    def folder(self) -> Path:
        """The release's catalogue: `<out>/<survey>/<release>`."""
        return self.root / self.release.name

    @property
    def ledger(self) -> Path:
        return self.folder / "_mmu"

    @property
    def work(self) -> Path:
        """Journal, plan and spool of an unfinished build."""
        return self.root / f".building-{self.release.name}"

    @property
    def raw(self) -> Path:
        """Where raw files are kept while they are needed, in the archive's own layout.

        Releases that are built one after the other share them: a catalogue of all is fetched once.
        """
        name = "all" if self.survey.builds else self.release.name
        return (self.cache or self.out / ".cache") / self.survey.name / name

    def identity(self, source_name: str) -> dict[str, Any]:
        """What decides which rows are selected and how they are laid out; the same identity resumes."""
        digest = "\n".join(sorted(self.ids)).encode() if self.ids is not None else None
        return {
            "survey": self.survey.name,
            "release": self.release.name,
            "source": source_name,
            "region": " + ".join(self.regions),
            "regions": list(self.regions),
            "ids": None
            if digest is None
            else f"{len(self.ids or ())} ids, sha256 {hashlib.sha256(digest).hexdigest()[:16]}",
            "max_objects": self.max_objects,
            "partition_bytes": self.partition_bytes,
            **({"supplements": supplement_digests(self.survey, self.supplements)} if self.survey.supplements else {}),
        }
