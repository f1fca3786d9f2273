"""The journal of a running build: one line of JSON per settled thing, on disk before it counts."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """Append-only, fsynced; a torn last line (the process was killed while writing it) is ignored."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._trim_torn_line()
        self._file = path.open("a", encoding="utf-8")

    def add(self, **entry: Any) -> None:
        """Write one entry and wait until the disk has it."""
        self._file.write(json.dumps({**entry, "time": round(time.time(), 1)}) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def _trim_torn_line(self) -> None:
        if self.path.exists():
            whole = sum(len(line) for line, _ in _whole_lines(self.path))
            if whole != self.path.stat().st_size:
                with self.path.open("r+b") as file:
                    file.truncate(whole)


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The entries of a journal, oldest first; none if there is no journal."""
    return [entry for _, entry in _whole_lines(path)] if path.exists() else []


def _whole_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Lines up to the first that is torn or damaged: what came after it is done again."""
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            entry = json.loads(line)
        except ValueError:
            return
        if not line.endswith(b"\n") or not isinstance(entry, dict) or not {"shard", "unit"} & entry.keys():
            return
        yield line, entry
