"""Options that several verbs share, told once so that the same flag means the same thing everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmu.cli import completion
from mmu.cli.help import MATCHING, RAW_FILES, RUNNING, SELECTION, WRITING, Verb
from mmu.errors import UsageError

if TYPE_CHECKING:
    from mmu.build.spec import BuildSpec

SurveyName = Annotated[
    str,
    typer.Argument(metavar="SURVEY", help="Which survey; `mmu list` names them.", autocompletion=completion.surveys),
]
Out = Annotated[
    Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of datasets; this one becomes DIR/SURVEY/RELEASE.")
]
ReleaseName = Annotated[
    str | None,
    typer.Option(
        "--release",
        "-r",
        metavar="NAME",
        help="Which release; the survey's default if left out.",
        autocompletion=completion.releases,
    ),
]
SourceText = Annotated[
    str | None,
    typer.Option(
        metavar="FROM",
        help="'simulated', a mirror's URL, or a folder in the archive's layout; the public archive if left out.",
        rich_help_panel=RAW_FILES,
        autocompletion=completion.choices("simulated"),
    ),
]
RegionText = Annotated[
    str,
    typer.Option(
        metavar="AREA",
        help="Part of the sky: cone:RA,DEC,R or box:RA1,RA2,DEC1,DEC2 (degrees), healpix:ORDER/PIX,..., moc:FILE.",
        rich_help_panel=SELECTION,
        autocompletion=completion.choices("cone:", "box:", "healpix:", "moc:", "all"),
    ),
]
MaxObjects = Annotated[
    int | None,
    typer.Option(metavar="N", help="Stop at so many, walking the units in name order.", rich_help_panel=SELECTION),
]
Ids = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Only these: a text file, an object_id a line.", rich_help_panel=SELECTION),
]
Cache = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder for raw files; OUT/.cache if left out.", rich_help_panel=RAW_FILES),
]
PartitionBytes = Annotated[
    str,
    typer.Option(metavar="SIZE", help="Largest shard, uncompressed: 16MB, 1GiB, ...", rich_help_panel=WRITING),
]
Data = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of datasets given by NAME; MMU_DATA if left out.")
]
How = Annotated[
    str,
    typer.Option(
        metavar="WORD",
        help="inner: objects all have; left: all of the anchor; outer: all of all.",
        rich_help_panel=MATCHING,
        autocompletion=completion.choices("inner", "left", "outer"),
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers", "-j", metavar="N", help="Processes; 0 runs everything in this one.", rich_help_panel=RUNNING
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="DASK",
        help="Workers of a running Dask scheduler: tcp://HOST:PORT, or file:PATH, its scheduler file. Or slurm: "
        "-j jobs as your Dask configuration (jobqueue.slurm) has them.",
        rich_help_panel=RUNNING,
        autocompletion=completion.choices("slurm", "file:", "tcp://"),
    ),
]
Supplements = Annotated[
    list[str] | None,
    typer.Option(
        "--supply",
        metavar="NAME=DIR",
        help="Files that the archive does not have and the survey can use; `--NAME DIR` does the same.",
        rich_help_panel=RAW_FILES,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before a build of over 100 GB.", rich_help_panel=RUNNING)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it would do and what that takes, and stop.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only the result.", rich_help_panel=RUNNING)]

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


class SupplyCommand(Verb):
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
    from mmu.build.spec import BuildSpec

    return BuildSpec(survey, Path(out), **options)  # type: ignore[arg-type]
