"""`mmu report`: a page about datasets, matches and runs of training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mmu.cli import options as o


def report(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="The --out of a build, a survey's folder, one of its releases, the OUT of a match or of a run of "
            "training, or a folder of several of them.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The page.")] = Path("report.html"),
    pictures: Annotated[
        Path | None, typer.Option("--pictures", metavar="DIR", help="Keep the pictures as files here too.")
    ] = None,
    data: o.Data = None,
) -> None:
    """Write one HTML page about datasets, matches and runs.

    What they hold, whether their counts add up, how they look. The page needs
    nothing else: it can be mailed, put on a web server, or printed. Works on
    finished and on unfinished builds.

    \b
    mmu report data/desi
    mmu report data -o data/report.html
    mmu report data/ls_x_desi -o match.html
    mmu report run -o training.html
    """
    from mmu.build.progress import human_bytes
    from mmu.report import write_report

    if data is not None:
        os.environ["MMU_DATA"] = str(data.absolute())

    made = write_report(paths, out, pictures)
    Console(highlight=False, soft_wrap=True).print(f"wrote {made}, {human_bytes(made.stat().st_size)}", markup=False)
