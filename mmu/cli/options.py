"""Options that several verbs share, told once so that the same flag means the same thing everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

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
    str | None,
    typer.Option(
        help="Instead of local workers: a running Dask scheduler, tcp://HOST:PORT or file:PATH (its scheduler file), "
        "or slurm: -j jobs as your Dask configuration (jobqueue.slurm) describes them."
    ),
]
Supplements = Annotated[
    list[str] | None,
    typer.Option(
        "--supply",
        metavar="NAME=DIR",
        help="A folder of files that the archive does not have and the survey can use; `--NAME DIR` does the same.",
    ),
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


class SupplyCommand(TyperCommand):
    """A verb that takes `--NAME DIR` for each `Supplement` of the survey that its command line names."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return list(super().parse_args(ctx, list(_spelled_out(args))))


def _spelled_out(args: list[str]) -> Iterator[str]:
    """The arguments with `--NAME DIR` and `--NAME=DIR` as `--supply NAME=DIR`."""
    from mmu.survey import get_survey, survey_names

    surveys = [get_survey(name) for name in set(args) & set(survey_names())]
    names = {f"--{one.name}": one.name for survey in surveys for one in survey.supplements}
    left = iter(args)
    for arg in left:
        option, equals, folder = arg.partition("=")
        if option in names and (equals or (folder := next(left, ""))):
            yield from ("--supply", f"{names[option]}={folder}")
        else:
            yield arg


def read_supplements(given: list[str] | None) -> dict[str, Path]:
    """Name -> folder.

    Raises:
        UsageError: not NAME=DIR.
    """
    found = {}
    for text in given or ():
        name, equals, folder = text.partition("=")
        if not (name and equals and folder):
            raise UsageError(f"--supply {text}: give it as NAME=DIR.")
        found[name] = Path(folder).absolute()
    return found


def spec_from(survey: str, out: Path, **options: object) -> BuildSpec:
    """The build a command line asks for."""
    return BuildSpec(survey, Path(out), **options)  # type: ignore[arg-type]
