"""What a person watching sees: a live bar on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger("mmu")
_LINE_EVERY_S = 5.0


class Phase:
    """One stretch of work: so many units done, objects, and bytes fetched."""

    def __init__(self, name: str, unit: str, total: int | None, bar: Any, quiet: bool = False) -> None:
        self.name, self.unit, self.total, self._bar, self._quiet = name, unit, total, bar, quiet
        self.done = self.objects = self.bytes = 0
        self.started = self._said = time.monotonic()
        self._task = bar.add_task(name, total=total, detail="") if bar is not None else None

    def advance(self, units: int = 1, objects: int = 0) -> None:
        self.done += units
        self.objects += objects
        self.show()

    def fetched(self, count: int) -> None:
        """Count bytes that came in."""
        self.bytes += count

    def show(self) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, detail=self._detail())
        elif not self._quiet and time.monotonic() - self._said > _LINE_EVERY_S:
            self._said = time.monotonic()
            log.info("%s", self.summary())

    def _detail(self) -> str:
        elapsed = max(time.monotonic() - self.started, 1e-3)
        words = [f"{self.objects:,} objects"]
        if self.bytes:
            words.append(f"{human_bytes(self.bytes)} at {human_bytes(self.bytes / elapsed)}/s")
        return ", ".join(words)

    def summary(self) -> str:
        of = f" of {self.total:,}" if self.total is not None else ""
        elapsed = time.monotonic() - self.started
        left = (
            f", about {human_time(elapsed / self.done * (self.total - self.done))} left"
            if self.total and self.done
            else ""
        )
        return f"{self.name}: {self.done:,}{of} {self.unit}, {self._detail()}{left}"


class Progress:
    """Phases shown one after another; quiet when `quiet`."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.current: Phase | None = None

    @contextmanager
    def phase(self, name: str, unit: str, total: int | None = None) -> Iterator[Phase]:
        """Show a phase while it runs, and one line about it when it is over."""
        bar = None if self.quiet else _live_bar()
        if bar is not None:
            bar.start()
        self.current = phase = Phase(name, unit, total, bar, self.quiet)
        try:
            yield phase
        finally:
            self.current = None
            if bar is not None:
                bar.stop()
        if not self.quiet:
            log.info("%s", phase.summary())

    def fetched(self, count: int) -> None:
        """Bytes that came in during whatever phase is on."""
        if self.current is not None:
            self.current.fetched(count)


def _live_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        return None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeRemainingColumn(),
    )
    return Bar(*columns, console=console, transient=True)


def human_bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return ""


def human_time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
