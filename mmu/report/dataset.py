"""What the page says of one dataset: a release that was built, or any HATS catalogue of objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmu.build.ledger import Folded, read_ledger
from mmu.build.progress import human_bytes, human_time
from mmu.build.status import DAMAGED, DONE, PARTIAL, Status
from mmu.build.status import status as build_status
from mmu.dataset import Dataset
from mmu.errors import LedgerError, MmuError, UsageError
from mmu.report.account import Balance, Failures, Timing, balance_of, failures_of, timing_of
from mmu.report.chart import Chart, curve, histogram, number
from mmu.report.find import Subject
from mmu.report.measures import measures
from mmu.report.pictures import Album, Picture
from mmu.report.sky import sky_chart
from mmu.survey import Release, Survey, get_survey

_OBJECTS = 8


@dataclass
class Section:
    """One dataset on the page.

    Attributes:
        state: as `mmu status` has it; "" where no build of ours made it.
        facts: label, value.
        problems: sentences about what could not be read.
    """

    name: str
    release: str
    title: str
    shown: str
    state: str = ""
    status: Status | None = None
    dataset: Dataset | None = None
    facts: list[tuple[str, str]] = field(default_factory=list)
    selection: tuple[str, ...] = ()
    balance: Balance | None = None
    failures: Failures | None = None
    timing: Timing | None = None
    sky: Chart | None = None
    charts: list[Chart] = field(default_factory=list)
    arrival: Chart | None = None
    picture: Picture | None = None
    columns: list[tuple[str, ...]] = field(default_factory=list)
    licence: str = ""
    homepage: str = ""
    cite: str = ""
    bytes: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        return f"{self.name} {self.release}"

    @property
    def rows(self) -> int:
        return len(self.dataset) if self.dataset is not None else 0

    @property
    def rate(self) -> float:
        """Objects a second, of the run that finished the build; 0 where nothing can be said."""
        if self.balance is None or self.timing is None or not self.timing.seconds:
            return 0.0
        return float(self.balance.counts["written"] / self.timing.seconds)


def section_of(subject: Subject, album: Album) -> Section:
    """Everything the page says of a dataset; what cannot be read is told, and the rest is there."""
    name, release = subject.folder.parent.name, subject.folder.name
    made = Section(name, release, f"{name} {release}", subject.shown)
    _state(made, subject.folder)
    ledger = _ledger(made, subject.folder)
    if ledger is not None:
        _account(made, ledger)
    try:
        made.dataset = Dataset(subject.folder)
    except UsageError:
        return made  # only begun: what there is to say is its state
    try:
        _about(made, made.dataset, ledger)
        made.columns = list(column_rows(made.dataset.schema))
        made.bytes = made.dataset.bytes
        if len(made.dataset):
            made.sky = sky_chart(made.dataset)
            made.charts = [
                histogram(m.title, m.axis, m.series, of=m.of, notes=m.notes, log=m.log) for m in measures(made.dataset)
            ]
            made.picture = _picture(made, made.dataset, album)
    except (OSError, KeyError, ValueError, pa.ArrowException, MmuError) as problem:
        made.problems.append(
            f"Its files could not all be read ({problem}); `mmu verify {subject.shown}` says what is wrong."
        )
    return made


def _state(made: Section, folder: Path) -> None:
    try:
        found = {one.release: one for one in build_status(folder.parent)}
    except UsageError:
        return
    made.status = found.get(folder.name)
    made.state = made.status.state if made.status is not None else ""


def _ledger(made: Section, folder: Path) -> Folded | None:
    try:
        return read_ledger(folder / "_mmu")
    except LedgerError as problem:
        made.problems.append(str(problem))
        made.state = DAMAGED
        return None


def _account(made: Section, ledger: Folded) -> None:
    made.balance, made.failures, made.timing = balance_of(ledger), failures_of(ledger), timing_of(ledger)
    if made.balance.wrong:
        made.problems += [f"The ledger does not balance: {words}." for words in made.balance.wrong[:3]]
        made.state = DAMAGED
    seconds, came = made.timing.arrived
    if len(seconds) > 2 and seconds[-1] > 0:
        made.arrival = curve("Raw files as they came", "seconds after the first", "MB", seconds, came / 1e6)


def _about(made: Section, dataset: Dataset, ledger: Folded | None) -> None:
    """What it is, in facts; from its survey's declaration if this installation knows it, else from the catalogue."""
    made.title = dataset.properties.get("obs_title", made.label)
    made.licence, made.homepage = dataset.properties.get("obs_copyright", ""), _web(dataset.properties)
    survey, release = _declared(ledger)
    if survey is not None and release is not None:
        made.title, made.licence, made.homepage = f"{survey.title}: {release.title}", survey.licence, survey.homepage
        made.selection, made.cite = release.selection, survey.text("cite.bib").strip()
    size = f"{len(dataset):,} rows, {len(dataset.columns):,} columns, {human_bytes(dataset.bytes)} in "
    made.facts.append(("holds", f"{size}{len(dataset.partitions):,} shards"))
    made.facts += list(_build_facts(made, ledger)) if ledger is not None else []
    if release is not None and release.objects and made.balance is not None:
        share = made.balance.counts["written"] / release.objects
        made.facts.append(
            ("of the whole release", f"{number(100 * share)}% of {release.objects:,} objects; {release.coverage}")
        )
    if "moc_sky_fraction" in dataset.properties:
        area = float(dataset.properties["moc_sky_fraction"]) * 41252.96
        made.facts.append(("on the sky", f"{area:,.3g} square degrees of HEALPix pixels (order 8) that hold objects"))
    if "hats_coordinate_epoch" in dataset.properties:
        made.facts.append(("positions", f"ICRS at epoch {dataset.properties['hats_coordinate_epoch']}"))


