"""Documents that run: the code blocks of a Markdown file, in order, in one folder, and what they should print.

A block with a title is a file, written as it stands. `sh` blocks run in bash, `python` blocks each in a Python of its
own; a `text` block after one of these is what it prints. Other kinds are for reading only.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import isclose
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```", re.DOTALL | re.MULTILINE)
_UNSTABLE = re.compile(r"\d[\d.,]* ?(?:[kMGT]?B(?:/s)?|s|min|h|objects/s|units a minute)(?!\w)(?: \(\d+:\d\d:\d\d\))?")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_PROGRAMS = {"mmu": "-m mmu", "python": "", "dask": "-m dask"}


@dataclass(frozen=True)
class Block:
    """A fenced block: its kind, the file it is (or nothing), its text, and the text block that follows it."""

    kind: str
    title: str
    text: str
    printed: str = ""


def blocks(document: Path) -> list[Block]:
    """The blocks of a Markdown file, in order."""
    found: list[Block] = []
    for kind, title, text in _BLOCK.findall(document.read_text(encoding="utf-8")):
        if kind == "text" and found and found[-1].kind in ("sh", "python") and not found[-1].title:
            found[-1] = Block(found[-1].kind, "", found[-1].text, text)
        else:
            found.append(Block(kind, title, text))
    return found


@dataclass
class Workshop:
    """A folder to run blocks in, offline, with `mmu`, `python`, `dask` and `pip` of these tests.

    `pip install` installs into the folder, not the environment. What a block leaves running ends with the workshop.
    """

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    _groups: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        bin_folder = self.folder / "bin"
        bin_folder.mkdir(exist_ok=True)
        site = self.folder / "site"
        pip = (
            f'-m pip --disable-pip-version-check install -q --no-deps --no-build-isolation --target {site} "${{@: -1}}"'
        )
        for name, words in {**{name: f'{words} "$@"' for name, words in _PROGRAMS.items()}, "pip": pip}.items():
            program = bin_folder / name
            program.write_text(f"#!/bin/bash\nexec {shlex.quote(sys.executable)} {words}\n", encoding="utf-8")
            program.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}:{site}",
            "MMU_CLONE": str(ROOT),
            "HF_HOME": str(self.folder / "hf"),
            "HF_HUB_OFFLINE": "1",
            "COLUMNS": "80",
            **self.variables,
        }

    def run(self, words: Sequence[str]) -> str:
        """Run a command, which must succeed; what it printed, with paths from the folder on."""
        log = self.folder / "log"
        with log.open("wb") as out:  # a file, not a pipe: programs left in the background may keep it open
            process = subprocess.Popen(
                words,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self.environment,
                start_new_session=True,
            )
        self._groups.append(process.pid)
        code, printed = process.wait(), log.read_text(encoding="utf-8", errors="replace")
        assert code == 0, f"{shlex.join(words)}\n{printed}"
        return printed.replace(f"{self.folder.absolute()}/", "")

    def do(self, block: Block) -> None:
        """Write a file, or run a block and hold its output against what the document shows."""
        if block.title:
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.kind == "python":
            hold(block.printed, self.run([sys.executable, "-c", block.text]))
        elif block.kind == "sh":
            hold(block.printed, self.run(["bash", "-euo", "pipefail", "-c", block.text]))

    def end(self) -> None:
        """End what runs in the background still."""
        for group in self._groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)


def hold(shown: str, printed: str) -> None:
    """Check that every line a document shows was printed, apart from times and sizes; "..." stands for any lines."""
    lines = printed.splitlines()
    for line in filter(lambda one: one.strip() not in ("", "..."), shown.splitlines()):
        assert any(alike(line, one) for one in lines), f"{line!r} is shown, and not in what was printed:\n{printed}"


def alike(shown: str, printed: str) -> bool:
    """The same words, the same whole numbers, and decimals within a tenth; times and sizes are any."""
    one, other = (" ".join(_UNSTABLE.sub("~", line).split()) for line in (shown, printed))
    if _NUMBER.sub("#", one) != _NUMBER.sub("#", other):
        return False
    numbers = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    return all(a == b or ("." in a and isclose(_number(a), _number(b), rel_tol=0.1, abs_tol=0.02)) for a, b in numbers)


def _number(text: str) -> float:
    return float(text.replace(",", ""))
