"""One real-size brick (3600 x 3600, 4 bands, ivar, mask bits, 393 objects) to a shard, in one process.

Compared with (a) the obvious way, an astropy Cutout2D an object and plane, and (b) the floor: decompress each plane
once, slice, write the same bytes. Pictures are timed apart. Run as `python tests/benchmarks/bench_legacysurvey.py`, or
with pytest-benchmark: `pytest tests/benchmarks/bench_legacysurvey.py --benchmark-enable`.
"""

from __future__ import annotations

import functools
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS

sys.path.insert(0, str(Path(__file__).parents[2]))

from mmu.schema import HEALPIX, arrow_schema, nested_list
from mmu.shards.parquet import write_shard
from mmu.simulate import Sky
from mmu.sky import healpix
from mmu.survey import Group, cut_reasons
from surveys.legacysurvey import SURVEY
from surveys.legacysurvey.neighbours import SIZE
from surveys.legacysurvey.read import read

BRICK = "1856p000"
RELEASE = SURVEY.default_release
FACTS = RELEASE.facts
PLANES = [kind for kind in FACTS["kinds"] if kind.endswith(".fz")]
FEW = 60
FLOOR, OURS = "floor, written zstd 3 + byte-stream split", "ours: read + write, no pictures"
ZSTD = {"compression": "zstd", "compression_level": 3, "use_dictionary": False, "write_statistics": False}


@functools.cache
def brick() -> tuple[dict[str, Path], pa.Table]:
    """The simulated brick's files, written once a user, and the objects selected from it."""
    root = Path(tempfile.gettempdir()) / f"mmu-bench-legacysurvey-{os.getuid()}"
    files = SURVEY.archive.files(RELEASE, BRICK)
    paths = {file.path: root / file.path for file in files}
    for name, path in paths.items():
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(".unfinished")
            SURVEY.simulator.write(name, Sky(), unfinished)
            unfinished.replace(path)
    found = SURVEY.archive.select(RELEASE, Group(BRICK, files[:1]), paths)
    kept = np.flatnonzero(cut_reasons(found.cuts, len(found.ra)) < 0)
    kept = kept[np.argsort(healpix.pixel(found.ra[kept], found.dec[kept]))]
    names = found.object_id[kept].astype(object)
    return paths, pa.table({"object_id": names, "ra": found.ra[kept], "dec": found.dec[kept]})


def plane_paths() -> list[Path]:
    """The nine planes of the brick."""
    paths, _ = brick()
    return [path for name, path in paths.items() if name.endswith(".fz")]


def obvious() -> int:
    """Cutout2D for every plane of a few objects, planes in memory: what a script does. Returns the objects."""
    _, rows = brick()
    planes = []
    for path in plane_paths():
        with fits.open(path) as hdus:
            planes.append((hdus[1].data.copy(), WCS(hdus[1].header)))
    for ra, dec in zip(rows["ra"].to_pylist()[:FEW], rows["dec"].to_pylist()[:FEW], strict=True):
        position = SkyCoord(ra * u.deg, dec * u.deg)
        for data, wcs in planes:
            Cutout2D(data, position, (SIZE, SIZE), wcs=wcs, mode="partial", fill_value=0, copy=True)
    return FEW


def decompress() -> int:
    """Every plane once; nothing kept."""
    for path in plane_paths():
        with fits.open(path) as hdus:
            np.asarray(hdus[1].data)
    return len(brick()[1])


