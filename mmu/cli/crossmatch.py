"""`mmu crossmatch`: which records of several datasets are one object."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from mmu.cli import completion
from mmu.cli import options as o
from mmu.cli.help import MATCHING, RUNNING, WRITING
from mmu.errors import UsageError


def crossmatch(
    datasets: Annotated[
        list[str],
        typer.Argument(
            metavar="DATASET",
            help="Two or more, the anchor first: a folder, NAME[:RELEASE] under --data, ORG/NAME[:RELEASE] on the Hub, "
            "a catalogue at hf://, https:// or s3://, or a table (Parquet, FITS, CSV, VOTable; "
            "FILE#ra=COL,dec=COL,id=COL says which columns). NAME=DATASET names its columns.",
            autocompletion=completion.datasets,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="For DIR/association and DIR/pairs.")],
    data: o.Data = None,
    dry_run: o.DryRun = False,
    radius: Annotated[
        float, typer.Option(metavar="ARCSEC", help="Largest distance of a match.", rich_help_panel=MATCHING)
    ] = 1.0,
    how: o.How = "inner",
    require: Annotated[
        list[str] | None,
        typer.Option("--require", metavar="NAME", help="An object must be in this one.", rich_help_panel=MATCHING),
    ] = None,
    mode: Annotated[
        str,
        typer.Option(
            metavar="WORD",
            help="nearest; mutual (nearest both ways); all, or the knn nearest (two datasets).",
            rich_help_panel=MATCHING,
            autocompletion=completion.choices("nearest", "mutual", "all", "knn"),
        ),
    ] = "nearest",
    k: Annotated[int, typer.Option("--k", metavar="N", help="How many, for knn.", rich_help_panel=MATCHING)] = 1,
    epochs: Annotated[
        bool, typer.Option("--epochs", help="Follow proper motions to the other's epoch.", rich_help_panel=MATCHING)
    ] = False,
    epoch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=YEAR", help="Epoch of one that does not say: gaia=2016.0.", rich_help_panel=MATCHING
        ),
    ] = None,
    error: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=COL", help="Positional errors, to agree with too; or COL,COL.", rich_help_panel=MATCHING
        ),
    ] = None,
    sigma: Annotated[
        float, typer.Option(metavar="X", help="How many of --error are allowed.", rich_help_panel=MATCHING)
    ] = 3.0,
    region: o.RegionText = "all",
    materialize: Annotated[
        bool,
        typer.Option("--materialize", help="The records too: OUT/pairs, with all columns.", rich_help_panel=WRITING),
    ] = False,
    columns: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Of these only these: desi.spectrum,...", rich_help_panel=WRITING),
    ] = None,
    partition_bytes: o.PartitionBytes = "1GiB",
    renew: Annotated[
        bool, typer.Option("--renew", help="Replace the match that is there.", rich_help_panel=WRITING)
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            "-j",
            metavar="N",
            help="Processes; 0 runs in this one; by size if left out.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    scheduler: o.Scheduler = None,
    quiet: o.Quiet = False,
) -> None:
    """Match datasets on the sky; no border loses a pair.

    Others are matched to the anchor's objects, never to one another's.
    Run the same command again to resume.

    \b
    mmu crossmatch data/legacysurvey data/desi --out data/ls_x_desi
    mmu crossmatch desi gaia sdss --data data --how left --out data/three
    mmu crossmatch data/desi gaia=gaia.fits --epochs --out data/desi_x_gaia
    mmu crossmatch data/desi UniverseTBD/mmu_gaia_gaia --out data/desi_x_hub
    """
    from mmu.build.progress import Progress

    if data is not None:
        os.environ["MMU_DATA"] = str(data.absolute())
    api, work = importlib.import_module("crossmatch.api"), importlib.import_module("crossmatch.work")
    console = Console(highlight=False, soft_wrap=True)
    asked: dict[str, Any] = {
        "radius_arcsec": radius,
        "how": how,
        "mode": mode,
        "k": k,
        "required": require or (),
        "region": region,
        "epochs": {name: _year(name, text) for name, text in _pairs(epoch, "--epoch")} or epochs,
        "errors": {name: tuple(text.split(",")) for name, text in _pairs(error, "--error")},
        "n_sigma": sigma,
    }
    if materialize:
        api.check_pairs(*datasets)
    if dry_run:
        console.print(api.estimate(*datasets, **asked), markup=False)
        return
    where, progress = work.Where(workers, scheduler), Progress(quiet)
    found = api.crossmatch(*datasets, out=out, renew=renew, where=where, progress=progress, **asked)
    console.print(f"{found.path}: {len(found):,} rows", markup=False)
    console.print(_table(found))
    if materialize:
        wanted = None if columns is None else [name.strip() for name in columns.split(",")]
        pairs = api.materialize(found, wanted, o.parse_bytes(partition_bytes), where, progress)
        console.print(f"{pairs.path}: {len(pairs):,} rows, {len(pairs.columns)} columns", markup=False)
    for path in api.describe(out):
        console.print(f"wrote {path}", markup=False)


def _table(found: Any) -> Table:
    """The counts of each dataset."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("dataset", "records", "matched", "several candidates", "shared", "pairs", "of them by chance"):
        table.add_column(heading, justify="left" if heading == "dataset" else "right")
    for index, (member, tally) in enumerate(zip(found.members, found.tallies, strict=True)):
        counts = [tally.matched, tally.ambiguous, tally.shared, tally.pairs] if index else []
        chance = [f"{tally.chance:,.1f}"] if index else ["(the anchor)"]
        table.add_row(
            member.name, f"{tally.records:,}", *(f"{one:,}" for one in counts), *([""] * (4 - len(counts))), *chance
        )
    return table


def _pairs(given: list[str] | None, option: str) -> list[tuple[str, str]]:
    found = []
    for text in given or ():
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} {text}: give it as NAME=VALUE.")
        found.append((name, value))
    return found


def _year(name: str, text: str) -> float:
    try:
        return float(text.removeprefix("J"))
    except ValueError as problem:
        msg = f"--epoch {name}={text}: give a year, like {name}=2016.0."
        raise UsageError(msg) from problem
