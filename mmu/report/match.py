"""What the page says of a match: the rule, who matched whom, separations against chance, one object in all of them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmu.build.progress import human_bytes
from mmu.dataset import Dataset
from mmu.errors import MmuError, UsageError
from mmu.opening import open as open_dataset
from mmu.report.chart import Chart, steps
from mmu.report.dataset import column_rows, rights
from mmu.report.find import Subject
from mmu.report.measures import magnitude_columns, redshift_column
from mmu.report.pictures import Album, Picture
from mmu.report.sky import sky_chart

_BATCH = 1 << 17


@dataclass(frozen=True)
class Side:
    """One dataset's record of the object that is shown: id, separation (arcsec), and some of its columns."""

    name: str
    id: str
    separation: float | None
    values: tuple[tuple[str, str], ...]


@dataclass
class MatchSection:
    """One match on the page.

    Attributes:
        members: name, records, matched, several candidates, shared, pairs, expected by chance; texts.
        shared: objects that two datasets have both; its diagonal, those that one has.
        depth: objects in exactly so many datasets.
        rights: dataset, its licence, and how to cite it.
    """

    name: str
    shown: str
    title: str = ""
    command: str = ""
    rows: int = 0
    facts: list[tuple[str, str]] = field(default_factory=list)
    names: tuple[str, ...] = ()
    members: list[tuple[str, ...]] = field(default_factory=list)
    shared: np.ndarray[Any, Any] | None = None
    depth: list[tuple[int, int]] = field(default_factory=list)
    sky: Chart | None = None
    separations: list[Chart] = field(default_factory=list)
    where: str = ""
    rights: list[tuple[str, str, str]] = field(default_factory=list)
    sides: list[Side] = field(default_factory=list)
    picture: Picture | None = None
    columns: list[tuple[str, ...]] = field(default_factory=list)
    pairs: Dataset | None = None
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def match_of(subject: Subject, album: Album) -> MatchSection:
    """Everything the page says of a match; what cannot be read is told, and the rest is there."""
    made = MatchSection(subject.folder.resolve().name, subject.shown)
    try:
        found = importlib.import_module("crossmatch.association").open_association(subject.folder)
    except MmuError as problem:
        made.title = made.name
        made.problems.append(str(problem))
        return made
    _about(made, found)
    try:
        made.pairs = _pairs(subject.folder)
        made.columns = list(column_rows((made.pairs or found.dataset).schema))
        if made.rows:
            made.shared, depth = _overlap(found.dataset, made.names)
            made.depth = [(count, int(objects)) for count, objects in enumerate(depth) if count and objects]
            made.sky = sky_chart(found.dataset)
            made.separations = _separations(found)
            _example(made, found, album)
    except (OSError, KeyError, ValueError, pa.ArrowException, MmuError) as problem:
        made.problems.append(
            f"Its files could not all be read ({problem}); `mmu verify {made.shown}` says what is wrong."
        )
    return made


def _about(made: MatchSection, found: Any) -> None:
    rule = found.rule
    made.names, made.rows, made.command = tuple(rule.names), len(found), found.command
    made.title = " × ".join(rule.names)
    kept = {"inner": "objects that every dataset has", "left": f"all objects of {rule.names[0]}",
            "outer": "all objects of all datasets"}  # fmt: skip
    made.facts = [
        ("holds", f"{len(found):,} rows, {human_bytes(found.dataset.bytes)}"),
        ("anchor", f"{rule.names[0]}: the others are matched to its objects"),
        ("radius", f"{rule.radius_arcsec:g} arcsec"),
        ("kept", f"{rule.how}: {kept.get(rule.how, rule.how)}"),
        ("mode", rule.mode),
        ("region", rule.region),
    ]
    if any(rule.moves):
        moving = ", ".join(name for name, moves in zip(rule.names, rule.moves, strict=True) if moves)
        made.facts.append(("proper motions", f"of {moving} were followed to the epoch of the other dataset"))
    for index, (member, tally) in enumerate(zip(found.members, found.tallies, strict=True)):
        counts = [f"{one:,}" for one in (tally.matched, tally.ambiguous, tally.shared, tally.pairs)]
        cells = [*counts, f"{tally.chance:,.1f}"] if index else ["anchor", "", "", "", ""]
        made.members.append((member.name, f"{tally.records:,}", *cells))


def _pairs(folder: Path) -> Dataset | None:
    try:
        return Dataset(folder / "pairs")
    except UsageError:
        return None


