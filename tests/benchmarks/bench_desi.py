"""DESI coadd files to records, against the floor of reading their arrays.

    python tests/benchmarks/bench_desi.py            prints times, ratios and peak memory
    pytest --benchmark-enable tests/benchmarks/bench_desi.py

The floor opens the file, finds every plane of the three arms (flux, ivar, mask, resolution) and copies it in this
machine's byte order into arrays that are there: no merge, no line-spread function, no table, and no new memory, which
the reader does pay for. `floor, new` is the same into new arrays; its cost depends on the allocator. Files are a
simulated coadd repeated to the size, and in the page cache. Floors and reader take turns, so that a neighbour's load
meets all alike; a ratio is the median over the turns, with one thread each.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy starts its threads

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

sys.path.insert(0, str(Path(__file__).parents[2]))

from mmu.simulate import Field, Sky
from surveys.desi import DR1_MAIN, archive, simulate
from surveys.desi.read import read

SKY = Sky(fields=(Field("half", 185.7, 0.2, 0.1),))
REAL = 500
"""Targets of a typical real file."""
TURNS = 11


def unit_of(targets: int, root: Path) -> tuple[str, dict[str, Path], pa.Table]:
    """A unit of that many targets: its name, files and rows."""
    path = next(path for path in simulate.files("dr1_main", SKY) if "/coadd-main-dark" in path)
    _, survey, program, pixel = Path(path).stem.split("-")
    unit = archive.unit_name(pixel, survey, program)
    paths = {file.path: root / Path(file.path).name for file in archive.files(DR1_MAIN, unit)}
    for name, place in paths.items():
        simulate.write(name, SKY, place)
        _repeat(place, targets)
    ids = np.arange(targets).astype(str)
    return unit, paths, pa.table({"object_id": ids})


def _repeat(path: Path, targets: int) -> None:
    """Repeat a file's rows, TARGETID 0, 1, 2 ..."""
    kept: list[Any] = []
    with fits.open(path, memmap=False) as hdus:
        for hdu in hdus:
            if hdu.data is None or hdu.name.endswith("WAVELENGTH") or hdu.name == "EXP_FIBERMAP":
                kept.append(hdu.copy())
                continue
            rows = np.arange(targets) % len(hdu.data)
            data = np.array(hdu.data)[rows]
            if isinstance(hdu, fits.BinTableHDU):
                data["TARGETID"] = np.arange(targets)
                kept.append(fits.BinTableHDU(data, name=hdu.name))
            else:
                kept.append(fits.ImageHDU(data, name=hdu.name))
        fits.HDUList(kept).writeto(path, overwrite=True)


ARRAYS = [f"{arm}_{kind}" for arm in "BRZ" for kind in ("FLUX", "IVAR", "MASK", "RESOLUTION")]


def native(coadd: Path) -> list[np.ndarray]:
    """Arrays for every plane of the three arms, their memory touched."""
    with fits.open(coadd, memmap=True) as hdus:
        return [np.ones(hdus[name].shape, hdus[name].data.dtype.newbyteorder("=")) for name in ARRAYS]


def floor(coadd: Path, arrays: list[np.ndarray]) -> None:
    """Read every plane of the three arms into arrays that are there."""
    with fits.open(coadd, memmap=True) as hdus:
        for name, array in zip(ARRAYS, arrays, strict=True):
            array[...] = hdus[name].data


def new_floor(coadd: Path) -> list[np.ndarray]:
    """Read every plane of the three arms into new arrays."""
    with fits.open(coadd, memmap=True) as hdus:
        planes = [hdus[name].data for name in ARRAYS]
        return [plane.astype(plane.dtype.newbyteorder("=")) for plane in planes]


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Path], pa.Table]:
    return unit_of(REAL, tmp_path_factory.mktemp("desi"))


def test_bench_floor(unit: Any, benchmark: Any) -> None:
    coadd = next(iter(unit[1].values()))
    arrays = native(coadd)
    benchmark(lambda: floor(coadd, arrays))


def test_bench_read(unit: Any, benchmark: Any) -> None:
    name, paths, rows = unit
    records = benchmark(lambda: read(DR1_MAIN, name, paths, rows))
    assert records.table.num_rows == REAL


@dataclass(frozen=True)
class Times:
    """Seconds of each turn, CPU and wall clock."""

    cpu: tuple[float, ...]
    wall: tuple[float, ...]


def in_turns(works: Sequence[Callable[[], object]], turns: int = TURNS) -> list[Times]:
    """Times of several pieces of work, one after the other `turns` times; the first turn does not count."""
    found: list[list[tuple[float, float]]] = [[] for _ in works]
    for _ in range(turns + 1):
        for work, times in zip(works, found, strict=True):
            cpu, wall = time.process_time(), time.perf_counter()
            result = work()
            times.append((time.process_time() - cpu, time.perf_counter() - wall))
            del result  # giving memory back is nobody's time
    return [Times(*zip(*times[1:], strict=True)) for times in found]


def peak_mb(unit: str, paths: dict[str, Path], rows: pa.Table) -> float:
    """Peak memory of a process that reads the unit once, MB, imports included."""
    read(DR1_MAIN, unit, paths, rows)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(unit: str, paths: dict[str, Path], rows: pa.Table) -> list[Times]:
    """Times of the floor into arrays that are there, of the floor into new arrays, and of the reader."""
    coadd = next(iter(paths.values()))
    arrays = native(coadd)
    works = (partial(floor, coadd, arrays), partial(new_floor, coadd), partial(read, DR1_MAIN, unit, paths, rows))
    return in_turns(works)


def main(sizes: tuple[int, ...]) -> None:
    """Print medians of CPU and wall-clock time, their ratios, spectra a second and peak memory; fresh processes."""
    out, fresh = sys.stdout.write, get_context("spawn")
    out("CPU ms / wall ms, and the ratio of CPU / wall times\n")
    heads = ("floor", "floor, new", "read", "read/floor", "read/new")
    out(f"{'targets':>8}" + "".join(f"{head:>16}" for head in heads) + f"{'spectra/s':>11}{'peak MB':>9}\n")
    for targets in sizes:
        pool = ProcessPoolExecutor(1, mp_context=fresh, max_tasks_per_child=1)
        with tempfile.TemporaryDirectory() as folder, pool:
            unit = pool.submit(unit_of, targets, Path(folder)).result()
            floors_and_read = pool.submit(measure, *unit).result()
            peak = pool.submit(peak_mb, *unit).result()
        *floors, mine = floors_and_read
        out(f"{targets:8d}")
        for times in floors_and_read:
            out(f"{median(times.cpu) * 1e3:8.1f}{median(times.wall) * 1e3:8.1f}")
        for least in floors:
            out(f"{ratio(mine.cpu, least.cpu):8.2f}{ratio(mine.wall, least.wall):8.2f}")
        out(f"{targets / median(mine.wall):11.0f}{peak:9.0f}\n")


def ratio(mine: Sequence[float], least: Sequence[float]) -> float:
    """Median over the turns."""
    return median(m / f for m, f in zip(mine, least, strict=True))


if __name__ == "__main__":
    main(tuple(int(word) for word in sys.argv[1:]) or (100, REAL, 1000, 5000))
