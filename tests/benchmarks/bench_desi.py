"""DESI coadd files to records, against the floor of reading their arrays.

    python tests/benchmarks/bench_desi.py            prints ratios and peak memory
    pytest --benchmark-enable tests/benchmarks/bench_desi.py

The floor opens the file, finds every plane of the three arms (flux, ivar, mask, resolution) and copies it into this
machine's byte order: no merge, no line-spread function, no table. Files are a simulated coadd repeated to the size.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

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


def floor(coadd: Path) -> list[np.ndarray]:
    """Every plane of the three arms as a native array."""
    with fits.open(coadd, memmap=True) as hdus:
        planes = [hdus[f"{arm}_{kind}"].data for arm in "BRZ" for kind in ("FLUX", "IVAR", "MASK", "RESOLUTION")]
        return [plane.astype(plane.dtype.newbyteorder("=")) for plane in planes]


def best_of(work: Callable[[], object], times: int = 5) -> float:
    """Shortest of several wall-clock times, s."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Path], pa.Table]:
    return unit_of(REAL, tmp_path_factory.mktemp("desi"))


def test_bench_floor(unit: Any, benchmark: Any) -> None:
    benchmark(lambda: floor(next(iter(unit[1].values()))))


def test_bench_read(unit: Any, benchmark: Any) -> None:
    name, paths, rows = unit
    records = benchmark(lambda: read(DR1_MAIN, name, paths, rows))
    assert records.table.num_rows == REAL


def measure(unit: str, paths: dict[str, Path], rows: pa.Table) -> tuple[float, float, float]:
    """Seconds of the reader, its peak of memory in MB (this process, imports included), seconds of the floor."""
    mine = best_of(partial(read, DR1_MAIN, unit, paths, rows))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return mine, peak, best_of(partial(floor, next(iter(paths.values()))))


def main(sizes: tuple[int, ...]) -> None:
    """Print spectra a second, the ratio to the floor, and peak memory; a fresh process a size."""
    out, fresh = sys.stdout.write, get_context("spawn")
    out(f"{'targets':>8} {'floor s':>9} {'read s':>9} {'ratio':>6} {'spectra/s':>10} {'us each':>8} {'peak MB':>8}\n")
    for targets in sizes:
        pool = ProcessPoolExecutor(1, mp_context=fresh, max_tasks_per_child=1)
        with tempfile.TemporaryDirectory() as folder, pool:
            unit = pool.submit(unit_of, targets, Path(folder)).result()
            mine, peak, least = pool.submit(measure, *unit).result()
        rate, each = targets / mine, mine / targets * 1e6
        out(f"{targets:8d} {least:9.3f} {mine:9.3f} {mine / least:6.2f} {rate:10.0f} {each:8.0f} {peak:8.0f}\n")


if __name__ == "__main__":
    main(tuple(int(word) for word in sys.argv[1:]) or (REAL, 1000, 5000))