def _overlap(dataset: Dataset, names: tuple[str, ...]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Objects that each two datasets share, and objects by how many datasets have them; a batch at a time."""
    shared, depth = np.zeros((len(names), len(names)), np.int64), np.zeros(len(names) + 1, np.int64)
    columns = [f"{name}_row" for name in names]
    for leaf in dataset.partitions:
        with pq.ParquetFile(dataset.shard(leaf)) as file:
            for batch in file.iter_batches(_BATCH, columns=columns):
                there = np.stack([batch.column(name).is_valid().to_numpy(False) for name in columns]).astype(np.int64)
                shared += there @ there.T
                depth += np.bincount(there.sum(axis=0), minlength=len(names) + 1)
    return shared, depth


def _separations(found: Any) -> list[Chart]:
    """For each dataset all pairs within the radius, and what chance would give: in proportion to the separation."""
    radius, charts = found.rule.radius_arcsec, []
    for member, tally in list(zip(found.members, found.tallies, strict=True))[1:]:
        edges = np.linspace(0.0, radius, len(tally.histogram) + 1)
        chance = tally.chance * (edges[1:] ** 2 - edges[:-1] ** 2) / radius**2
        words = f"{tally.pairs:,} pairs within {radius:g} arcsec, of which chance would give {tally.chance:,.1f}"
        drawn = steps(
            f"{member.name}", "separation (arcsec)", {"pairs": np.array(tally.histogram)}, edges,
            unit="pairs", words=words, expected={"expected by chance": chance},
        )  # fmt: skip
        charts.append(Chart(drawn.svg, drawn.title, drawn.legend, f"{words}."))
    return charts


# -- one object ---------------------------------------------------------------------------------------------------


def _example(made: MatchSection, found: Any, album: Album) -> None:
    """The first of the objects that most datasets have: its records side by side."""
    best = _most_seen(found.dataset, made.names)
    if best is None:
        return
    made.where = f"RA {best['ra']:.5f}°, Dec {best['dec']:+.5f}°"
    records: dict[str, tuple[Dataset, str]] = {}
    gone = []
    for member in found.members:
        id_of = best[f"{member.name}_id"]
        try:
            dataset = _opened(member, Path(found.path).parent)
            made.rights.append((member.name, *rights(dataset)))
            if id_of is None:
                continue
            record = _record(dataset, id_of, best)
        except (MmuError, OSError, pa.ArrowException):
            gone.append(f"{member.name} ({member.address or 'in memory'})")
            continue
        records[member.name] = (dataset, id_of)
        made.sides.append(
            Side(member.name, id_of, best.get(f"{member.name}_sep_arcsec"), tuple(_values(dataset, record)))
        )
    if gone:
        made.notes.append(
            f"Not found, so not shown: {', '.join(gone)}. Datasets given by NAME are looked for in --data."
        )
    if len(records) > 1:
        from mmu.look import draw_object

        alt = f"One object as {', '.join(records)} have it, side by side"
        made.picture = album.take(f"{made.name}-object", alt, lambda path: draw_object(records, path))


def _most_seen(dataset: Dataset, names: tuple[str, ...]) -> dict[str, Any] | None:
    """The row of the first object that most datasets have."""
    best, most = None, 0
    ids = [f"{name}_row" for name in names]
    for leaf in dataset.partitions:
        with pq.ParquetFile(dataset.shard(leaf)) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=ids)
                count = np.sum([column.is_valid().to_numpy() for column in table.columns], axis=0)
                if len(count) and count.max() > most:
                    most, row = int(count.max()), int(count.argmax())
                    best = file.read_row_group(group).slice(row, 1).to_pylist()[0]
                if most == len(names):
                    return best
    return best


def _opened(member: Any, beside: Path) -> Dataset:
    """A dataset of a match: where it was, or beside the match, if both were moved together."""
    try:
        return open_dataset(member.address)
    except UsageError:
        return open_dataset(beside.parent / member.name)


def _record(dataset: Dataset, id_of: str, best: dict[str, Any]) -> dict[str, Any]:
    near = f"cone:{best['ra']:.8f},{best['dec']:.8f},0.02"
    rows = dataset.table(None, region=near, ids=[id_of]).to_pylist() or dataset.table(None, ids=[id_of]).to_pylist()
    return dict(rows[0])


def _values(dataset: Dataset, record: dict[str, Any]) -> list[tuple[str, str]]:
    """Position, redshift and magnitudes, where a dataset has them."""
    told = [("ra", f"{record['ra']:.6f}°"), ("dec", f"{record['dec']:+.6f}°")]
    name = redshift_column(dataset.schema)
    if name is not None and _is_number(record[name]):
        told.append((name, f"{record[name]:.5f}"))
    for name, zero in magnitude_columns(dataset.schema):
        value = record[name]
        if zero is not None and _is_number(value):
            value = zero - 2.5 * np.log10(value) if value > 0 else None
        if _is_number(value):
            told.append((name, f"{value:.2f} mag"))
    return told


def _is_number(value: object) -> bool:
    return isinstance(value, float) and bool(np.isfinite(value))


def loading(made: MatchSection) -> str:
    """How to load it, as code."""
    part = "pairs" if made.pairs is not None else "association"
    return f"""from datasets import load_dataset
rows = load_dataset("{made.shown}", "{part}", split="train", streaming=True)

import mmu
data = mmu.open("{made.shown}", "{part}")
for batch in mmu.stream("{made.shown}"): ...   # the same objects, as arrays of every dataset"""
