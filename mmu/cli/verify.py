"""`mmu verify`: is a dataset what its ledger says?"""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console


def verify(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="A dataset folder (OUT/SURVEY), or one release in it; ORG/NAME[:RELEASE] on the Hub, hf://, https://.",
        ),
    ],
    deep: Annotated[
        bool | None,
        typer.Option(
            "--deep/--quick",
            help="Read every byte; or hold only sizes, small files and counts against the ledger. "
            "Deep by default for what is here, quick for what is elsewhere.",
        ),
    ] = None,
) -> None:
    """Check that a dataset is what its ledger says.

    Counts balance, every checksum holds, every object is where the ledger
    says. Exit code 1 if anything is missing or altered; each problem names
    its file.

    \b
    mmu verify data/desi
    mmu verify data/desi/dr1_main
    """
    from mmu.build.progress import human_bytes
    from mmu.build.verify import verify as check

    console = Console(highlight=False, soft_wrap=True)
    verdicts = check(path, deep)
    for verdict in verdicts:
        what = f"{verdict.rows:,} objects, {human_bytes(verdict.bytes)} in {verdict.shards:,} shards"
        console.print(f"{verdict.release}: {'FAILED' if verdict.problems else 'ok'} ({what})", markup=False)
        for problem in verdict.problems:
            console.print(f"  {problem}", markup=False)
    sys.exit(1 if any(verdict.problems for verdict in verdicts) else 0)
