"""Plan and download without building."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from mmu.archive.fetch import Fetcher
from mmu.build.estimate import Confirm, ask, estimate, refuse_without_space
from mmu.build.executor import open_executor
from mmu.build.files import writable
from mmu.build.hold import hold
from mmu.build.plan import unit_files
from mmu.build.planner import make_plan
from mmu.build.progress import Progress
from mmu.build.raw import opened, raw_lock
from mmu.build.spec import BuildSpec
from mmu.errors import AbsentUpstreamError
from mmu.survey import File


@dataclass
class Downloaded:
    """What is in the cache now."""

    files: int = 0
    bytes: int = 0
    reused: int = 0
    absent: list[str] = field(default_factory=list)


def fetch_raw(spec: BuildSpec, progress: Progress, confirm: Confirm | None = None) -> Downloaded:
    """Download every raw file a build of this spec needs.

    Raises:
        DownloadError: a file could not be had; what came is kept, run it again to go on.
    """
    writable(spec.raw)
    with hold(raw_lock(spec)), opened(spec, progress) as (_, fetcher):
        executor = open_executor(spec.workers, None)
        try:
            plan = make_plan(spec, fetcher, executor, progress)
        finally:
            executor.close()
        cost = estimate(spec, plan)
        refuse_without_space(spec.raw, cost.download_bytes)
        ask(cost, confirm)
        files = {file.path: file for unit in unit_files(spec, plan).values() for file in unit}
        return _all(list(files.values()), fetcher, spec.survey.policy.connections, progress)


def _all(files: list[File], fetcher: Fetcher, connections: int, progress: Progress) -> Downloaded:
    total = Downloaded()
    with progress.phase("fetching", "files", len(files)) as phase, ThreadPoolExecutor(max(4, connections)) as threads:
        for file, future in [(file, threads.submit(fetcher.get, file)) for file in files]:
            try:
                got = future.result()
            except AbsentUpstreamError:
                total.absent.append(file.path)
            else:
                total.files += 1
                total.bytes += got.bytes
                total.reused += got.reused
            phase.advance()
    return total
