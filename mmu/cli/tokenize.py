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
    threads: Annotated[int, typer.Option(metavar="N", help="Partitions at a time.")] = 1,
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
    tokens = importlib.import_module("training.tokens")
    console = Console(highlight=False, soft_wrap=True)
    for path in paths:
        plan = tokens.plan(path, codecs, only.split(",") if only else None)
        _describe(plan, console)
        if dry_run:
            continue
        for codec in plan.codecs.values():
            codec.to(device)
        _write(tokens, plan, out, console, batch_size, threads)


def _describe(plan: Any, console: Console) -> None:
    keys = list(dict.fromkeys(task.row.key for task in plan.tasks))
    count = sum(task.row.tokens for task in {task.row.key: task for task in plan.tasks}.values())
    console.print(f"{plan.name}: {len(plan.samples):,} objects, {len(keys)} modalities, at most {count:,} tokens each")
    console.print(f"  {' '.join(keys)}", markup=False)


def _write(tokens: Any, plan: Any, out: Path, console: Console, batch_size: int, threads: int) -> None:
    from mmu.build.progress import human_bytes

    started = time.perf_counter()
    done = [0, 0]

    def settled(shard: Any) -> None:
        done[0] += 1
        done[1] += shard.rows
        rate = done[1] / (time.perf_counter() - started)
        console.print(f"  {done[0]} of {len(plan.leaves)} partitions, {done[1]:,} objects, {rate:,.1f} objects/s")

    shards = tokens.tokenise(plan, out, batch=batch_size, threads=threads, settled=settled)
    size = sum(shard.bytes for shard in shards)
    told = f"{sum(shard.rows for shard in shards):,} objects, {human_bytes(size)} in {len(shards):,} shards"
    console.print(f"{out / plan.name}: {told}", markup=False)
