"""Files that a user gives because the archive does not have them (`Survey.supplements`), beside those of the archive.

They are used where they lie. To the rest of the build they are files of the source, called `NAME/FILE`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mmu.archive.host import HostGate
from mmu.archive.protocol import Arrival, Closing, Order, Provenance, Source
from mmu.archive.source import FolderSource
from mmu.errors import UsageError, unknown
from mmu.survey import File, Survey

MOST_BYTES = 64 << 20
"""Of one file; they are tables that a program comes with, not data."""


def check_supplements(survey: Survey, given: Mapping[str, Path]) -> None:
    """Refuse what the survey does not know, and folders that lack a file.

    Raises:
        UsageError: says what is missing, or what may be given.
    """
    known = {one.name: one for one in survey.supplements}
    for name, folder in given.items():
        if name not in known:
            if not known:
                raise UsageError(f"--{name}: {survey.name} takes nothing besides the archive's files; leave it out.")
            raise unknown(f"supplement of {survey.name}", name, known)
        for file in known[name].files:
            path = folder / file
            if not path.is_file() or path.stat().st_size > MOST_BYTES:
                raise UsageError(
                    f"--{name} {folder}: there is no file {file} of at most {MOST_BYTES >> 20} MiB in it; "
                    f"the folder must hold {', '.join(known[name].files)}."
                )


def supplement_digests(survey: Survey, given: Mapping[str, Path]) -> dict[str, str]:
    """Name -> a digest over the files given, for the build's identity; the folder may move."""
    found = {}
    for one in survey.supplements:
        if one.name in given:
            contents = [hashlib.sha256((given[one.name] / file).read_bytes()).hexdigest() for file in one.files]
            found[one.name] = f"sha256 {hashlib.sha256(' '.join(contents).encode()).hexdigest()[:16]}"
    return found


def supplement_files(survey: Survey, given: Mapping[str, Path]) -> tuple[File, ...]:
    """What every unit is given besides the archive's files."""
    supplied = [one for one in survey.supplements if one.name in given]
    sizes = {(one.name, file): (given[one.name] / file).stat().st_size for one in supplied for file in one.files}
    return tuple(File(f"{name}/{file}", size) for (name, file), size in sizes.items())


def with_supplements(source: Source, given: Mapping[str, Path]) -> Source:
    """The source, and the folders given as part of it."""
    return Supplied(source, given) if given else source


class Supplied(Closing):
    """A source and, under a name each, folders of this machine."""

    def __init__(self, source: Source, given: Mapping[str, Path]) -> None:
        self._source = source
        self._folders = {name: FolderSource(folder) for name, folder in given.items()}
        self.name, self.host = source.name, source.host

    def _at(self, path: str) -> tuple[Source, str]:
        """Who has a file, and as what."""
        name, _, rest = path.partition("/")
        return (self._folders[name], rest) if name in self._folders else (self._source, path)

    def local(self, path: str) -> Path | None:
        source, inner = self._at(path)
        return source.local(inner)

    def fetch(self, path: str, part: Path, order: Order) -> Arrival:
        return self._source.fetch(path, part, order)  # a folder's files are used in place

    def changed(self, known: Provenance, gate: HostGate) -> bool:
        source, inner = self._at(known.path)
        return source.changed(replace(known, path=inner), gate)

    def has(self, path: str, gate: HostGate) -> bool:
        source, inner = self._at(path)
        return source.has(inner, gate)

    def pause(self, failures: int) -> float:
        return self._source.pause(failures)

    def close(self) -> None:
        self._source.close()