def _build_facts(made: Section, ledger: Folded) -> Iterator[tuple[str, str]]:
    build, spec = ledger.build, ledger.build["spec"]
    source = str(spec.get("source") or "")
    simulated = source.startswith("simulated")
    yield "source", f"{source}: a simulated sky, no observations" if simulated else source
    yield "region", ", ".join(spec.get("regions") or [str(spec.get("region", "all"))])
    if spec.get("max_objects"):
        yield "limit", f"units in order of name until {spec['max_objects']:,} objects were selected"
    if spec.get("ids"):
        yield "limit", "a list of ids"
    if made.timing is not None and made.timing.finished is not None:
        yield "built", f"{made.timing.finished:%Y-%m-%d %H:%M} UTC, in {human_time(made.timing.seconds)}"
    yield "with", ", ".join(f"{name} {version}" for name, version in build.get("versions", {}).items())
    if build["formats"] != ["parquet"]:
        yield "formats", ", ".join(build["formats"])


def _declared(ledger: Folded | None) -> tuple[Survey | None, Release | None]:
    if ledger is None:
        return None, None
    try:
        survey = get_survey(str(ledger.build["survey"]))
        return survey, survey.release(str(ledger.build["release"]))
    except MmuError:
        return None, None


def rights(dataset: Dataset) -> tuple[str, str]:
    """Licence, and BibTeX, of a dataset: its survey's if that is known here, else what the catalogue says."""
    survey, _ = _declared(read_ledger(dataset.path / "_mmu"))
    if survey is None:
        return dataset.properties.get("obs_copyright", ""), ""
    return survey.licence, survey.text("cite.bib").strip()


def _web(properties: dict[str, str]) -> str:
    address = properties.get("prov_progenitor", "")
    return address if address.startswith(("https://", "http://")) else ""


def _picture(made: Section, dataset: Dataset, album: Album) -> Picture | None:
    from mmu.look import draw

    alt = f"The first objects of {made.label}, as pictures of what each holds"
    return album.take(made.name, alt, lambda path: draw(dataset, path, _OBJECTS))


def column_rows(schema: pa.Schema) -> Iterator[tuple[str, ...]]:
    """Name, type, unit, meaning and polarity of each column; the members of a struct follow it."""
    for one in schema:
        yield _column(one, one.name)
        if pa.types.is_struct(one.type) and _told(one).get("modality") != "picture":
            yield from (_column(member, f"{one.name}.{member.name}") for member in one.type)


def _column(one: pa.Field, name: str) -> tuple[str, ...]:
    told, kind, depth = _told(one), one.type, 0
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind, depth = kind.value_type, depth + 1
    shape = told.get("shape", "[" + ", ".join(["null"] * depth) + "]" if depth else "").replace("null", "*")
    words = "struct" if pa.types.is_struct(kind) else str(kind)
    words = "picture" if told.get("modality") == "picture" else words
    unit = told.get("unit", "")
    unit += f" (AB zero point {told['zero_point_ab']})" if "zero_point_ab" in told else ""
    return name, f"{words}{shape}", unit, told.get("meaning", ""), told.get("polarity", "")


def _told(one: pa.Field) -> dict[str, str]:
    return {key.decode(): text.decode() for key, text in (one.metadata or {}).items()}


STATES: dict[str, tuple[str, str]] = {
    DONE: ("good", "complete"),
    PARTIAL: ("bad", "partial: something is missing"),
    "running": ("warn", "being built"),
    "stopped": ("warn", "unfinished"),
    DAMAGED: ("bad", "damaged"),
    "": ("plain", "no ledger"),
}
"""State -> colour, words."""


def loading(made: Section) -> Any:
    """How to load it, as code."""
    return f"""from datasets import load_dataset
rows = load_dataset("{made.shown}", "{made.release}", split="train", streaming=True)

import mmu
data = mmu.open("{made.shown}", "{made.release}")
table = data.table(region="cone:RA,DEC,RADIUS")   # scalar columns, as an Arrow table
for batch in data.batches(batch_rows=64): ...     # every column, as NumPy arrays

import lsdb
catalogue = lsdb.open_catalog("{made.shown}/{made.release}_collection")"""
