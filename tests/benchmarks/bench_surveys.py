"""Every survey's reader against the floor: read each file once, decompress it once, write the shard; one unit each.

Run as `python tests/benchmarks/bench_surveys.py [SURVEY ...]`. The raw files are the simulated archive's.
"""

from __future__ import annotations

import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[2]))

from mmu.archive.fetch import Fetcher
from mmu.archive.source import open_source
from mmu.build.executor import Inline
from mmu.build.plan import unit_files
from mmu.build.planner import make_plan
from mmu.build.progress import Progress, human_bytes
from mmu.build.spec import BuildSpec
from mmu.errors import AbsentUpstreamError
from mmu.fits import open_fits
from mmu.schema import arrow_schema
from mmu.shards.parquet import rows_per_group, write_shard
from mmu.survey import get_survey, survey_names

TURNS = 5
OBJECTS = 60


@dataclass
class Unit:
    """A unit that is fetched and ready to be read."""

    spec: BuildSpec
    name: str
    paths: dict[str, Path]
    rows: pa.Table


def largest_unit(survey: str, folder: Path) -> Unit:
    """The unit with the most objects among the first few of a survey's default release."""
    spec = BuildSpec(survey, folder, source="simulated", max_objects=OBJECTS, workers=0)
    source = open_source(spec.source, spec.survey, spec.release)
    with Fetcher(source, folder / "raw", spec.survey.policy) as fetcher:
        plan = make_plan(spec, fetcher, Inline(), Progress(quiet=True))
        name, rows = max(plan.rows_of_unit.items(), key=lambda item: len(item[1]))
        paths = {}
        for file in unit_files(spec, plan)[name]:
            try:
                paths[file.path] = fetcher.get(file).local
            except AbsentUpstreamError:
                continue
    return Unit(spec, name, paths, plan.objects.take(pa.array(rows)).drop_columns(["unit", "_healpix_29"]))


def decompressed(path: Path) -> int:
    """Read a file once and decompress what is compressed in it; the bytes that came out."""
    if path.name.endswith(".gz"):
        stream = zlib.decompressobj(wbits=31)
        return len(stream.decompress(path.read_bytes()))
    if path.suffix in (".h5", ".hdf5"):
        with h5py.File(path) as file:
            return sum(file[name][()].nbytes for name in file)
    size = len(path.read_bytes())
    if path.name.endswith((".fits", ".fz")):
        with open_fits(path) as file:
            size += sum(file.plane(n).nbytes for n, hdu in enumerate(file.hdus) if hdu.compressed)
    return size


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """The best of a few turns, seconds, and what it gave."""
    best, result = float("inf"), None
    for _ in range(TURNS):
        started = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - started)
    return best, result


def measure(survey: str, folder: Path) -> str:
    unit = largest_unit(survey, folder)
    kind = unit.spec.release
    schema = arrow_schema(kind.schema)
    group = rows_per_group(schema, kind.bytes_per_row, kind.row_group_rows)

    def write(table: pa.Table) -> None:
        write_shard(folder / "shard.parquet", [table], schema, group)

    reading, records = timed(lambda: unit.spec.survey.reader.read(kind, unit.name, unit.paths, unit.rows))
    table = records.table.add_column(0, "_healpix_29", pa.array([0] * len(records.table), pa.int64())).cast(schema)
    writing, _ = timed(lambda: write(table))
    floor, unpacked = timed(lambda: sum(map(decompressed, unit.paths.values())))
    ours, least = reading + writing, floor + writing
    raw = sum(path.stat().st_size for path in unit.paths.values())
    objects = len(records.table) / ours
    return (
        f"{survey:13} {len(records.table):5} rows {human_bytes(raw):>8} raw {human_bytes(unpacked):>8} unpacked  "
        f"read {reading:6.2f} s  write {writing:6.2f} s  floor {least:6.2f} s  "
        f"{objects:8.1f} rows/s {human_bytes(raw / ours):>8}/s  {ours / least:5.2f} x floor"
    )


def main() -> None:
    names = sys.argv[1:] or [n for n in survey_names() if get_survey(n).module.startswith("surveys.")]
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            print(measure(name, Path(folder)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
