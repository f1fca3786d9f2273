"""Where work runs: in this process, in local workers, or on a scheduler that is already there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster

from mmu.build.executor import DaskExecutor, WorkerDied
from mmu.errors import UsageError


@pytest.mark.slow
def test_a_running_scheduler_gives_the_same_bytes(toy: Any, tmp_path: Path) -> None:
    toy.build(tmp_path / "here")
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster:
        toy.build(tmp_path / "there", scheduler=cluster.scheduler_address)
    shards = sorted((tmp_path / "here").rglob("Npix=*.parquet"))
    assert len(shards) > 1
    for path in shards:
        assert (tmp_path / "there" / path.relative_to(tmp_path / "here")).read_bytes() == path.read_bytes()


def test_no_scheduler_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "200ms")
    with pytest.raises(UsageError, match="dask scheduler"):
        DaskExecutor(1, "not-an-address://nowhere")


def test_dask_is_left_as_it_was() -> None:
    """For others in the same process, that use Dask after us."""
    script = (
        "import mmu.build.executor as e\n"
        "try: e.DaskExecutor(1, 'not-an-address://nowhere')\n"
        "except e.UsageError: pass\n"
        "import dask\n"
        "print(dask.config.get('distributed.scheduler.allowed-failures'), dask.config.get('distributed.comm.retry'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("3 {")


@pytest.mark.slow
def test_a_scheduler_file_is_waited_for(tmp_path: Path) -> None:
    """As in a job: scheduler and worker start beside the build, in their own time."""
    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    options = ["--scheduler-file", str(file), "--no-dashboard"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen([*dask, "scheduler", *options, "--port", "0"], **quiet)  # type: ignore[call-overload]
    worker = subprocess.Popen([*dask, "worker", *options, "--nthreads", "1"], **quiet)  # type: ignore[call-overload]
    try:
        executor = DaskExecutor(1, f"file:{file}")
        assert executor.submit(os.getpid).result(30) != os.getpid()
        executor.close()
    finally:
        for process in (worker, scheduler):
            process.terminate()
            process.wait(30)


@pytest.mark.parametrize("text", [None, "", '{"address": ', "[]", "{}"])
def test_what_is_no_scheduler_file_is_told_in_words(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmu.build.executor.FILE_S", 0.1)
    file = tmp_path / "scheduler.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError, match=rf"file:{file}: .*write it with `dask scheduler --scheduler-file {file}`"):
        DaskExecutor(1, f"file:{file}")


def test_a_scheduler_without_workers_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmu.build.executor.WITHOUT_WORKERS_S", 0.5)
    file = tmp_path / "scheduler.json"
    with LocalCluster(n_workers=0, dashboard_address=":0") as cluster:
        file.write_text(json.dumps({"address": cluster.scheduler_address}))
        with pytest.raises(UsageError, match=f"no workers for .*`dask worker --scheduler-file {file}`"):
            DaskExecutor(1, f"file:{file}")


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