def floor(destination: Path, options: dict[str, Any]) -> int:
    """Decompress each plane once, slice stamps at precomputed places, write the arrays and nothing else."""
    _, rows = brick()
    count, bands = len(rows), len(FACTS["bands"])
    flux, ivar = (np.zeros((count, bands, SIZE, SIZE), np.float32) for _ in range(2))
    bits = np.zeros((count, SIZE, SIZE), np.int32)
    starts: list[tuple[int, int]] = []
    for number, path in enumerate(plane_paths()):
        with fits.open(path) as hdus:
            plane, header = hdus[1].data, hdus[1].header
        if not starts:
            x, y = WCS(header).all_world2pix(rows["ra"].to_numpy(), rows["dec"].to_numpy(), 0)
            corners = np.clip(np.rint(np.stack([x, y], 1) - 79.5).astype(int), 0, plane.shape[0] - SIZE)
            starts = [(int(a), int(b)) for a, b in corners]
        out = bits if "maskbits" in path.name else (flux, ivar)[number % 2][:, number // 2]
        for index, (a, b) in enumerate(starts):
            out[index] = plane[b : b + SIZE, a : a + SIZE]
    good = (ivar > 0) & ((bits & 0xC8FE) == 0)[:, None]
    table = pa.table(
        {"flux": nested_list(flux), "ivar": nested_list(ivar), "mask": nested_list(good), "maskbits": nested_list(bits)}
    )
    pq.write_table(table, destination, row_group_size=RELEASE.row_group_rows, **options)
    return count


def ours(destination: Path, pictures: bool = True) -> int:
    """`read`, then the shard writer, as the build does it."""
    paths, rows = brick()
    wanted = {name: path for name, path in paths.items() if pictures or not name.endswith(".jpg")}
    table = read(RELEASE, BRICK, wanted, rows).table
    pixels = pa.array(healpix.pixel(table["ra"].to_numpy(), table["dec"].to_numpy()))
    schema = arrow_schema(RELEASE.schema)
    full = table.add_column(0, HEALPIX.name, pixels).cast(schema)
    return write_shard(destination, [full], schema, RELEASE.row_group_rows or 1)[0]


def ours_reading() -> int:
    """`read` without the archive's pictures."""
    paths, rows = brick()
    return len(read(RELEASE, BRICK, {n: p for n, p in paths.items() if not n.endswith(".jpg")}, rows).table)


def zstd_options() -> dict[str, Any]:
    """zstd 3, floats as byte streams: how the shards are written."""
    floats = [f"{name}.list.item.list.item.list.item" for name in ("flux", "ivar")]
    names = [name.replace("item", "element") for name in floats]
    return ZSTD | {"use_byte_stream_split": names}


def test_bench_floor(benchmark: Any, tmp_path: Path) -> None:
    assert benchmark(floor, tmp_path / "floor.parquet", zstd_options()) > 300


def test_bench_read_and_write(benchmark: Any, tmp_path: Path) -> None:
    assert benchmark(ours, tmp_path / "ours.parquet") > 300


def test_bench_read(benchmark: Any) -> None:
    assert benchmark(ours_reading) > 300


def _rounds(runs: dict[str, Callable[[], int]], times: int = 4) -> dict[str, tuple[float, float]]:
    """Wall and processor seconds of the fastest of some runs of each, taken in turns on a machine that others use."""
    best: dict[str, tuple[float, float]] = {}
    for _ in range(times):
        for name, run in runs.items():
            start, spent = time.perf_counter(), time.process_time()
            run()
            taken = time.perf_counter() - start, time.process_time() - spent
            wall, cpu = best.get(name, taken)
            best[name] = min(wall, taken[0]), min(cpu, taken[1])
    return best


def main() -> None:
    """Time everything and print a table."""
    objects = len(brick()[1])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "shard.parquet"
        ours(out)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        found = _rounds(
            {
                "decompress the planes": decompress,
                "floor, written plain": lambda: floor(out, {"compression": None, "use_dictionary": False}),
                FLOOR: lambda: floor(out, zstd_options()),
                "ours: read, no pictures": ours_reading,
                OURS: lambda: ours(out, pictures=False),
                "ours: read + write, with pictures": lambda: ours(out),
            }
        )
    (slow,) = _rounds({"": obvious}, 1).values()
    unpack = found["decompress the planes"]
    wall, cpu = ((slow[i] - unpack[i]) * objects / FEW + unpack[i] for i in (0, 1))
    for name, seconds in {"Cutout2D, object by object, not written": (wall, cpu), **found}.items():
        rate, ratio = objects / seconds[0], seconds[0] / found[FLOOR][0]
        _say(f"{name:43} {seconds[0]:6.2f} s {rate:5.0f} objects/s {ratio:5.2f} x floor (processor {seconds[1]:.2f} s)")
    ratios = [found[OURS][i] / found[FLOOR][i] for i in (0, 1)]
    _say(f"{objects} objects; {ratios[0]:.2f} x the floor (processor {ratios[1]:.2f}; aim <= 1.5); peak {peak:.2f} GB")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
