"""Where work runs: in this process, in local workers, or on a scheduler that is already there."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster

from mmu.build.executor import DaskExecutor, WorkerDied
from mmu.errors import UsageError


@pytest.mark.slow
def test_a_running_scheduler_gives_the_same_bytes(toy: Any, tmp_path: Path) -> None:
    toy.build(tmp_path / "here")
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        toy.build(tmp_path / "there", scheduler=cluster.scheduler_address)
    shards = sorted((tmp_path / "here").rglob("Npix=*.parquet"))
    assert len(shards) > 1
    for path in shards:
        assert (tmp_path / "there" / path.relative_to(tmp_path / "here")).read_bytes() == path.read_bytes()


def test_no_scheduler_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "200ms")
    with pytest.raises(UsageError, match="dask scheduler"):
        DaskExecutor(1, "not-an-address://nowhere")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def same(value: int) -> int:
    return value


@pytest.mark.slow
def test_every_task_ends_however_workers_die() -> None:
    executor = DaskExecutor(2, None)
    try:
        futures = [executor.submit(die) if index % 3 == 0 else executor.submit(same, index) for index in range(9)]
        problems = [future.exception(60) for future in futures]
        assert all(isinstance(problems[index], WorkerDied) for index in (0, 3, 6))
        assert all(problem is None or isinstance(problem, WorkerDied) for problem in problems)
        assert executor.submit(same, 5).result(60) == 5
    finally:
        executor.close()
