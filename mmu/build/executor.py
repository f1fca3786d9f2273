"""Where work runs: in this process, in a local Dask cluster, on a running one, or in Slurm jobs of its own."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from mmu.build.slurm import QUEUED_S, SlurmJobs
from mmu.errors import MmuError, UsageError

Task = Callable[..., Any]
WITHOUT_WORKERS_S = 120.0
FILE_S = 60.0
_WATCH_S = 1.0
_FILE = "file:"


class WorkerDied(MmuError):
    """A worker process was lost (out of memory, a crash) each time it tried this task."""


class Executor(Protocol):
    """Runs functions of plain arguments somewhere; results and errors come back in futures.

    `slots` is how many at once; it grows while workers join.
    """

    slots: int

    def submit(self, task: Task, *args: Any) -> Future[Any]: ...

    def close(self) -> None: ...


class Inline:
    """Runs each task at once, in this process."""

    slots = 1

    def submit(self, task: Task, *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(task(*args))
        except Exception as problem:  # noqa: BLE001 - the future carries it to whoever asks
            future.set_exception(problem)
        return future

    def close(self) -> None:
        """Nothing is held."""


class DaskExecutor:
    """Runs tasks on a Dask cluster: `workers` local processes, `workers` Slurm jobs, or what `scheduler` names."""

    def __init__(self, workers: int, scheduler: str | None) -> None:
        os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")
        import dask
        import distributed  # noqa: F401 - its defaults first: `close` takes out again what the options below put in

        # A task whose worker died is tried twice more; then it is the task that is to blame.
        options = {"distributed.scheduler.allowed-failures": 2, "distributed.deploy.lost-worker-timeout": "2s"}
        self._config = dask.config.set(options)
        self._config.__enter__()
        self._client: Any = None
        self._cluster: Any = None
        self._jobs: SlurmJobs | None = None
        self._patience = WITHOUT_WORKERS_S
        self._waiting: set[Any] = set()
        self._closing = threading.Event()
        try:
            self._start(workers, scheduler)
        except BaseException:
            self.close()
            raise
        self.slots = max(1, self._alive())
        threading.Thread(target=self._watch, daemon=True).start()

    def _start(self, workers: int, scheduler: str | None) -> None:
        from distributed import Client

        if scheduler is None:
            self._cluster = _local_cluster(workers)
            self._client = Client(self._cluster)
            return
        if scheduler == "slurm":
            self._jobs, self._patience = SlurmJobs(workers), QUEUED_S
            self._cluster, start = self._jobs.cluster, "see `squeue --me` and what the jobs wrote"
            self._client = Client(self._cluster)
        elif scheduler.startswith(_FILE):
            path = Path(scheduler.removeprefix(_FILE)).expanduser()
            self._client = _client(_address_in(path), scheduler)
            start = f"start some with `dask worker --scheduler-file {path}`"
        else:
            self._client, start = _client(scheduler, scheduler), f"start some with `dask worker {scheduler}`"
        try:
            self._client.wait_for_workers(1, timeout=self._patience)
        except TimeoutError as problem:
            msg = f"--scheduler {scheduler}: it has had no workers for {self._patience:.0f} s; {start}."
            raise UsageError(msg) from problem

    def _alive(self) -> int:
        return len(self._client.nthreads())

    def _watch(self) -> None:
        """Replace workers that were not restarted; once there were none for long, let go of what waits for one.

        A worker that dies while it starts is given up by Dask, and then a task could wait for ever.
        """
        last_seen = time.monotonic()
        while not self._closing.wait(_WATCH_S):
            with suppress(Exception):
                alive = self._alive()
                last_seen = time.monotonic() if alive else last_seen
                if self._jobs is not None:
                    self._jobs.replace_ended(self._client)
                elif self._cluster is not None and alive < self.slots:
                    self._cluster.scale(self.slots)
                self.slots = max(self.slots, alive)
            if time.monotonic() - last_seen > self._patience:
                for remote in list(self._waiting):
                    remote.cancel()

    def submit(self, task: Task, *args: Any) -> Future[Any]:
        remote = self._client.submit(task, *args, pure=False)
        local: Future[Any] = Future()
        self._waiting.add(remote)

        def finished(done: Any) -> None:
            self._waiting.discard(done)
            try:
                problem = done.exception() if done.status == "error" else None
                if done.status == "cancelled":
                    problem = WorkerDied("the scheduler went away, or had no workers left")
                if problem is None:
                    local.set_result(done.result())
                else:
                    local.set_exception(_told(problem))
            except Exception:  # noqa: BLE001 - the result was on a worker that died before it was fetched
                local.set_exception(WorkerDied("its worker process died with the result"))
            done.release()

        remote.add_done_callback(finished)
        return local

    def close(self) -> None:
        self._closing.set()
        if self._client is not None:
            with suppress(Exception):
                self._client.close()
        if self._cluster is not None:
            with suppress(Exception):
                self._cluster.close()
        self._config.__exit__(*sys.exc_info())


def _local_cluster(workers: int) -> Any:
    """Worker processes on this machine; one that dies while it starts is worth another try."""
    from distributed import LocalCluster

    for last in (False, False, True):
        try:
            return LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address=":0",
                silence_logs=50,
                # an interrupt is for the driver: it closes its workers
                preload="import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)",
            )
        except (RuntimeError, OSError, TimeoutError) as problem:
            if last:
                msg = f"The {workers} local workers could not be started ({problem}); run again, or give -j 0."
                raise WorkerDied(msg) from problem
    raise AssertionError


def _client(address: str, scheduler: str) -> Any:
    """A client of a running scheduler."""
    from distributed import Client

    try:
        return Client(address, timeout=10)
    except (OSError, TimeoutError, ValueError) as problem:
        msg = (
            f"--scheduler {scheduler}: no Dask scheduler answers ({problem}); give tcp://HOST:PORT or file:PATH of one "
            "that `dask scheduler` started, slurm for jobs of its own, or leave it out for local workers."
        )
        raise UsageError(msg) from problem


def _address_in(path: Path) -> str:
    """The address in a scheduler file, waiting for it: a job's scheduler writes it a little after its start."""
    until = time.monotonic() + FILE_S
    while True:
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["address"])
        except (OSError, ValueError, LookupError, TypeError) as problem:  # not there, or half written
            if time.monotonic() > until:
                msg = (
                    f"--scheduler file:{path}: not a Dask scheduler file within {FILE_S:.0f} s ({problem!r}); "
                    f"write it with `dask scheduler --scheduler-file {path}`."
                )
                raise UsageError(msg) from problem
        time.sleep(0.2)


def _told(problem: BaseException) -> BaseException:
    """Dask's own failures in our words; a task's own error as it is."""
    if type(problem).__name__ == "KilledWorker":
        return WorkerDied("its worker process died each time (out of memory, or a crash in a library)")
    return problem


def open_executor(workers: int, scheduler: str | None) -> Executor:
    """The executor for `--workers` and `--scheduler`."""
    # Workers start from this environment: one thread each, so that N workers use N cores.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    return Inline() if workers == 0 and scheduler is None else DaskExecutor(max(workers, 1), scheduler)
