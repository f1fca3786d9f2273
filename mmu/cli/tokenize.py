"""`mmu tokenize`: datasets as tokens of codecs, for a model to train on."""

from __future__ import annotations

import importlib
import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mmu.cli import options as o


def tokenize(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH", help="A dataset, or the OUT of a match; each becomes a folder of its own below --out."
        ),
    ],
    codecs: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of codecs, as `python -m training.train_codec` writes them.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the token shards: OUT/NAME.")],
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Only these modalities: tok_image,tok_z,...; all there are codecs for if left out."
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", metavar="N", help="Objects that are encoded at once.")
    ] = 64,
    views: Annotated[
        int, typer.Option(metavar="N", help="8 for objects turned by quarters and mirrored too, a row each.")
    ] = 1,
    threads: Annotated[int, typer.Option(metavar="N", help="Partitions at a time.")] = 1,
    workers: Annotated[
        int | None,
        typer.Option("--workers", "-j", metavar="N", help="Processes, a partition at a time each, instead of threads."),
    ] = None,
    scheduler: o.Scheduler = None,
    device: Annotated[str, typer.Option(metavar="DEVICE", help="Where codecs run: cpu, cuda, ...")] = "cpu",
    data: o.Data = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and stop.")] = False,
) -> None:
    """Encode datasets with codecs into token shards.

    A shard for each sky partition; objects and ids are kept. Run the same
    command again to resume; partitions that are done stay. Codecs come from

    python -m training.train_codec image --data data/legacysurvey --out codecs

    \b
    mmu tokenize data/legacysurvey data/ls_x_desi --codecs codecs --out tokens
    """
    if data is not None:
        os.environ["MMU_DATA"] = str(data.absolute())
    tokens, work = importlib.import_module("training.tokens"), importlib.import_module("crossmatch.work")
    where = None if workers is None and scheduler is None else work.Where(workers, scheduler)
    console = Console(highlight=False, soft_wrap=True)
    for path in paths:
        plan = tokens.plan(path, codecs.absolute(), only.split(",") if only else None, views=views, device=device)
        _describe(plan, console)
        if dry_run:
            continue
        _write(tokens, plan, out, console, {"batch": batch_size, "threads": threads, "where": where})


def _describe(plan: Any, console: Console) -> None:
    keys = list(dict.fromkeys(task.row.key for task in plan.tasks))
    count = sum(task.row.tokens for task in {task.row.key: task for task in plan.tasks}.values())
    console.print(f"{plan.name}: {len(plan.samples):,} objects, {len(keys)} modalities, at most {count:,} tokens each")
    console.print(f"  {' '.join(keys)}", markup=False)


def _write(tokens: Any, plan: Any, out: Path, console: Console, how: dict[str, Any]) -> None:
    from mmu.build.progress import human_bytes

    started = time.perf_counter()
    done = [0, 0]

    def settled(shard: Any) -> None:
        done[0] += 1
        done[1] += shard.objects
        rate = done[1] / (time.perf_counter() - started)
        console.print(f"  {done[0]} of {len(plan.leaves)} partitions, {done[1]:,} objects, {rate:,.1f} objects/s")

    shards = tokens.tokenise(plan, out.absolute(), settled=settled, **how)
    size = sum(shard.bytes for shard in shards)
    told = f"{sum(shard.objects for shard in shards):,} objects, {human_bytes(size)} in {len(shards):,} shards"
    console.print(f"{out / plan.name}: {told}", markup=False)
