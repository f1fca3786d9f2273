"""Where work runs: in this process, in a local Dask cluster, or on a running one."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Protocol

from mmu.errors import MmuError, UsageError

Task = Callable[..., Any]
WITHOUT_WORKERS_S = 120.0
_WATCH_S = 1.0


class WorkerDied(MmuError):
    """A worker process was lost (out of memory, a crash) each time it tried this task."""


class Executor(Protocol):
    """Runs functions of plain arguments somewhere; results and errors come back in futures."""

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
    """Runs tasks on a Dask cluster: one of `workers` local processes, or the one at `scheduler`."""

    def __init__(self, workers: int, scheduler: str | None) -> None:
        os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")
        import dask
        from distributed import Client

        # A task whose worker died is tried twice more; then it is the task that is to blame.
        options = {"distributed.scheduler.allowed-failures": 2, "distributed.deploy.lost-worker-timeout": "2s"}
        self._config = dask.config.set(options)
        self._config.__enter__()
        self._cluster: Any = None
        self._waiting: set[Any] = set()
        self._closing = threading.Event()
        if scheduler is None:
            self._cluster = _local_cluster(workers)
            self._client = Client(self._cluster)
        else:
            try:
                self._client = Client(scheduler, timeout=10)
            except (OSError, TimeoutError, ValueError) as problem:
                msg = f"No Dask scheduler answers at {scheduler} ({problem}); start one with `dask scheduler`."
                raise UsageError(msg) from problem
            try:
                self._client.wait_for_workers(1, timeout=30)
            except TimeoutError as problem:
                self.close()
                msg = f"The Dask scheduler at {scheduler} has no workers; start some with `dask worker {scheduler}`."
                raise UsageError(msg) from problem
        self.slots = max(1, self._alive())
        threading.Thread(target=self._watch, daemon=True).start()

    def _alive(self) -> int:
        return len(self._client.nthreads())

    def _watch(self) -> None:
        """Replace local workers that were not restarted; once there were none for long, let go of what waits for one.

        A worker that dies while it starts is given up by Dask, and then a task could wait for ever.
        """
        last_seen = time.monotonic()
        while not self._closing.wait(_WATCH_S):
            with suppress(Exception):
                alive = self._alive()
                last_seen = time.monotonic() if alive else last_seen
                if self._cluster is not None and alive < self.slots:
                    self._cluster.scale(self.slots)
            if time.monotonic() - last_seen > WITHOUT_WORKERS_S:
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
