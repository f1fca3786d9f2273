"""The page: sections in the order they were found, one file that asks the network for nothing and runs no script."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mmu.build.files import write_bytes
from mmu.build.progress import human_bytes, human_time
from mmu.errors import UsageError
from mmu.report import dataset as of_dataset
from mmu.report import match as of_match
from mmu.report.dataset import STATES, Section, section_of
from mmu.report.find import MATCH, RUN, find
from mmu.report.match import MatchSection, match_of
from mmu.report.pictures import MISSING, Album, Picture, album
from mmu.report.run import RunSection, run_of

_MOST_ON_ONE_SKY = 12


@dataclass
class Page:
    """What the templates show."""

    title: str
    datasets: list[Section] = field(default_factory=list)
    matches: list[MatchSection] = field(default_factory=list)
    runs: list[RunSection] = field(default_factory=list)
    sky: Picture | None = None
    missing: str = ""

    @property
    def several(self) -> bool:
        return len(self.sections) > 1

    @property
    def sections(self) -> list[Any]:
        return [*self.datasets, *self.matches, *self.runs]

    @property
    def problems(self) -> list[tuple[str, str]]:
        """Anchor of a section, and a sentence: everything that is not as it should be, for the top of the page."""
        told = []
        for number, one in enumerate(self.datasets, 1):
            if one.balance is not None and (count := one.balance.sum("failed")):
                told.append(
                    (
                        f"d{number}",
                        f"{one.label}: {count:,} of {one.balance.counts['selected']:,} selected objects failed.",
                    )
                )
            if one.failures is not None and one.failures.absent:
                told.append((f"d{number}", f"{one.label}: {len(one.failures.absent)} catalogues could not be had."))
            if one.state in ("running", "stopped"):
                told.append((f"d{number}", f"{one.label}: {STATES[one.state][1]}."))
            told += [(f"d{number}", f"{one.label}: {words}") for words in one.problems]
        others: dict[str, Sequence[MatchSection | RunSection]] = {"m": self.matches, "t": self.runs}
        told += [
            (f"{letter}{number}", f"{one.title}: {words}")
            for letter, several in others.items()
            for number, one in enumerate(several, 1)
            for words in one.problems
        ]
        return told


def write_report(paths: Sequence[str | Path], out: str | Path, pictures: Path | None = None) -> Path:
    """Write one self-contained HTML page about datasets, matches and runs of training.

    Args:
        paths: folders of datasets, releases, matches or runs, or of several of them.
        out: the page.
        pictures: where the pictures are kept as files too; nowhere by default.

    Returns:
        The page's path.

    Raises:
        UsageError: a path holds nothing to tell of, or `out` is a folder.
    """
    out = Path(out).expanduser()
    if out.is_dir():
        raise UsageError(f"{out} is a folder; give the page a name, for example -o {out / 'report.html'}.")
    subjects = find(paths)
    with album(pictures) as book:
        page = Page(_title([str(path) for path in paths]), missing="" if book.possible else MISSING)
        for subject in subjects:
            if subject.kind == MATCH:
                page.matches.append(match_of(subject, book))
            elif subject.kind == RUN:
                page.runs.append(run_of(subject, book))
            else:
                page.datasets.append(section_of(subject, book))
        page.sky = _one_sky(page, book)
    write_bytes(out, _render(page).encode())
    return out


def _title(paths: list[str]) -> str:
    names = [Path(path).resolve().name for path in paths]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _one_sky(page: Page, book: Album) -> Picture | None:
    """All datasets on one sky, and where they overlap."""
    from mmu.look import draw_sky

    names = [one.name for one in page.datasets]
    filled = {
        one.name if names.count(one.name) == 1 else one.label: one.dataset
        for one in page.datasets
        if one.dataset is not None and len(one.dataset)
    }
    if not 1 < len(filled) <= _MOST_ON_ONE_SKY:
        return None
    alt = f"Maps of the density of objects on the sky: {', '.join(filled)}, and how many of them cover each part"
    return book.take("sky", alt, lambda path: draw_sky(filled, path))


def _render(page: Page) -> str:
    templates = Environment(
        loader=PackageLoader("mmu.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"bytes": human_bytes, "time": human_time}
    made = (
        f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC by multimodal-universe {version('multimodal-universe')}"
    )
    loading = {"dataset": of_dataset.loading, "match": of_match.loading}
    return templates.get_template("page.html").render(page=page, made=made, states=STATES, loading=loading)
