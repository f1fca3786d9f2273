"""Options that several verbs share, told once so that the same flag means the same thing everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmu.build.spec import BuildSpec
from mmu.errors import UsageError

SurveyName = Annotated[str, typer.Argument(metavar="SURVEY", help="Which survey; `mmu list` names them.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the dataset; it becomes OUT/SURVEY/RELEASE.")]
ReleaseName = Annotated[
    str | None,
    typer.Option("--release", "-r", help="Which release; the survey's default (or all that make it up) if left out."),
]
SourceText = Annotated[
    str | None,
    typer.Option(
        help="Where raw files come from: the public archive if left out, a mirror's URL, "
        "a folder in the archive's layout, or 'simulated'."
    ),
]
RegionText = Annotated[
    str,
    typer.Option(help="Part of the sky: cone:RA,DEC,R  box:RA1,RA2,DEC1,DEC2  healpix:ORDER/PIX,...  moc:FILE  all"),
]
MaxObjects = Annotated[int | None, typer.Option(help="Stop at that many objects, walking the units in name order.")]
Ids = Annotated[Path | None, typer.Option(help="Text file with one object_id a line: only these.")]
Cache = Annotated[Path | None, typer.Option(help="Folder for raw files; OUT/.cache if left out.")]
Workers = Annotated[int, typer.Option("--workers", "-j", help="Processes; 0 runs everything in this one.")]
Scheduler = Annotated[
    str | None, typer.Option(help="A running Dask scheduler, tcp://HOST:PORT, instead of local workers.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before a build of over 100 GB.")]

_SUFFIXES = {
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "b": 1,
    "": 1,
}


def parse_bytes(text: str) -> int:
    """A size as people write it: 16MB, 1GiB, 500000.

    Raises:
        UsageError: not a number with one of the known units.
    """
    word = text.strip().lower()
    number = word.rstrip("abcdefghijklmnopqrstuvwxyz ")
    try:
        return int(float(number) * _SUFFIXES[word[len(number) :].strip()])
    except (KeyError, ValueError, OverflowError) as problem:
        msg = f"{text!r} is not a size; write it like 16MB, 1GiB or 500000."
        raise UsageError(msg) from problem


def read_ids(path: Path | None) -> frozenset[str] | None:
    """The ids in a text file, one a line.

    Raises:
        UsageError: there is no such file, or it has no ids.
    """
    if path is None:
        return None
    try:
        ids = frozenset(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as problem:
        msg = f"--ids {path}: cannot be read as text ({problem}); give a file with one object_id a line."
        raise UsageError(msg) from problem
    if not ids:
        raise UsageError(f"--ids {path}: the file has no ids; give one object_id a line.")
    return ids


def spec_from(survey: str, out: Path, **options: object) -> BuildSpec:
    """The build a command line asks for."""
    return BuildSpec(survey, Path(out), **options)  # type: ignore[arg-type]
