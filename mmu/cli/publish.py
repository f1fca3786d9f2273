"""`mmu publish`: a dataset becomes a repository on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def publish(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A dataset folder, OUT/SURVEY, or the --out of a match.")
    ],
    repo: Annotated[str, typer.Option("--repo", metavar="ORG/NAME", help="The dataset repository; made if need be.")],
    public: Annotated[
        bool, typer.Option("--public", help="Everybody may read it; a new repository is private otherwise.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option(metavar="NAME", help="A branch, made if it does not exist; main if left out.")
    ] = None,
    message: Annotated[
        str | None, typer.Option("--message", "-m", metavar="TEXT", help="What the commit says.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Read every byte against the ledger before anything is sent.")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and write nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the result.")] = False,
) -> None:
    """Publish a dataset on the Hugging Face Hub.

    Then `load_dataset("ORG/NAME")` has it, and `mmu.open`, and lsdb. Only what
    changed is sent. Run the same command again to go on after an
    interruption. The token is that of `hf auth login`, or HF_TOKEN.

    \b
    mmu publish data/desi --repo ORG/desi --dry-run
    mmu publish data/desi --repo ORG/desi --public
    """
    from mmu.build.progress import human_bytes
    from mmu.hub.publish import publish as send

    console = Console(highlight=False, soft_wrap=True)
    plan = send(
        path,
        repo,
        public=public,
        revision=revision,
        message=message,
        check=verify,
        dry_run=dry_run,
        quiet=quiet,
    )
    if dry_run:
        console.print(plan.describe(), markup=False)
        return
    sent = f"{len(plan.send):,} files, {human_bytes(plan.bytes)} sent" if plan.send else "no file changed"
    removed = f", {len(plan.gone):,} removed" if plan.gone else ""
    console.print(f"{plan.url}: {sent}{removed}, {len(plan.same):,} there already", markup=False)
    for note in plan.notes:
        console.print(note, markup=False)
    console.print(f'load_dataset("{plan.repo}", streaming=True)   mmu.open("{plan.repo}")', markup=False)
