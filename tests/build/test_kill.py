"""Killed with SIGKILL and run again: nothing that was fetched is fetched again, and the bytes are the same."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.archive.server import Archive, serving, simulate


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Gaia's simulated archive behind a small web server that takes its time."""
    folder = tmp_path_factory.mktemp("gaia-archive")
    simulate("gaia", None, folder)
    with serving(folder) as archive:
        archive.dwell = 0.1
        yield archive


@pytest.fixture(scope="module")
def archive(served: Archive) -> str:
    return served.url


def command(archive: str, out: Path, workers: int) -> list[str]:
    options = ["--source", archive, "--out", str(out), "--partition-bytes", "1MB", "-j", str(workers), "-q"]
    return [sys.executable, "-m", "mmu", "build", "gaia", *options]


def run(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "_mmu" not in path.parts and not path.name.endswith(".lock")
    }


@pytest.fixture(scope="module")
def whole(archive: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The uninterrupted build, by one process."""
    out = tmp_path_factory.mktemp("whole")
    run(command(archive, out, 0))
    return tree(out / "gaia")


def kill_when(process: subprocess.Popen[Any], ready: Any) -> None:
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end and not ready():
        time.sleep(0.002)
    process.kill()
    process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("lines", [0, 3])
def test_killed_after_some_journal_lines(
    served: Archive, archive: str, whole: dict[str, bytes], tmp_path: Path, lines: int
) -> None:
    work = tmp_path / "gaia/.building-gaia_dr3"
    journal = work / "journal.jsonl"

    def ready() -> bool:
        if lines == 0:
            return any((tmp_path / ".cache").rglob("*.csv.gz"))
        return journal.exists() and journal.read_bytes().count(b"\n") >= lines

    kill_when(subprocess.Popen(command(archive, tmp_path, 0), stderr=subprocess.DEVNULL), ready)
    assert work.exists() or lines == 0, "it was over before it was killed"
    had = {p.relative_to(tmp_path / ".cache/gaia") for p in (tmp_path / ".cache").rglob("*.csv.gz")}
    served.asked.clear()
    run(command(archive, tmp_path, 0))
    again = {path for path in had if served.count(str(path))}
    assert again == set()
    assert tree(tmp_path / "gaia") == whole


@pytest.mark.slow
def test_four_workers_give_the_same_bytes(archive: str, whole: dict[str, bytes], tmp_path: Path) -> None:
    run(command(archive, tmp_path, 4))
    assert tree(tmp_path / "gaia") == whole
