"""`mmu demo`: the whole way on the simulated sky, in a few minutes and without the internet."""

from __future__ import annotations

import importlib
import importlib.util
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

from mmu.cli import completion
from mmu.cli import options as o

if TYPE_CHECKING:
    from mmu.build.run import Report


# Round the corner of four order-4 HEALPix pixels; images from the four bricks that meet beside it, or all of six bricks
# of the survey that a model is trained on.
REGION, BRICKS, IMAGES = "cone:185.625,0,0.35", "box:185.25,186,-0.125,0.375", "cone:185.68,0.06,0.1"
REGIONS = {"legacysurvey": BRICKS, "hsc": IMAGES}
PARTITION_BYTES = 16_000_000
PAIR = ("legacysurvey", "desi")


def _ours() -> list[str]:
    """The surveys of this package; plug-ins need not have a simulated sky."""
    from mmu.survey import get_survey, survey_names

    return [name for name in survey_names() if get_survey(name).module.startswith("surveys.")]


@dataclass
class Loaded:
    """Rows that each reader saw; they must agree with the ledger."""

    map: int
    stream: int
    lsdb: int


def demo(
    surveys: Annotated[
        list[str] | None,
        typer.Argument(metavar="SURVEY", help="All of them if left out.", autocompletion=completion.surveys),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the datasets and pictures.")
    ] = Path("demo-output"),
    workers: o.Workers = 2,
) -> None:
    """Go the whole way on the simulated sky, offline.

    Builds every survey, verifies them, loads each with datasets and lsdb,
    and draws them. The same galaxies are in all of them: they are matched,
    and the one that most see is named. Where PyTorch is installed, codecs
    and a small any-to-any model are trained on them and tested.

    \b
    mmu demo
    mmu demo desi sdss gaia --out demo
    """
    from mmu.build.run import build
    from mmu.build.spec import BuildSpec
    from mmu.build.verify import verify

    console = Console(highlight=False, soft_wrap=True)
    started = time.monotonic()
    reports: dict[str, Report] = {}
    problems: list[str] = []
    for name in surveys or _ours():
        region = REGIONS.get(name, REGION)
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
    matched = _match(out, reports, console)
    problems += [problem for path in matched for verdict in verify(path.parent) for problem in verdict.problems]
    problems += _train(out, reports, console)
    page = _report(out, reports)
    for picture in [*sorted((out / "pictures").glob("*.png")), *matched]:
        console.print(f"picture: {picture}", markup=False)
    console.print(f"demo: {'done' if not problems else 'FAILED'} in {time.monotonic() - started:.0f} s", markup=False)
    for problem in problems:
        console.print(f"  {problem}", markup=False)
    console.print(f"report: {page}", markup=False)
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


def _match(out: Path, reports: dict[str, Report], console: Console) -> list[Path]:
    """Which records of all surveys are one object, and two surveys' records of the same objects; returns pictures."""
    if len(reports) < 2:
        return []
    import pyarrow.compute as pc

    api = importlib.import_module("crossmatch.api")
    folders = {name: report.folder for name, report in reports.items()}
    console.print(f"mmu crossmatch {' '.join(folders)} --how outer --data {out} --out {out / 'match'}", markup=False)
    found = api.crossmatch(folders, how="outer", out=out / "match")
    table = found.table()
    several = table.filter(pc.greater(table["datasets"], 1))
    counts = ", ".join(f"{name} {len(several) - several[f'{name}_id'].null_count}" for name in folders)
    console.print(f"{len(table):,} objects; those that another survey sees too: {counts}", markup=False)
    best = table.slice(pc.index(table["datasets"], pc.max(table["datasets"])).as_py(), 1).to_pylist()[0]
    ids = ", ".join(f"{name} {best[f'{name}_id']}" for name in folders if best[f"{name}_id"])
    console.print(f"one galaxy in {best['datasets']} surveys: {ids}", markup=False)
    pictures = list(api.describe(out / "match"))
    if set(PAIR) <= set(folders):
        pair = out / "_x_".join(PAIR)
        console.print(f"mmu crossmatch {' '.join(PAIR)} --materialize --data {out} --out {pair}", markup=False)
        pairs = api.materialize(api.crossmatch({name: folders[name] for name in PAIR}, out=pair))
        console.print(
            f"{pair}: {len(pairs)} pairs of an image and a spectrum, {len(pairs.columns)} columns", markup=False
        )
        pictures += api.describe(pair)
    return [path for path in pictures if path.suffix == ".png"]


def _train(out: Path, reports: dict[str, Report], console: Console) -> list[str]:
    """Codecs and a model of the surveys that have images, spectra and redshifts of the same galaxies."""
    if not set(PAIR) <= set(reports):
        return []
    if importlib.util.find_spec("torch") is None:
        console.print("training: left out, it needs PyTorch: pip install 'multimodal-universe[train]'", markup=False)
        return []
    found: list[str] = importlib.import_module("training.demo").train(out, out / "_x_".join(PAIR), console)
    return found


def _report(out: Path, reports: dict[str, Report]) -> Path:
    """One page about all of it, and its pictures as files."""
    from mmu.report import write_report

    made = [
        *(report.folder.parent for report in reports.values()),
        *sorted(path.parent for path in out.glob("*/association")),
        *sorted(path.parent for path in [*out.glob("codecs/*.run/log.jsonl"), *out.glob("model/log.jsonl")]),
    ]
    return write_report(made, out / "report.html", pictures=out / "pictures")
