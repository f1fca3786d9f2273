"""`mmu demo`: the whole way on the simulated sky, in a few minutes and without the internet."""

from __future__ import annotations

import io
import sys
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from mmu.build.run import Report


# Round the corner of four order-4 HEALPix pixels; images from the four bricks that meet beside it.
REGIONS = {"legacysurvey": "cone:185.68,0.06,0.1", "desi": "cone:185.625,0,0.35", "gaia": "cone:185.625,0,0.35"}
PARTITION_BYTES = 16_000_000


@dataclass
class Loaded:
    """Rows that each reader saw; they must agree with the ledger."""

    map: int
    stream: int
    lsdb: int


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the datasets and pictures.")] = Path(
        "demo-output"
    ),
    workers: Annotated[int, typer.Option("--workers", "-j", help="Processes.")] = 2,
) -> None:
    """Build three surveys of the simulated sky, verify them, load each with datasets and lsdb, and draw them."""
    from mmu.build.run import build
    from mmu.build.spec import BuildSpec
    from mmu.build.verify import verify

    console = Console(highlight=False, soft_wrap=True)
    started = time.monotonic()
    reports: dict[str, Report] = {}
    problems: list[str] = []
    for name, region in REGIONS.items():
        console.print(f"mmu build {name} --source simulated --region {region} --partition-bytes 16MB --out {out}")
        spec = BuildSpec(
            name, out, source="simulated", regions=(region,), partition_bytes=PARTITION_BYTES, workers=workers
        )
        reports[name] = build(spec)
        problems += [problem for verdict in verify(out / name) for problem in verdict.problems]
    console.print(_table(reports))
    for line in _reasons(reports):
        console.print(line, markup=False)
    console.print(f"mmu verify: {'FAILED' if problems else 'ok'}")
    problems += _load_all(out, reports, console)
    for picture in _draw(out):
        console.print(f"picture: {picture}", markup=False)
    console.print(f"demo: {'done' if not problems else 'FAILED'} in {time.monotonic() - started:.0f} s", markup=False)
    for problem in problems:
        console.print(f"  {problem}", markup=False)
    sys.exit(1 if problems else 0)


def _table(reports: dict[str, Report]) -> Table:
    """One line a survey; the reasons for what was cut or excluded follow in words."""
    from mmu.build.progress import human_bytes

    table = Table(box=None, pad_edge=False)
    for heading in ("survey", "objects", "bytes", "shards", "cut", "excluded", "failed", "objects/s"):
        table.add_column(heading, justify="left" if heading == "survey" else "right")
    for name, report in reports.items():
        counts = report.counts
        sums = [f"{sum(counts[kind].values()):,}" for kind in ("cut", "excluded", "failed")]
        rate = counts["written"] / max(report.seconds, 1e-3)
        size = human_bytes(report.bytes)
        table.add_row(name, f"{counts['written']:,}", size, str(report.shards), *sums, f"{rate:,.0f}")
    return table


def _reasons(reports: dict[str, Report]) -> list[str]:
    lines = []
    for name, report in reports.items():
        for kind in ("cut", "excluded", "failed"):
            words = ", ".join(f"{count:,} {reason}" for reason, count in report.counts[kind].items())
            lines += [f"{name} {kind}: {words}"] if words else []
    return lines


def _load_all(out: Path, reports: dict[str, Report], console: Console) -> list[str]:
    problems = []
    for name, report in reports.items():
        seen = _load(out / name, report.folder.name)
        written = report.counts["written"]
        console.print(
            f"{name}: load_dataset {seen.map} rows, streaming {seen.stream}, lsdb {seen.lsdb}, ledger {written}",
            markup=False,
        )
        if {seen.map, seen.stream, seen.lsdb} != {written}:
            problems.append(f"{name}: readers disagree with the ledger: {seen}, {written} written")
    return problems


def _load(folder: Path, release: str) -> Loaded:
    import datasets

    # A map-mode copy belongs beside the demo, not in the user's cache; five seconds' sleep a stream is not ours to pay.
    cache = str(folder.parent / ".datasets-cache")
    datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0
    datasets.disable_progress_bars()
    whole = datasets.load_dataset(str(folder), release, split="train", cache_dir=cache)
    stream = datasets.load_dataset(str(folder), release, split="train", streaming=True, cache_dir=cache)
    streamed = sum(
        len(batch["object_id"]) for batch in stream.select_columns(["object_id"]).with_format("arrow").iter(64)
    )
    quiet = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(quiet), redirect_stderr(quiet):
        warnings.simplefilter("ignore")
        import lsdb

        catalogue = lsdb.open_catalog(folder / f"{release}_collection")
        rows = len(catalogue.compute())
    return Loaded(len(whole), streamed, rows)


def _draw(out: Path) -> list[Path]:
    import mmu
    from mmu.look import draw_coefficients, draw_spectra, draw_stamps

    pictures = out / "pictures"
    return [
        draw_stamps(mmu.open(out / "legacysurvey"), pictures / "legacysurvey.png"),
        draw_spectra(mmu.open(out / "desi"), pictures / "desi.png"),
        draw_coefficients(mmu.open(out / "gaia"), pictures / "gaia.png"),
    ]
