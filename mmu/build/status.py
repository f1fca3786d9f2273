"""How far a build is, read from its folder: while it runs, after it died, or when it is done. Writes nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmu.build.hold import holder
from mmu.build.journal import read_journal
from mmu.build.ledger import Folded, read_ledger
from mmu.build.plan import Plan, load_plan
from mmu.build.resume import Remaining
from mmu.errors import LedgerError, UsageError

RUNNING, STOPPED, PARTIAL, DONE, DAMAGED = "running", "stopped", "partial", "done", "damaged"
_RECENT_S = 600.0


@dataclass
class Status:
    """One release of a dataset.

    Attributes:
        state: running, stopped (unfinished, nobody is at it), partial (finished, something is missing), done, damaged.
        who: the process that holds the folder, if any.
        units, objects: done, and how many there are; 0 of 0 while planning.
        failed: reason -> units (of an unfinished build) or objects (of a finished one), the most first.
        example: reason -> one unit's own words.
        absent: catalogue files that are not there upstream.
        bytes: of raw files that were read.
        rate: units a second, lately. eta_s: seconds to go at that rate; None where nothing can be said.
        idle_s: seconds since anything was settled; None if nothing was.
    """

    release: str
    state: str
    who: str = ""
    units: tuple[int, int] = (0, 0)
    objects: tuple[int, int] = (0, 0)
    shards: tuple[int, int] = (0, 0)
    failed: dict[str, int] = field(default_factory=dict)
    example: dict[str, str] = field(default_factory=dict)
    absent: int = 0
    bytes: int = 0
    rate: float = 0.0
    eta_s: float | None = None
    idle_s: float | None = None
    problem: str = ""


def status(path: Path) -> list[Status]:
    """The state of every release in a dataset folder (or of all datasets below it).

    Raises:
        UsageError: no build ever wrote there.
    """
    path = Path(path).resolve()
    places = [place for root in (path, *sorted(path.glob("*/"))) for place in _releases(root)]
    if (path / "_mmu").is_dir():
        places = [(path.parent, path.name)]
    if not places:
        raise UsageError(f"{path} holds nothing that mmu built or began; give OUT, or OUT/SURVEY.")
    return [_status(root, name) for root, name in places]


def _releases(root: Path) -> list[tuple[Path, str]]:
    begun = {work.name.removeprefix(".building-") for work in root.glob(".building-*")}
    held = {note.name[1:].removesuffix(".holder.lock") for note in root.glob(".*.holder.lock")}
    held = {name for name in held if holder(root / f".{name}.lock") and root.parent.name != ".cache"}
    return [(root, name) for name in sorted({ledger.parent.name for ledger in root.glob("*/_mmu")} | begun | held)]


def _status(root: Path, release: str) -> Status:
    work, who = root / f".building-{release}", holder(root / f".{release}.lock")
    try:
        before = read_ledger(root / release / "_mmu")
    except LedgerError as problem:
        return Status(release, DAMAGED, who, problem=str(problem))
    if who or work.exists() or before is None:
        found = Status(release, RUNNING if who else STOPPED, who)
        plan = load_plan(work)
        return found if plan is None else _unfinished(found, work, plan, before)
    return _finished(release, before)


def _finished(release: str, before: Folded) -> Status:
    counts, failed = before.build["counts"], Counter(before.build["counts"]["failed"])
    units = len(before.units)
    words = [error for error in before.units["error"].to_pylist() if error]
    return Status(
        release,
        PARTIAL if failed or before.build["absent"] else DONE,
        units=(units - len(words), units),
        objects=(counts["written"], counts["selected"]),
        shards=(len(before.shards), len(before.shards)),
        failed=dict(failed.most_common()),
        example={"": words[0]} if words else {},
        absent=len(before.build["absent"]),
    )


def _unfinished(found: Status, work: Path, plan: Plan, before: Folded | None) -> Status:
    entries = read_journal(work / "journal.jsonl")
    left = Remaining(plan, before, work / "journal.jsonl", work / "spool")
    failed = {e["unit"]: e for e in entries if "failed" in e and e["unit"] not in left.settled}
    found.units = (len(plan.rows_of_unit) - len(left.pending), len(plan.rows_of_unit))
    found.objects = (int((~left.unread).sum()), len(plan.objects))
    occupied = {plan.leaves[i] for i in set(plan.leaf.tolist())}
    found.shards = (len(occupied & left.ledger.shards.keys() - left.stale), len(occupied))
    found.failed = dict(Counter(entry["kind"] for entry in failed.values()).most_common())
    found.example = {entry["kind"]: entry["failed"] for entry in failed.values()}
    found.absent = len(plan.absent)
    found.bytes = sum({file["path"]: file["bytes"] for entry in entries for file in entry.get("files", ())}.values())
    _pace(found, [entry["time"] for entry in entries if "time" in entry and "unit" in entry], len(left.pending))
    return found


def _pace(found: Status, times: list[float], pending: int) -> None:
    if not times:
        return
    found.idle_s = max(0.0, time.time() - times[-1])
    recent = [moment for moment in times if moment > times[-1] - _RECENT_S]
    if len(recent) > 1 and recent[-1] > recent[0]:
        found.rate = (len(recent) - 1) / (recent[-1] - recent[0])
        found.eta_s = pending / found.rate if found.state == RUNNING else None


def summaries(states: Iterable[Status]) -> list[dict[str, Any]]:
    """The same as plain dictionaries, for `--json`."""
    return [dict(vars(state)) for state in states]
