"""The journal of a running build: one line of JSON per settled thing, on disk before it counts."""

from __future__ import annotations

import json
import os
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
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def _trim_torn_line(self) -> None:
        if self.path.exists():
            data = self.path.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole != len(data):
                with self.path.open("r+b") as file:
                    file.truncate(whole)


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The entries of a journal, oldest first; none if there is no journal."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]
