"""Killed with SIGKILL and run again: nothing that was fetched is fetched again, and the bytes are the same."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mmu.archive.export import write_archive
from mmu.build.progress import Progress
from mmu.survey import get_survey


class Counting(SimpleHTTPRequestHandler):
    asked: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        self.asked[self.path] += 1
        time.sleep(0.1)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Gaia's simulated archive behind a small web server."""
    folder = tmp_path_factory.mktemp("gaia-archive")
    survey = get_survey("gaia")
    write_archive(survey, survey.default_release, 2026, folder, "", False, Progress(quiet=True))
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Counting, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


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
def test_killed_after_some_journal_lines(archive: str, whole: dict[str, bytes], tmp_path: Path, lines: int) -> None:
    work = tmp_path / "gaia/.building-gaia_dr3"
    journal = work / "journal.jsonl"

    def ready() -> bool:
        if lines == 0:
            return any((tmp_path / ".cache").rglob("*.csv.gz"))
        return journal.exists() and journal.read_bytes().count(b"\n") >= lines

    kill_when(subprocess.Popen(command(archive, tmp_path, 0), stderr=subprocess.DEVNULL), ready)
    assert work.exists() or lines == 0, "it was over before it was killed"
    had = {p.relative_to(tmp_path / ".cache/gaia") for p in (tmp_path / ".cache").rglob("*.csv.gz")}
    Counting.asked.clear()
    run(command(archive, tmp_path, 0))
    again = {path for path in had if Counting.asked[f"/{path}"]}
    assert again == set()
    assert tree(tmp_path / "gaia") == whole


@pytest.mark.slow
def test_four_workers_give_the_same_bytes(archive: str, whole: dict[str, bytes], tmp_path: Path) -> None:
    run(command(archive, tmp_path, 4))
    assert tree(tmp_path / "gaia") == whole
