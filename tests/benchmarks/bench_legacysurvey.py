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
from surveys.legacysurvey.read import read
from surveys.legacysurvey.stamps import SIZE

BRICK = "1856p000"
RELEASE = SURVEY.default_release
FACTS = RELEASE.facts
PLANES = [kind for kind in FACTS["kinds"] if kind.endswith(".fz")]
FEW = 60
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
    table = pa.table({
        "flux": nested_list(flux), "ivar": nested_list(ivar), "mask": nested_list(good), "maskbits": nested_list(bits)
    })
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
    return read(RELEASE, BRICK, {n: p for n, p in paths.items() if not n.endswith(".jpg")}, rows).table.num_rows


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


def _best(run: Callable[[], int], times: int = 3) -> tuple[float, int]:
    """Seconds of the fastest of some runs, and objects."""
    seconds, count = [], 0
    for _ in range(times):
        start = time.perf_counter()
        count = run()
        seconds.append(time.perf_counter() - start)
    return min(seconds), count


def main() -> None:
    """Time everything and print a table."""
    _, rows = brick()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "shard.parquet"
        arrays = _best(lambda: ours(out, pictures=False))
        everything = _best(lambda: ours(out))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        reading = _best(ours_reading)
        plain, packed = _best(lambda: floor(out, {"compression": None, "use_dictionary": False})), _best(lambda: floor(out, zstd_options()))
        unpack, slow = _best(decompress), _best(obvious, 1)
    objects = len(rows)
    each = (slow[0] - unpack[0]) / slow[1]
    lines = [
        ("Cutout2D, object by object, not written", unpack[0] + each * objects),
        ("decompress the planes", unpack[0]),
        ("floor, written plain", plain[0]),
        ("floor, written zstd 3 + byte-stream split", packed[0]),
        ("ours: read, no pictures", reading[0]),
        ("ours: read + write, no pictures", arrays[0]),
        ("ours: read + write, with pictures", everything[0]),
        ("   of that, pictures", everything[0] - arrays[0]),
    ]
    for name, seconds in lines:
        print(f"{name:45} {seconds:6.2f} s {objects / seconds:8.0f} objects/s  {seconds / packed[0]:5.2f} x floor")  # noqa: T201
    print(f"{objects} objects; ratio to the floor {arrays[0] / packed[0]:.2f} (aim <= 1.5); peak memory {peak:.2f} GB")  # noqa: T201


if __name__ == "__main__":
    main()
