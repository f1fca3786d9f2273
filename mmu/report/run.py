"""What the page says of a run of training: losses as they fell, what it knows of objects it has not seen, pictures.

All of it is in the run's folder: `log.jsonl`, an entry a line; `heldout.json`, of `python -m training.evaluate
heldout`; and every PNG. Nothing of training is imported.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmu.report.chart import Chart, lines
from mmu.report.find import LOG, Subject
from mmu.report.pictures import Album, Picture, embedded

HELD_OUT = "heldout.json"
ONE_CHART = 8
"""Lines that can be told apart."""
ALONE = ("loss", "chi_square", "perplexity")
"""Of a codec."""


@dataclass(frozen=True)
class Question:
    """What was predicted of objects that the model had not seen, and from what; nats a token."""

    target: str
    given: str
    objects: int
    unigram: float
    model: float
    shuffled: float
    passes: bool


@dataclass
class RunSection:
    """One run on the page.

    Attributes:
        facts: label, value.
        charts: losses by step.
        questions: what is known of objects it has not seen.
        problems: sentences about what could not be read.
    """

    name: str
    shown: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        return f"training of {self.name}"


def run_of(subject: Subject, album: Album) -> RunSection:
    """Everything the page says of a run; what cannot be read is told, and the rest is there."""
    made = RunSection(subject.folder.resolve().name.removesuffix(".run"), subject.shown)
    try:
        entries = _entries(subject.folder / LOG)
        made.facts, made.charts = _facts(entries), _charts(entries)
        made.questions = _questions(subject.folder / HELD_OUT)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        made.problems.append(f"Its files could not all be read ({type(problem).__name__}: {problem}).")
    if album.possible:
        made.pictures = [_picture(path) for path in sorted(subject.folder.glob("*.png"))]
    return made


def _entries(path: Path) -> list[dict[str, Any]]:
    """Those of a log; the last line of a run that goes on may be half written."""
    lines_of = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines_of if line.endswith("\n")]


def _facts(entries: list[dict[str, Any]]) -> list[tuple[str, str]]:
    if not entries:
        return [("steps", "none yet")]
    last = entries[-1]
    facts = [("steps", f"{last['step']:,}"), ("loss", f"{entries[0]['loss']:.3g} at first, {last['loss']:.3g} at last")]
    for name, words in (("tokens_per_second", "tokens a second"), ("objects_per_second", "objects a second")):
        if known := [entry[name] for entry in entries if entry.get(name)]:
            facts.append((words, f"{np.median(known):,.0f}"))
    waits = [entry["data_wait"] for entry in entries if entry.get("data_wait") is not None]
    if waits:
        facts.append(("waiting for data", f"{np.mean(waits):.1%} of the time"))
    if skipped := last.get("skipped"):
        facts.append(("gradients that were not finite", f"{skipped:,}"))
    return facts


def _charts(entries: list[dict[str, Any]]) -> list[Chart]:
    """The loss of each modality, some to a chart; of a codec, what it has."""
    if len(entries) < 2:
        return []
    names = list(dict.fromkeys(name for entry in entries for name in entry.get("losses", ())))
    if not names:
        alone = [name for name in ALONE if any(name in entry for entry in entries)]
        return [_chart(name.replace("_", "-").capitalize(), entries, {name: [entry.get(name) for entry in entries]})
                for name in alone]  # fmt: skip
    known = {name: [entry["losses"].get(name) for entry in entries] for name in names}
    parts = [names[start : start + ONE_CHART] for start in range(0, len(names), ONE_CHART)]
    return [
        _chart(f"Loss of each modality{f' ({number})' if len(parts) > 1 else ''}", entries,
               {name: known[name] for name in part}, "nats a token")
        for number, part in enumerate(parts, 1)
    ]  # fmt: skip


def _chart(title: str, entries: list[dict[str, Any]], values: dict[str, list[float | None]], unit: str = "") -> Chart:
    """Of what is known at each step."""
    steps = [entry["step"] for entry in entries]
    series = {}
    for name, several in values.items():
        known = [(step, value) for step, value in zip(steps, several, strict=True) if value is not None]
        series[name] = np.array([step for step, _ in known], float), np.array([value for _, value in known], float)
    return lines(title, "steps", unit or title.lower(), series)


def _questions(path: Path) -> list[Question]:
    if not path.is_file():
        return []
    return [
        Question(one["target"], ", ".join(one["given"]), one["objects"], one["unigram"], one["model"], one["shuffled"],
                 bool(one["passes"]))
        for one in json.loads(path.read_text(encoding="utf-8"))
    ]  # fmt: skip


def _picture(path: Path) -> Picture:
    return embedded(path, path.stem.replace("_", " ").replace("-", " "))
