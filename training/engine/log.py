"""Where a run is written down: a line of JSON an entry, and TensorBoard's files where `tensorboard` is installed."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmu.build.files import write_bytes

LOG, EVENTS = "log.jsonl", "events"
Entry = dict[str, Any]


class Log:
    """Entries of a run, in order; those past the step at which it is taken up again are dropped.

    Args:
        folder: gets `log.jsonl` and `events/`.
        step: at which the run begins, or goes on.
        say: told once where there is no TensorBoard.
    """

    def __init__(self, folder: Path, step: int, say: Callable[[str], None] = lambda words: None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / LOG
        kept = [line for line in _lines(path) if json.loads(line)["step"] <= step]
        write_bytes(path, "".join(f"{line}\n" for line in kept).encode())
        self._file = path.open("a", encoding="utf-8")
        self._events: Any = None
        if importlib.util.find_spec("tensorboard") is None:
            say(f"no TensorBoard files: `pip install tensorboard` for them; {path} has all numbers")
            return
        from torch.utils.tensorboard import SummaryWriter

        self._events = SummaryWriter(str(folder / EVENTS), purge_step=step + 1)

    def write(self, entry: Mapping[str, Any]) -> None:
        """One more entry, with a `step`; on disk when this returns. What is not finite is null."""
        clean = _finite(entry)
        self._file.write(json.dumps(clean) + "\n")
        self._file.flush()
        if self._events is not None:
            for name, value in _flat(clean):
                self._events.add_scalar(name, value, clean["step"])
            self._events.flush()

    def close(self) -> None:
        """No more entries."""
        self._file.close()
        if self._events is not None:
            self._events.close()


def _lines(path: Path) -> list[str]:
    """Whole lines; a run that was killed may leave a part of one."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8") as file:
        return [line.removesuffix("\n") for line in file if line.endswith("\n")]


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(entry: Mapping[str, Any], before: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in entry.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{before}{name}/")
        elif isinstance(value, int | float) and name != "step":
            found.append((f"{before}{name}", float(value)))
    return found
