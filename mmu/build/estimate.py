"""What a build will take, said before it starts; and what stops it there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmu.build.plan import Plan, unit_files
from mmu.build.progress import human_bytes
from mmu.build.spec import BuildSpec
from mmu.errors import UsageError

ASK_ABOVE_BYTES = 100_000_000_000


@dataclass(frozen=True)
class Estimate:
    """What a build will take, before it starts: for `--dry-run` and for the question above 100 GB.

    The catalogues are those that the plan was made from. `route` says in words how the files are fetched, where the
    survey has a choice.
    """

    objects: int
    units: int
    files: int
    download_bytes: int
    output_bytes: int
    shards: int
    catalogues: int = 0
    catalogue_bytes: int = 0
    route: str = ""

    @property
    def seconds(self) -> float:
        """A guess: 20 MB/s from the archive, 100 MB/s through reading and writing, whichever is slower."""
        return max(self.download_bytes / 20e6, (self.download_bytes + self.output_bytes) / 100e6)


Confirm = Callable[[Estimate], bool]


def estimate(spec: BuildSpec, plan: Plan) -> Estimate:
    """Files, bytes and objects of a plan."""
    files = {file.path: file.bytes for unit in unit_files(spec, plan).values() for file in unit}
    size = len(plan.objects) * plan.bytes_per_row
    units, router = plan.rows_of_unit, spec.survey.router
    route = router.route(spec.release, units.keys()) if router is not None else ""
    read = {path: known["bytes"] for path, known in plan.catalogues.items()}
    fetched = sum(bytes for path, bytes in files.items() if path not in read)
    shape = (len(plan.objects), len(units), len(files), fetched, size, len(plan.leaves))
    return Estimate(*shape, len(read), sum(read.values()), route)


def ask(cost: Estimate, confirm: Confirm | None) -> None:
    """Ask before what moves more than 100 GB; refuse it where nobody can be asked."""
    total = cost.download_bytes + cost.output_bytes
    if total > ASK_ABOVE_BYTES and not (confirm is not None and confirm(cost)):
        raise UsageError(
            f"This fetches about {human_bytes(cost.download_bytes)} and writes {human_bytes(cost.output_bytes)}; "
            "say --yes if that is meant, or give a smaller --region or --max-objects."
        )


def refuse_without_space(folder: Path, needed: int) -> None:
    """Refuse now what would fill the disk later."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UsageError(
            f"This writes about {human_bytes(needed)} and {folder} has {human_bytes(free)} free; "
            "give a smaller --region, --max-objects, or another --out or --cache."
        )
