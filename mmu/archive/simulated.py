"""The simulated sky as a survey's archive would serve it."""

from __future__ import annotations

import glob
import multiprocessing
import os
import signal
import threading
from concurrent.futures import CancelledError, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING

from mmu.archive import rendering
from mmu.archive.host import HostGate
from mmu.archive.part import digests, sibling
from mmu.archive.protocol import Arrival, Closing, Order, Provenance
from mmu.errors import AbsentUpstreamError, DownloadError
from mmu.survey import Release, Survey

if TYPE_CHECKING:
    from mmu.simulate.sky import Sky

NOISELESS = "noiseless"
"""What follows the seed in the name of the source of a sky whose pixels have no noise."""


class SimulatedSource(Closing):
    """The simulated sky as this archive would serve it; files are made on request, in processes of their own.

    Args:
        noise: of the pixels, in units of the survey's own; see `mmu.simulate.Sky`.
    """

    host = ""

    def __init__(
        self,
        survey: Survey,
        release: Release,
        seed: int | None = None,
        processes: int | None = None,
        *,
        noise: float = 1.0,
    ) -> None:
        from mmu.simulate.sky import Sky

        self._survey, self._release, self._sky = survey, release, Sky(Sky().seed if seed is None else seed, noise=noise)
        self.name = f"simulated:{self._sky.seed}{'' if noise else f':{NOISELESS}'}"
        self._processes = processes or os.cpu_count() or 1
        self._lock = threading.Lock()
        self._files: frozenset[str] | None = None
        self._pool: ProcessPoolExecutor | None = None

    def local(self, path: str) -> Path | None:
        return None

    def has(self, path: str, gate: HostGate) -> bool:
        return path in self._listed()

    def changed(self, known: Provenance, gate: HostGate) -> bool:
        return False  # a seed always gives the same sky

    def pause(self, failures: int) -> float:
        return 0.0

    def fetch(self, path: str, part: Path, order: Order) -> Arrival:
        if not order.query and path not in self._listed():
            raise AbsentUpstreamError(f"The simulated archive of {self._survey.name} has no file {path}.")
        for stale in part.parent.glob(f"{glob.escape(part.name)}.*.tmp"):
            stale.unlink(missing_ok=True)
        draft = sibling(part, f".{os.getpid()}.tmp")  # a worker that outlives a killed run has another name to write to
        self._make(path, draft, order.query)
        draft.replace(part)
        size = part.stat().st_size
        order.on_bytes(size)
        return Arrival(size, digests(part, {"sha256", *order.algorithms}), f"{self.name}/{path}", "")

    def _make(self, path: str, draft: Path, query: str) -> None:
        """Write a file to `draft`: in a process of its own, unless it only has to be copied."""
        try:
            if not rendering.recall(self._survey.module, path, self._sky, draft, query):
                self._workers().submit(_render, self._survey.module, path, self._sky, str(draft), query).result()
        except (BrokenProcessPool, CancelledError) as problem:
            self._drop_pool()
            msg = f"The process that was making {path} for the simulated archive died or was stopped; run again."
            raise DownloadError(msg) from problem
        except Exception as problem:  # whatever a plug-in's simulator raises costs this file only
            msg = f"The simulated archive of {self._survey.name} could not make {path}: {problem}"
            raise DownloadError(msg) from problem

    def _listed(self) -> frozenset[str]:
        with self._lock:
            if self._files is None:
                self._files = frozenset(rendering.files(self._survey.module, self._release.name, self._sky))
            return self._files

    def _workers(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    self._processes, mp_context=multiprocessing.get_context("spawn"), initializer=_follow_parent
                )
            return self._pool

    def _drop_pool(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        self._drop_pool()


def _follow_parent() -> None:
    """In a worker: leave interrupts to the parent, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _render(module: str, path: str, sky: Sky, destination: str, query: str = "") -> None:
    """In a worker: make one file of the simulated archive."""
    rendering.render(module, path, sky, Path(destination), query)
