"""`mmu build`: from a survey's archive to a verified dataset."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from mmu.cli import completion
from mmu.cli import options as o
from mmu.cli.help import RAW_FILES, SELECTION, WRITING

if TYPE_CHECKING:
    from mmu.build.estimate import Estimate
    from mmu.build.run import Report


def build(
    survey: o.SurveyName,
    out: o.Out,
    release: o.ReleaseName = None,
    dry_run: o.DryRun = False,
    region: o.RegionText = "all",
    max_objects: o.MaxObjects = None,
    ids: o.Ids = None,
    add: Annotated[
        bool, typer.Option("--add", help="Extend the dataset that is there by this.", rich_help_panel=SELECTION)
    ] = False,
    source: o.SourceText = None,
    refresh: Annotated[
        bool,
        typer.Option(
            "--refresh", help="Ask the archive what changed since; build that again.", rich_help_panel=RAW_FILES
        ),
    ] = False,
    cache: o.Cache = None,
    keep_raw: Annotated[
        bool, typer.Option("--keep-raw", help="Keep the raw files after the build.", rich_help_panel=RAW_FILES)
    ] = False,
    supply: o.Supplements = None,
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAMES",
            help="parquet, or parquet,hdf5 (the Multimodal Universe v1 layout too).",
            rich_help_panel=WRITING,
            autocompletion=completion.choices("parquet", "parquet,hdf5"),
        ),
    ] = "parquet",
    partition_bytes: o.PartitionBytes = "1GiB",
    workers: o.Workers = 2,
    scheduler: o.Scheduler = None,
    yes: o.Yes = False,
    quiet: o.Quiet = False,
) -> None:
    """Build a dataset from a survey's archive, and account for it.

    Fetches what is needed, cuts, checks, writes shards. Run the same command
    again to resume, or to retry what failed. Exit code 0: every object is
    there; 1: partial, and the ledger says what is missing and why; 2: it
    cannot be done as asked.

    \b
    mmu build desi --source simulated --max-objects 60 --out data
    mmu build legacysurvey --region cone:150.1,2.2,0.5 --out data --dry-run
    mmu build gaia --out data --scheduler slurm -j 8 --yes
    """
    from mmu.build import run
    from mmu.build.progress import Progress
    from mmu.survey import get_survey

    progress = Progress(quiet)
    console = Console(highlight=False, soft_wrap=True)
    code = 0
    names = get_survey(survey).to_build(release)
    for name in names:
        spec = o.spec_from(
            survey,
            out,
            release_name=name,
            source=source,
            regions=(region,),
            ids=o.read_ids(ids),
            max_objects=max_objects,
            partition_bytes=o.parse_bytes(partition_bytes),
            formats=tuple(part.strip() for part in formats.split(",")),
            cache=cache,
            workers=workers,
            scheduler=scheduler,
            add=add,
            more=name != names[-1],
            last=len(names) > 1 and name == names[-1],
            refresh=refresh,
            keep_raw=keep_raw,
            supplements=o.read_supplements(supply),
        )
        if dry_run:
            console.print(estimate_words(run.dry_run(spec, progress), spec.release.title), markup=False)
            continue
        report = run.build(spec, progress, confirm=lambda cost: yes or _asked(cost))
        console.print(report_words(report), markup=False)
        code = max(code, report.code)
    sys.exit(code)


def _asked(cost: Estimate) -> bool:
    return sys.stdin.isatty() and typer.confirm(f"{estimate_words(cost, 'This build')}\nGo on?")


def estimate_words(cost: Estimate, title: str) -> str:
    """What a build would take, in words."""
    from mmu.build.progress import human_bytes, human_time

    return (
        f"{title}: {cost.objects:,} objects in {cost.units:,} units and {cost.shards:,} shards; "
        f"fetches about {human_bytes(cost.download_bytes)} in {cost.files:,} files, "
        f"writes about {human_bytes(cost.output_bytes)} before compression, takes about {human_time(cost.seconds)}."
        f"\n  {cost.catalogues:,} catalogue files of {human_bytes(cost.catalogue_bytes)} were read for this plan."
        + (f"\n  {cost.route}" if cost.route else "")
    )


def report_words(report: Report) -> str:
    """What a build did, in words."""
    from mmu.build.progress import human_bytes, human_time

    counts = report.counts
    lines = [f"{report.folder}: {counts['written']:,} objects, {human_bytes(report.bytes)} in {report.shards:,} shards"]
    if report.done_before:
        lines[0] += " (was complete; nothing to do)"
    else:
        rate = counts["written"] / max(report.seconds, 1e-3)
        lines[0] += f", {human_time(report.seconds)} ({rate:,.0f} objects/s)"
    cut = sum(counts["cut"].values())
    lines.append(f"  read {counts['read']:,} = cut {cut:,} + selected {counts['selected']:,}")
    for kind in ("excluded", "failed"):
        lines += [f"  {kind} {count:,}: {reason}" for reason, count in counts[kind].items()]
    if report.absent:
        lines.append(f"  {report.absent:,} catalogues could not be had (the ledger names them and says why)")
    if report.not_there:
        lines.append(f"  {report.not_there:,} catalogue files the archive may have are not there (named in the ledger)")
    if not counts["selected"]:
        lines.append("  this selection holds no objects; the dataset is empty and its card says so")
    return "\n".join(lines)
