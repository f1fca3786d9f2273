"""A match on a scheduler and workers that are processes of their own, one of which is killed while it works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client

from crossmatch import run
from crossmatch.api import crossmatch
from crossmatch.work import Where
from mmu.build.journal import Journal
from tests.crossmatch.catalogues import scattered, table_of, vertices, write_hats

ROOT = Path(__file__).parents[2]
TILE_ROWS = 30


@dataclass
class Cluster:
    """A scheduler and two workers."""

    file: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        for kind, options in (
            ("scheduler", ["--no-dashboard", "--port", "0"]),
            *2 * [("worker", ["--no-dashboard", "--no-nanny", "--nthreads", "1"])],
        ):
            words = [sys.executable, "-m", "dask", kind, "--scheduler-file", str(self.file), *options]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            process = subprocess.Popen(
                words, env=environment, cwd=self.file.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            self.processes.append(process)

    def kill_a_worker(self) -> None:
        self.processes[-1].send_signal(signal.SIGKILL)
        self.processes[-1].wait(30)

    def end(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
            process.wait(30)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path / "scheduler.json")
    try:
        made.start()
        with Client(scheduler_file=str(made.file), timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
        yield made
    finally:
        made.end()


def tree(folder: Path) -> dict[str, bytes]:
    """Every file but the account, which has the folder's name."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name != "match.json"}


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_nothing(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(31)
    paths = {}
    for name, orders in (("a", [0, 3]), ("b", [2, 1])):
        at = scattered(vertices(2, 12, np.random.default_rng(1)), 30.0, 400, random)
        paths[name] = write_hats(tmp_path / name, table_of(at, name), orders)
    how: dict[str, Any] = {"radius_arcsec": 20.0, "how": "outer"}
    here = crossmatch(paths, out=tmp_path / "here", where=Where(0, tile_rows=TILE_ROWS), **how)
    assert len(here) > 400
    settled = []

    class Watched(Journal):
        def add(self, **entry: Any) -> None:
            super().add(**entry)
            settled.append(entry)
            if len(settled) == 5:
                cluster.kill_a_worker()

    monkeypatch.setattr(run, "Journal", Watched)
    where = Where(scheduler=f"file:{cluster.file}", tile_rows=TILE_ROWS)
    there = crossmatch(paths, out=tmp_path / "there", where=where, **how)
    assert len(settled) > 20
    assert there.table() == here.table()
    assert there.tallies == here.tallies
    assert tree(tmp_path / "there") == tree(tmp_path / "here")
