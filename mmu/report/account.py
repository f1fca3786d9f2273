"""The ledger as a page shows it: a balance line by line, what failed and why, and what came when."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from mmu.build.ledger import Folded, imbalances, totals

CLOCK = "%Y-%m-%dT%H:%M:%SZ"
_MOST_UNITS = 50_000
_SHOWN = 12


@dataclass(frozen=True)
class Line:
    """One line of a balance: `count` objects, drawn from `start` on, as shares of all that were read."""

    kind: str
    sign: str
    label: str
    count: int
    start: float
    share: float


@dataclass(frozen=True)
class Balance:
    """read = cut + selected, selected = written + excluded + failed; `wrong` says where that does not hold."""

    counts: Mapping[str, Any]
    lines: tuple[Line, ...]
    wrong: tuple[str, ...]

    def sum(self, kind: str) -> int:
        """All objects that were cut, excluded, or failed."""
        return sum(self.counts[kind].values())


def balance_of(ledger: Folded) -> Balance:
    """Every count of a ledger, added up anew from its units."""
    counts = totals(ledger.units)
    wrong = imbalances(ledger.units)
    if counts != ledger.build["counts"]:
        wrong.append("build.json and units.parquet count differently")
    whole = max(counts["read"], 1)
    lines = [Line("read", "", "read from the archive's catalogues", counts["read"], 0.0, counts["read"] / whole)]

    def take(kind: str, left: int, total: str) -> None:
        """What is taken away, reason by reason from the end of the bar, and what remains."""
        for reason, count in sorted(counts[kind].items(), key=lambda item: -item[1]):
            left -= count
            lines.append(Line(kind, "−", f"{total}{reason}", count, left / whole, count / whole))

    take("cut", counts["read"], "cut: ")
    lines.append(Line("selected", "=", "selected", counts["selected"], 0.0, counts["selected"] / whole))
    take("excluded", counts["selected"], "excluded: ")
    take("failed", counts["selected"] - sum(counts["excluded"].values()), "failed: ")
    lines.append(Line("written", "=", "written", counts["written"], 0.0, counts["written"] / whole))
    return Balance(counts, tuple(lines), tuple(wrong))


@dataclass(frozen=True)
class Failures:
    """Units that failed, in their own words, and catalogue files that could not be had."""

    units: int
    examples: tuple[tuple[str, str], ...]
    absent: tuple[tuple[str, str], ...]


def failures_of(ledger: Folded) -> Failures:
    absent = ledger.build["absent"]
    rows = zip(ledger.units["unit"].to_pylist(), ledger.units["error"].to_pylist(), strict=True)
    told = [(unit, error) for unit, error in rows if error and unit not in absent]
    return Failures(len(told), tuple(told[:_SHOWN]), tuple(sorted(absent.items())[:_SHOWN]))


@dataclass(frozen=True)
class Timing:
    """When the build ran, and when its raw files came.

    Attributes:
        seconds: from start to end of the run that finished the build.
        stages: name, seconds; empty where an earlier run, or a cache, had some of the files.
        files, bytes: of raw files, each counted once; of a sample of units if `sampled`.
        arrived: seconds after the first file, and all bytes until then.
        units: unit, objects written, files, bytes: the largest ones.
    """

    started: datetime | None
    finished: datetime | None
    seconds: float
    stages: tuple[tuple[str, float], ...]
    files: int
    bytes: int
    arrived: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
    units: tuple[tuple[str, int, int, int], ...]
    sampled: bool = False
    spread: Mapping[str, float] = field(default_factory=dict)


def timing_of(ledger: Folded) -> Timing:
    """What the ledger says of time: of the run, and of every raw file the moment it was verified."""
    started, finished = moment(ledger.build.get("started")), moment(ledger.build.get("finished"))
    seconds = (finished - started).total_seconds() if started and finished else 0.0
    sampled = len(ledger.units) > _MOST_UNITS
    units = ledger.units
    if sampled:
        units = units.take(pa.array(np.linspace(0, len(units) - 1, _MOST_UNITS).astype(np.int64)))
    size: dict[str, int] = {}
    when: dict[str, datetime] = {}
    largest: list[tuple[str, int, int, int]] = []
    for row in units.select(["unit", "written", "files"]).to_pylist():
        files = {str(one.get("path")): one for one in _files(row["files"])}
        size |= {path: int(one.get("bytes") or 0) for path, one in files.items()}
        when |= {path: at for path, one in files.items() if (at := moment(one.get("time"))) is not None}
        if files:
            largest.append((row["unit"], row["written"], len(files), sum(size[path] for path in files)))
    times = sorted((at.timestamp(), size[path]) for path, at in when.items())
    came_at, came = np.array([t for t, _ in times]), np.cumsum([b for _, b in times])
    amounts = np.array([one[3] for one in largest] or [0])
    spread = {"smallest": amounts.min(), "median": np.median(amounts), "largest": amounts.max()}
    return Timing(
        started, finished, seconds, _stages(started, finished, came_at), len(size), sum(size.values()),
        (came_at - came_at[0] if len(came_at) else came_at, came),
        tuple(sorted(largest, key=lambda one: -one[3])[:_SHOWN]), sampled, spread,
    )  # fmt: skip


def _stages(
    started: datetime | None, finished: datetime | None, at: np.ndarray[Any, Any]
) -> tuple[tuple[str, float], ...]:
    """The run in three parts, by its files' times; they tell nothing if some came before it began."""
    if not (started and finished and len(at)) or at[0] < started.timestamp() or at[-1] > finished.timestamp() + 1:
        return ()
    first, last = at[0] - started.timestamp(), at[-1] - started.timestamp()
    whole = (finished - started).total_seconds()
    return (
        ("planning, until the first file", first),
        ("fetching and reading", last - first),
        ("reading and writing after the last file", max(whole - last, 0.0)),
    )


def moment(text: object) -> datetime | None:
    """A time of the ledger (UTC); None if it is not one."""
    try:
        return datetime.strptime(str(text), CLOCK).replace(tzinfo=UTC)
    except ValueError:
        return None


def _files(text: str) -> list[dict[str, Any]]:
    try:
        files = json.loads(text or "[]")
    except ValueError:
        return []
    return [one for one in files if isinstance(one, dict)] if isinstance(files, list) else []


def by_reason(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Reasons and their numbers, the most first."""
    return Counter(counts).most_common()
