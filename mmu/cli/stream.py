"""`mmu stream`: what a stream of matched batches would give, and how fast."""

from __future__ import annotations

import importlib
import os
import resource
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from mmu.cli import completion
from mmu.cli import options as o
from mmu.cli.help import BATCHES, MATCHING, RUNNING


def stream(
    datasets: Annotated[
        list[str],
        typer.Argument(
            metavar="DATASET",
            help="One, or several to be matched, the anchor first, as `mmu crossmatch` takes them; or a match made "
            "earlier (its OUT).",
            autocompletion=completion.datasets,
        ),
    ],
    columns: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="desi.spectrum,gaia.coeff,...; all numbers if left out."),
    ] = None,
    stats: Annotated[bool, typer.Option("--stats", help="Stream, and measure.")] = False,
    batches: Annotated[
        int | None, typer.Option(metavar="N", help="With --stats, stop after so many; else an epoch.")
    ] = None,
    data: o.Data = None,
    radius: Annotated[
        float, typer.Option(metavar="ARCSEC", help="Largest distance of a match.", rich_help_panel=MATCHING)
    ] = 1.0,
    how: o.How = "inner",
    region: o.RegionText = "all",
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", metavar="N", help="Objects of a batch.", rich_help_panel=BATCHES)
    ] = 256,
    shuffle: Annotated[
        int | None,
        typer.Option(metavar="SEED", help="Shuffle; the order of the sky if left out.", rich_help_panel=BATCHES),
    ] = None,
    crop: Annotated[
        int,
        typer.Option(metavar="N", help="Pixels a side cut out of images; 0 for all.", rich_help_panel=BATCHES),
    ] = 0,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            help="Of floats: float16, bfloat16, float32.",
            rich_help_panel=BATCHES,
            autocompletion=completion.choices("float16", "bfloat16", "float32"),
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for decoded row groups, for later.", rich_help_panel=RUNNING),
    ] = None,
    pool: Annotated[
        str, typer.Option(metavar="SIZE", help="Memory for batches, shuffled together.", rich_help_panel=RUNNING)
    ] = "1GiB",
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="That decode; all cores if left out.", rich_help_panel=RUNNING)
    ] = None,
) -> None:
    """Say what `mmu.stream` gives of datasets, and how fast.

    \b
    mmu stream data/legacysurvey data/desi
    mmu stream desi gaia --data data --columns desi.spectrum --stats
    mmu stream data/ls_x_desi --stats --shuffle 1 --cache cache
    """
    if data is not None:
        os.environ["MMU_DATA"] = str(data.absolute())
    from mmu.build.progress import Progress

    api = importlib.import_module("crossmatch.stream.api")
    console = Console(highlight=False, soft_wrap=True)
    started = time.perf_counter()
    found = api.stream(
        datasets[0] if len(datasets) == 1 else datasets,
        radius,
        columns.split(",") if columns else None,
        batch_size,
        how,
        region=region,
        shuffle=shuffle,
        crop=crop,
        dtype=dtype,
        cache=cache,
        pool_bytes=o.parse_bytes(pool),
        threads=threads,
        tail="exact",
        progress=Progress(),
    )
    console.print(f"{found!r}, found in {time.perf_counter() - started:.2f} s", markup=False)
    console.print(f"at most {found.pool / 1e6:,.0f} MB of batches in memory at once", markup=False)
    console.print(_arrays(found))
    if stats:
        console.print(_measured(found, batches, console))


def _arrays(found: Any) -> Table:
    """What a batch holds."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("dataset", "array", "shape", "type", "bytes"):
        table.add_column(heading, justify="right" if heading == "bytes" else "left")
    for side, arrays in zip(found.samples.sides, found.arrays, strict=True):
        for array in arrays:
            shape = " x ".join("any" if length is None else str(length) for length in array.shape) or "-"
            shape += f" ({' '.join(array.bands)})" if array.bands else ""
            size = "any" if array.ragged else f"{array.bytes_per_row:,}"
            table.add_row(side.name, array.name, shape, array.dtype, size)
    return table


def _measured(found: Any, batches: int | None, console: Console) -> Table:
    """Stream once, telling how far it is now and then; the figures."""
    started = told = time.perf_counter()
    total = len(found) if batches is None else min(batches, len(found))
    for batch in islice(found, batches):
        if time.perf_counter() - told > 5:
            told = time.perf_counter()
            rate = found.stats.samples / (told - started)
            console.print(f"  {batch.index + 1} of {total} batches, {rate:,.0f} objects/s")
        del batch
    seconds, done = max(time.perf_counter() - started, 1e-9), found.stats
    waits = sorted(done.waits)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_row("objects", f"{done.samples:,} in {seconds:.1f} s")
    table.add_row("objects/s", f"{done.samples / seconds:,.0f}")
    table.add_row("bytes/s", f"{done.bytes / seconds / 1e6:,.0f} MB/s delivered")
    if done.fetched:
        table.add_row("fetched", f"{done.fetched / 1e6:,.1f} MB over the network")
    table.add_row("wait", f"{done.waited / seconds:.0%} of the time; 99 % of batches under {_p99(waits):.3f} s")
    table.add_row("memory", f"{peak / 1e6:,.0f} MB at most")
    return table


def _p99(waits: list[float]) -> float:
    return waits[int(0.99 * (len(waits) - 1))] if waits else 0.0
