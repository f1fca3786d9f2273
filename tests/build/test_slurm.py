"""Workers that are Slurm jobs; Slurm itself is played by `tests.slurm`."""

from __future__ import annotations

import os
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import LocalCluster

from mmu.build import executor as executor_module
from mmu.build import slurm
from mmu.build.executor import DaskExecutor, open_executor
from mmu.errors import UsageError
from tests.slurm import install


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a Slurm on the PATH, and a user who configured small jobs."""
    monkeypatch.setenv("PATH", install(tmp_path / "bin"))
    import dask_jobqueue  # noqa: F401 - brings its defaults into the configuration

    mine = {"cores": 1, "memory": "600MB", "walltime": "01:00:00", "account": "galaxies", "queue": "short"}
    with dask.config.set({f"jobqueue.slurm.{key}": value for key, value in mine.items()}):
        yield tmp_path / "bin"


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(UsageError, match=r"pip install 'multimodal-universe\[slurm\]'"):
        open_executor(2, "slurm")


@pytest.mark.parametrize(
    ("given", "words"),
    [({"memory": None}, "no memory"), ({"cores": None, "memory": None}, "no cores and no memory")],
)
def test_what_is_not_configured_is_named(bench: Path, given: dict[str, Any], words: str) -> None:
    with (
        dask.config.set({f"jobqueue.slurm.{key}": value for key, value in given.items()}),
        pytest.raises(
            UsageError, match=rf"{words} for a job; set cores and memory .* under jobqueue\.slurm in .*\.yaml"
        ),
    ):
        open_executor(2, "slurm")


def test_a_job_that_slurm_would_refuse_is_not_waited_for(bench: Path) -> None:
    with (
        dask.config.set({"jobqueue.slurm.account": "nobody"}),
        pytest.raises(UsageError, match=r"sbatch says 'allocation failure: Invalid account'; change jobqueue\.slurm"),
    ):
        open_executor(2, "slurm")


def test_where_there_is_no_slurm_it_is_said(bench: Path) -> None:
    (bench / "sbatch").unlink()
    with pytest.raises(UsageError, match=r"`sbatch` cannot be run here .*go where jobs are submitted"):
        open_executor(2, "slurm")


def test_the_job_asks_for_what_the_user_configured(bench: Path) -> None:
    with dask.config.set({"jobqueue.slurm.cores": 4}):
        cluster = slurm._cluster()
        lines = cluster.job_script().splitlines()
        cluster.close()
    assert {"#SBATCH -A galaxies", "#SBATCH -p short", "#SBATCH -t 01:00:00", "#SBATCH --cpus-per-task=4"} < set(lines)
    assert "--nthreads 1 " in lines[-1]
    assert "--nworkers 4 " in lines[-1]


def test_it_asks_for_as_many_jobs_as_workers(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Fake(LocalCluster):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            asked.append(options)
            super().__init__(n_workers=1, processes=False, dashboard_address=":0")

        def scale(self, n: int | None = None, jobs: int | None = None) -> None:
            if jobs is not None:
                asked.append({"jobs": jobs})
            else:
                super().scale(n)

        def job_script(self) -> str:
            return ""

    module = types.ModuleType("dask_jobqueue")
    module.SLURMCluster = Fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dask_jobqueue", module)
    executor = open_executor(3, "slurm")
    try:
        assert asked[:2] == [{"processes": 1, "scheduler_options": {"dashboard_address": ":0"}}, {"jobs": 3}]
        assert executor.submit(abs, -2).result(20) == 2
    finally:
        executor.close()


@pytest.mark.slow
def test_jobs_do_the_work_and_one_that_ended_is_replaced(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes in a job: the case that Dask itself does not replace."""
    monkeypatch.setattr(slurm, "LOST_S", 1.0)
    monkeypatch.setattr(executor_module, "_WATCH_S", 0.2)
    with dask.config.set({"jobqueue.slurm.cores": 2}):
        executor = DaskExecutor(1, "slurm")
        try:
            first = executor.submit(os.getpgrp).result(30)
            assert first != os.getpgrp()
            while executor.slots < 2:  # both of the job's workers were seen
                time.sleep(0.1)
            time.sleep(1)
            os.killpg(first, 9)
            assert executor.submit(os.getpgrp).result(60) != first
        finally:
            executor.close()
    assert (bench / "log").read_text().splitlines()[0] == "--test-only"
