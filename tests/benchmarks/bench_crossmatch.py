"""Cross-matching against the floor and the peers: 1M x 1M and 5M x 5M positions over 1031 sq deg, 1 arcsec.

Run as `python tests/benchmarks/bench_crossmatch.py [MILLIONS ...]`; `--scaling` adds 1M to 20M a side, 1 to 2 workers.

Half of the second list is the first one scattered by 0.3 arcsec an axis; the rest is unrelated. Every figure is of a
fresh process: its time for the job alone (imports and compilation done before, on a small input), or with everything
that a fresh process has to do first ("fresh"), and its largest memory. The floor is a compiled zone grid, which is
exact on this field only. All must find the same pairs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
warnings.simplefilter("ignore")

RADIUS = 1.0
SPAN = (100.0, 36.0, 30.0)


def field(count: int) -> tuple[Any, Any, Any, Any]:
    """ra, dec of both lists."""
    import numpy as np

    random = np.random.default_rng(20)

    def uniform(number: int) -> tuple[Any, Any]:
        dec = np.degrees(np.arcsin(random.uniform(0, np.sin(np.radians(SPAN[2])), number)))
        return SPAN[0] + SPAN[1] * random.random(number), dec

    ra, dec = uniform(count)
    ra2, dec2 = uniform(count)
    half = count // 2
    dec2[:half] = dec[:half] + random.normal(0, 0.3 / 3600, half)
    ra2[:half] = ra[:half] + random.normal(0, 0.3 / 3600, half) / np.cos(np.radians(dec[:half]))
    mixed = random.permutation(count)
    return ra, dec, ra2[mixed], dec2[mixed]


def write_catalogues(folder: Path, count: int) -> None:
    """Both lists as HATS catalogues with a margin, at most a million rows a partition."""
    import numpy as np
    import pyarrow as pa

    from mmu.shards.catalogue import skymap, write_objects
    from mmu.shards.margin import write_margin
    from mmu.shards.parquet import Shard, write_shard, write_text
    from mmu.sky import healpix
    from mmu.sky.partition import partition_tree

    ra, dec, ra2, dec2 = field(count)
    for name, (lon, lat) in {"a": (ra, dec), "b": (ra2, dec2)}.items():
        sky = healpix.pixel(lon, lat)
        order = np.argsort(sky)
        ids = pa.array(np.char.mod(f"{name}%08d", np.arange(count)))
        columns = {
            "_healpix_29": sky[order],
            "object_id": ids.take(pa.array(order)),
            "ra": lon[order],
            "dec": lat[order],
        }
        table = pa.table(columns)
        schema = pa.schema([pa.field(f.name, f.type, nullable=False) for f in table.schema])
        table, shards = table.cast(schema), []
        for leaf in partition_tree(sky, 100, 1 << 40):
            first, last = np.searchsorted(sky[order], leaf.span)
            path = folder / name / "dataset" / leaf.path
            written = write_shard(path, [table.slice(first, last - first)], schema, 100_000)
            shards.append(Shard(leaf, *written, written[0]))
        write_objects(folder / name, {"hats_cols_default": "object_id ra dec"}, schema, shards, skymap(sky))
        leaves = sorted((shard.partition for shard in shards), key=lambda leaf: leaf.span)
        margins, rows = write_margin(folder / name, folder / f"{name}_margin", leaves, schema)
        _margin_files(folder, name, margins, rows, schema)
        facts = {"obs_collection": f"{name}_collection", "hats_primary_table_url": f"../{name}",
                 "all_margins": f"../{name}_margin", "default_margin": f"../{name}_margin"}  # fmt: skip
        text = "".join(f"{key}={value}\n" for key, value in facts.items())
        write_text(folder / f"{name}_collection" / "collection.properties", text)


def _margin_files(folder: Path, name: str, margins: list[Any], rows: int, schema: Any) -> None:
    import pyarrow.parquet as pq

    from mmu.shards.parquet import write_text

    margin = folder / f"{name}_margin"
    lines = ["Norder,Npix", *(f"{leaf.order},{leaf.pixel}" for leaf in margins)]
    write_text(margin / "partition_info.csv", "\n".join(lines) + "\n")
    (margin / "dataset").mkdir(parents=True, exist_ok=True)
    pq.write_metadata(schema, margin / "dataset" / "_common_metadata")
    facts = {"obs_collection": margin.name, "dataproduct_type": "margin", "hats_nrows": rows, "hats_col_ra": "ra",
             "hats_col_dec": "dec", "hats_col_healpix": "_healpix_29", "hats_col_healpix_order": 29,
             "hats_primary_table_url": f"../{name}", "hats_margin_threshold": "10.0"}  # fmt: skip
    write_text(margin / "hats.properties", "".join(f"{key}={value}\n" for key, value in facts.items()))


# -- what is timed: each takes (count, folder) and returns the job, which gives the number of pairs --------------------


def floor(count: int, _: Path) -> Callable[[], int]:
    from tests.benchmarks.zone_grid import nearest

    lists, few = field(count), field(1000)
    nearest(*few, RADIUS)
    return lambda: int((nearest(*lists, RADIUS) >= 0).sum())


def ours(count: int, _: Path) -> Callable[[], int]:
    from crossmatch.matcher import match

    lists, few = field(count), field(1000)
    match(*few, RADIUS)
    return lambda: len(match(*lists, RADIUS, threads=-1).i)


def kdtree(count: int, _: Path) -> Callable[[], int]:
    import numpy as np
    from scipy.spatial import cKDTree

    from mmu.sky.healpix import unit_vectors

    ra, dec, ra2, dec2 = field(count)
    chord = 2 * np.sin(np.radians(RADIUS / 3600) / 2)

    def job() -> int:
        tree = cKDTree(unit_vectors(ra2, dec2))
        return int(np.isfinite(tree.query(unit_vectors(ra, dec), distance_upper_bound=chord, workers=-1)[0]).sum())

    return job


def astropy(count: int, _: Path) -> Callable[[], int]:
    import astropy.units as u
    from astropy.coordinates import SkyCoord, match_coordinates_sky

    def run(ra: Any, dec: Any, ra2: Any, dec2: Any) -> int:
        first, second = SkyCoord(ra * u.deg, dec * u.deg), SkyCoord(ra2 * u.deg, dec2 * u.deg)
        return int((match_coordinates_sky(first, second)[1].arcsec <= RADIUS).sum())

    lists = field(count)
    run(*field(1000))
    return lambda: run(*lists)


def ours_disk(count: int, folder: Path) -> Callable[[], int]:
    from crossmatch import crossmatch

    return lambda: len(crossmatch(str(folder / "a"), str(folder / "b"), radius_arcsec=RADIUS))


def ours_written(count: int, folder: Path) -> Callable[[], int]:
    from crossmatch import crossmatch

    made = folder / f"out-{os.getpid()}-{time.monotonic_ns()}"
    return lambda: len(crossmatch(str(folder / "a"), str(folder / "b"), radius_arcsec=RADIUS, out=made, renew=True))


def lsdb_disk(count: int, folder: Path) -> Callable[[], int]:
    import lsdb

    def job() -> int:
        a, b = (lsdb.open_catalog(folder / f"{name}_collection") for name in "ab")
        return len(a.crossmatch(b, radius_arcsec=RADIUS, suffixes=("_a", "_b")).compute())

    return job


def lsdb_memory(count: int, _: Path) -> Callable[[], int]:
    import lsdb
    import pandas as pd

    ra, dec, ra2, dec2 = field(count)
    frames = [pd.DataFrame({"ra": lon, "dec": lat}) for lon, lat in ((ra, dec), (ra2, dec2))]

    def job() -> int:
        a, b = (lsdb.from_dataframe(frame, ra_column="ra", dec_column="dec", margin_threshold=5.0) for frame in frames)
        return len(a.crossmatch(b, radius_arcsec=RADIUS, suffixes=("_a", "_b")).compute())

    return job


JOBS = {
    "floor": floor, "ours": ours, "cKDTree": kdtree, "astropy": astropy, "lsdb memory": lsdb_memory,
    "ours disk": ours_disk, "ours written": ours_written, "lsdb disk": lsdb_disk,
}  # fmt: skip
WARM_TWICE = ("lsdb memory", "ours disk", "lsdb disk")
"""Jobs whose first run in a process also pays for imports and compilation: the second is the warm one."""


def one(name: str, count: int, folder: Path) -> None:
    """Time a job in this process; prints JSON."""
    begun = time.perf_counter()
    prepared = JOBS[name](count, folder)
    started = time.perf_counter()
    pairs = prepared()
    seconds = time.perf_counter() - started
    out = {"pairs": pairs, "seconds": seconds, "fresh": time.perf_counter() - begun}
    if name in WARM_TWICE:
        started = time.perf_counter()
        prepared()
        out["seconds"] = time.perf_counter() - started
    out["peak_mb"] = _peak_mb()
    sys.stdout.write(json.dumps(out) + "\n")


def _peak_mb() -> float:
    """Of this process alone: what getrusage gives begins with the parent's."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def timed(name: str, count: int, folder: Path, repeat: int = 3) -> dict[str, float]:
    """The best of some fresh processes."""
    found = []
    for _ in range(repeat):
        words = [sys.executable, __file__, "--one", name, str(count), str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
        found.append(json.loads(done.stdout.strip().splitlines()[-1]))
    return {key: min(one[key] for one in found) for key in found[0]}


def compare(count: int) -> None:
    say = sys.stdout.write
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_catalogues(folder, count)
        say(f"\n{count:,} x {count:,} within {RADIUS} arcsec, best of {3 if count <= 10**6 else 2}\n")
        say(f"{'':14}{'seconds':>9}{'fresh':>9}{'peak MB':>9}{'pairs':>12}{'x floor':>9}\n")
        results = {}
        for name in JOBS:
            results[name] = got = timed(name, count, folder, 3 if count <= 10**6 else 2)
            fresh = f"{got['fresh']:9.2f}" if "disk" in name or "written" in name or name in WARM_TWICE else " " * 9
            ratio = got["seconds"] / results["floor"]["seconds"]
            say(f"{name:14}{got['seconds']:9.2f}{fresh}{got['peak_mb']:9.0f}{got['pairs']:12,}{ratio:9.2f}\n")
            sys.stdout.flush()
    for words, top, bottom, key in (
        ("in memory: astropy / ours", "astropy", "ours", "seconds"),
        ("in memory: cKDTree / ours", "cKDTree", "ours", "seconds"),
        ("in memory: ours / floor", "ours", "floor", "seconds"),
        ("from disk, warm: lsdb / ours", "lsdb disk", "ours disk", "seconds"),
        ("from disk, fresh: lsdb / ours", "lsdb disk", "ours disk", "fresh"),
        ("peak memory: ours / lsdb", "ours disk", "lsdb disk", "peak_mb"),
    ):
        say(f"{words}: {results[top][key] / results[bottom][key]:.2f}\n")
    if len({got["pairs"] for got in results.values()}) != 1:
        raise SystemExit(f"They do not agree: { {name: got['pairs'] for name, got in results.items()} }")


def scaling() -> None:
    """Cost per object from 1M to 20M a side, from disk, and what a second worker gives."""
    from crossmatch import Where, crossmatch

    say = sys.stdout.write
    first = 0.0
    for count in (1_000_000, 5_000_000, 20_000_000):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write_catalogues(folder, count)
            seconds = {}
            for label, where in (("1", Where(1)), ("2", Where(2)), ("threads", Where())):
                started = time.perf_counter()
                if label == "threads" or count == 20_000_000:
                    crossmatch(str(folder / "a"), str(folder / "b"), out=folder / f"o{label}", where=where)
                    seconds[label] = time.perf_counter() - started
            each = 1e6 * seconds["threads"] / count
            first = first or each
            say(f"{count:,} a side, from disk to disk: {each:.2f} us an object ({each / first:.2f} of 1M's)\n")
            if "1" in seconds:
                say(f"workers 1 -> 2: {seconds['1']:.1f} s -> {seconds['2']:.1f} s, "
                    f"efficiency {seconds['1'] / seconds['2'] / 2:.2f} (starting them included)\n")  # fmt: skip
            sys.stdout.flush()


def main() -> None:
    words = sys.argv[1:]
    if words[:1] == ["--one"]:
        one(words[1], int(words[2]), Path(words[3]))
        return
    for millions in [word for word in words if not word.startswith("-")] or ["1", "5"]:
        compare(int(float(millions) * 1_000_000))
    if "--scaling" in words:
        scaling()


if __name__ == "__main__":
    main()
