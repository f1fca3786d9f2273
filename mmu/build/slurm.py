"""Workers that are Slurm jobs, as the user's own Dask configuration (`jobqueue.slurm`) describes them."""

from __future__ import annotations

import logging
import subprocess
import time
from typing import Any

from mmu.errors import UsageError

log = logging.getLogger("mmu")

QUEUED_S = 86_400.0
"""So long jobs may wait in the queue while none runs."""
LOST_S = 60.0
"""So long all workers of a job may be away, being restarted, before another job is asked for in its place."""
_CONFIG = "jobqueue.slurm in ~/.config/dask/jobqueue.yaml"


class SlurmJobs:
    """A Dask scheduler in this process and `count` Slurm jobs of workers.

    Raises:
        UsageError: dask-jobqueue or `sbatch` is missing, or Slurm would not take such a job.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.cluster = _cluster()
        self._last_seen: dict[Any, float] = {}
        self.cluster.scale(jobs=count)
        log.info("Waiting for Slurm to start the first of %d jobs; `squeue --me` shows them.", count)

    def replace_ended(self, client: Any) -> None:
        """Ask for a job in the place of each that ran and ended: its time was up.

        A job that ended before it had a worker is not asked for again: it would end like that for ever.
        """
        workers = [f"{one['name']}-" for one in client.scheduler_info(n_workers=-1)["workers"].values()]
        now = time.monotonic()
        for name, job in list(self.cluster.workers.items()):  # a job's workers are NAME, or NAME-0, NAME-1, ...
            if any(worker.startswith(f"{name}-") for worker in workers):
                self._last_seen[name] = now
            elif now - self._last_seen.get(name, now) > LOST_S:
                del self._last_seen[name], self.cluster.workers[name]
                self.cluster.loop.add_callback(job.close)
        self.cluster.scale(jobs=self.count)


def _cluster() -> Any:
    import dask

    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as problem:
        msg = "--scheduler slurm: dask-jobqueue is missing; pip install 'multimodal-universe[slurm]'."
        raise UsageError(msg) from problem
    config = dask.config.get("jobqueue.slurm", None) or {}
    if missing := [key for key in ("cores", "memory") if not config.get(key)]:
        msg = (
            f"--scheduler slurm: your Dask configuration has no {' and no '.join(missing)} for a job; set cores and "
            f"memory (and queue, account, walltime, as your cluster wants them) under {_CONFIG}."
        )
        raise UsageError(msg)
    # Jobs of one worker, Dask replaces itself: it gives them as long as we give the others.
    dask.config.set({"distributed.deploy.lost-worker-timeout": f"{LOST_S}s"})
    options = {"dashboard_address": ":0", **(config.get("scheduler-options") or {})}
    try:
        # A process a core, unless told otherwise: a crash costs one task, and libraries see one thread.
        cluster = SLURMCluster(processes=config.get("processes") or int(config["cores"]), scheduler_options=options)
    except (ValueError, RuntimeError) as problem:
        raise UsageError(f"--scheduler slurm: {_line(problem)}; look at {_CONFIG}.") from problem
    if refusal := _refused(cluster.job_script()):
        cluster.close()
        raise UsageError(f"--scheduler slurm: {refusal}.")
    return cluster


def _refused(script: str) -> str:
    """Why Slurm would not take such a job. Asked before any is sent: Dask only logs a refusal, and waits for ever."""
    try:
        asked = subprocess.run(["sbatch", "--test-only"], input=script, capture_output=True, text=True, check=False)
    except OSError as problem:
        return f"`sbatch` cannot be run here ({problem.strerror}); go where jobs are submitted"
    return f"sbatch says '{_line(asked.stderr)}'; change {_CONFIG}" if asked.returncode else ""


def _line(said: object) -> str:
    return " ".join(str(said).split())
