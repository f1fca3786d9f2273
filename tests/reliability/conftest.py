"""What the reliability tests found, as the tables of docs/reliability.md.

A test that passed calls `tally(section, what, outcome)` once for each case it tried, or with a count of like cases. A
run writes its sections, and leaves the page's others as they are, only when every test passed: so the page's n/n are
cases that ran and none that failed.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import pytest

Tally = Callable[..., None]
Rows = list[tuple[str, str, int]]

NOTES = {
    "Requests per second": "As the server counted them in any one second. Starts are spaced by the policy, over all "
    "processes of the machine: at 2/s at 0, 0.5 and 1 s, say. If the last is some milliseconds quicker on its way than "
    "the first, a second holds three.",
    "Cost of the checks": "Builds with every check and with none (no digest, probe, sync, reading back), in turn; the "
    "median of the ratios. `n` is the number of pairs. The simulated archive of desi serves ten bytes of raw spectra "
    "for each byte kept, from this very machine: what is left is the sha256 of those and their way to the disk.",
    "Bad files": "Healthy files spoiled in each of some fifty ways, read as a build reads them. What nothing vouches "
    "for (no list, no FITS checksum) may change values; it must then still be sound in structure.",
}
_KEY = pytest.StashKey[dict[str, Rows]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_KEY] = {}


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """`tally(section, what, outcome, count=1)` adds a line to a section's table."""
    sections = request.config.stash[_KEY]

    def add(section: str, what: str, outcome: str, count: int = 1) -> None:
        sections.setdefault(section, []).append((what, outcome, count))

    return add


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    page: Path | None = session.config.getoption("--report")
    sections = session.config.stash[_KEY]
    if page is not None and exitstatus == 0 and sections:
        page.parent.mkdir(parents=True, exist_ok=True)
        known = sections_of(page.read_text(encoding="utf-8")) if page.exists() else {}
        page.write_text(page_text(dict(sorted({**known, **sections}.items()))), encoding="utf-8")


def sections_of(text: str) -> dict[str, Rows]:
    """The sections of a page that was written before."""
    found: dict[str, Rows] = {}
    for part in text.split("\n## ")[1:]:
        name, _, table = part.partition("\n")
        cells = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
        found[name] = [(what, outcome, int(count)) for what, outcome, count in cells[1:]]
    return found


def page_text(sections: dict[str, Rows]) -> str:
    """The page: a summary, then a table for each section."""
    machine = f"Python {platform.python_version()} on {platform.system()}"
    lines = [
        "# What it survives",
        "",
        f"Written by the tests in tests/reliability ({machine}); `make reliability` does the long runs.",
        "",
        "No case lost an object: what is killed, broken or badly served ends, at the latest when the same command is",
        "run again, with the bytes and the counts of an undisturbed build.",
        "",
        "| | cases |",
        "|---|---|",
    ]
    for section, rows in sections.items():
        total = sum(count for _, _, count in rows)
        lines.append(f"| [{section}](#{section.lower().replace(' ', '-')}) | {total}/{total} |")
    for section, rows in sections.items():
        lines += [
            "",
            f"## {section}",
            "",
            *([NOTES[section], ""] if section in NOTES else []),
            "| case | what happened | n |",
            "|---|---|---|",
        ]
        lines += [f"| {_cell(what)} | {_cell(outcome)} | {count} |" for what, outcome, count in rows]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())
