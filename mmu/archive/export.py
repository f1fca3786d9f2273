"""Write a simulated archive out as files, in the survey's own layout."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from mmu.archive import rendering
from mmu.archive.fetch import Fetcher
from mmu.archive.simulated import SimulatedSource
from mmu.build.progress import Progress
from mmu.errors import UsageError
from mmu.simulate.sky import Sky
from mmu.survey import File, Release, Survey


def write_archive(
    survey: Survey, release: Release, seed: int, out: Path, match: str, truth: bool, progress: Progress
) -> tuple[int, int]:
    """Write the files whose path contains `match`; returns how many and their bytes.

    Raises:
        UsageError: no file matches; the message shows some paths there are.
    """
    listed = rendering.files(survey.module, release.name, Sky(seed))
    wanted = [File(path, size) for path, size in sorted(listed.items()) if match in path]
    if not wanted:
        some = ", ".join(sorted(listed)[:3])
        raise UsageError(f"No file of {survey.name} {release.name} has {match!r} in its path; there are, e.g., {some}.")
    size = 0
    with (
        closing(SimulatedSource(survey, release, seed)) as source,
        Fetcher(source, out, survey.policy) as fetcher,
        ThreadPoolExecutor(4) as threads,
        progress.phase("simulating", "files", len(wanted)) as phase,
    ):
        for got in threads.map(fetcher.get, wanted):
            size += got.bytes
            phase.advance()
            Path(f"{got.local}.fetched.json").unlink(missing_ok=True)
    if truth:
        from mmu.build.files import write_table

        write_table(out / "truth.parquet", Sky(seed).truth_table())
    return len(wanted), size
