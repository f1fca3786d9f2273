"""`mmu simulate`: the simulated sky as a survey's archive would serve it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mmu.cli import options as o


def simulate(
    survey: o.SurveyName,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="Folder that becomes an archive in the survey's layout."),
    ],
    release: o.ReleaseName = None,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Seed of the sky; the same seed is the same sky in all surveys.")
    ] = 2026,
    match: Annotated[str, typer.Option(metavar="TEXT", help="Only files whose path contains this.")] = "",
    truth: Annotated[
        bool, typer.Option("--truth", help="Also write truth.parquet: what every object really is.")
    ] = False,
) -> None:
    """Write the simulated sky as a survey's archive would serve it.

    The names, folders, tables and images that the real archive has.
    `mmu build SURVEY --source simulated` makes these files as it needs them;
    write them out to look at them, or to serve them to something else.

    \b
    mmu simulate gaia --out archive --truth
    mmu simulate desi --match 11450 --out archive
    """
    from mmu.archive.export import write_archive
    from mmu.build.progress import Progress, human_bytes
    from mmu.survey import get_survey

    declared = get_survey(survey)
    count, size = write_archive(declared, declared.release(release), seed, out, match, truth, Progress())
    Console(highlight=False, soft_wrap=True).print(f"{out}: {count:,} files, {human_bytes(size)}", markup=False)
