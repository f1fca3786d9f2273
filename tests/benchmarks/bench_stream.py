"""Matched pairs a second, as NumPy batches: ours from Parquet and from the cache, lsdb's stream, `datasets`, the floor.

Run as `python tests/benchmarks/bench_stream.py [CASE ...]`. Case 1: two images of 4 x 96 x 96 float32, 20,000 pairs.
Case 2: an image of 4 x 160 x 160 flux and ivar with a spectrum of 7781 flux and ivar, 4,000 pairs of 881 kB.

All read the same folders (the pairs of `datasets` are those written out by `mmu crossmatch --materialize`), from the
page cache, in processes of their own with all cores; of `datasets`, which is slow, eight batches. The floor is Arrow's:
every row group decoded, in as many threads, and nothing done with it. Cold: files taken out of the page cache first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
warnings.simplefilter("ignore")

PARTITION_BYTES = 128 << 20
AXES = {"image": ("band", "y", "x"), "spectrum": ("wavelength",)}


@dataclass(frozen=True)
class Case:
    pairs: int
    sides: tuple[tuple[str, str, tuple[int, ...], tuple[str, ...]], ...]
    """Name, modality, shape and members of each."""
    batch: int

    @property
    def columns(self) -> list[str]:
        return [f"{name}.{kind}.{member}" for name, kind, _, members in self.sides for member in members]

    @property
    def bytes(self) -> int:
        import numpy as np

        return sum(4 * int(np.prod(shape)) * len(members) for _, _, shape, members in self.sides)


CASES = {
    "1": Case(20_000, (("a", "image", (4, 96, 96), ("flux",)), ("b", "image", (4, 96, 96), ("flux",))), 256),
    "2": Case(
        4_000, (("a", "image", (4, 160, 160), ("flux", "ivar")), ("b", "spectrum", (7781,), ("flux", "ivar"))), 128
    ),
}


# -- the datasets ------------------------------------------------------------------------------------------------------


def write(case: Case, folder: Path) -> None:
    """Both sides of the pairs: sky noise with a galaxy in the middle, in partitions of at most 128 MB."""
    import numpy as np

    random = np.random.default_rng(1)
    ra, dec = 40 + 10 * random.random(case.pairs), 10 * random.random(case.pairs) - 5
    for name, kind, shape, members in case.sides:
        here = ra + random.normal(0, 0.1 / 3600, case.pairs), dec + random.normal(0, 0.1 / 3600, case.pairs)
        _write_side(folder / name, kind, shape, members, *here)


def _write_side(folder: Path, kind: str, shape: tuple[int, ...], members: tuple[str, ...], ra: Any, dec: Any) -> None:
    import numpy as np
    import pyarrow as pa

    from mmu.schema.arrow import arrow_schema
    from mmu.schema.column import IDENTITY, Schema
    from mmu.schema.modality import MODALITIES
    from mmu.shards.catalogue import skymap, write_objects
    from mmu.shards.parquet import Shard, rows_per_group, write_groups
    from mmu.sky import healpix
    from mmu.sky.partition import partition_tree

    axes: dict[str, int | None] = dict(zip(AXES[kind], shape, strict=True))
    axes |= {"band": None} if kind == "image" else {}
    left_out = tuple(m.name for m in MODALITIES[kind].members if m.name not in (*members, "band"))
    column = MODALITIES[kind].column(axes=axes, flux="nanomaggy", without=left_out)
    columns = Schema((*IDENTITY, column))
    schema, sky = arrow_schema(columns), healpix.pixel(ra, dec)
    order, width = np.argsort(sky), 4 * int(np.prod(shape)) * len(members)
    ra, dec, sky = ra[order], dec[order], sky[order]
    group, shards = rows_per_group(schema, width, None), []
    for leaf in partition_tree(sky, width, PARTITION_BYTES):
        first, last = np.searchsorted(sky, leaf.span)

        def tables(first: int = first, last: int = last) -> Iterator[pa.Table]:
            for start in range(first, last, group):
                rows = slice(start, min(start + group, last))
                where = {"_healpix_29": sky[rows], "ra": ra[rows], "dec": dec[rows]}
                yield _table(schema, folder.name, kind, shape, members, start, where)

        written = write_groups(folder / "dataset" / leaf.path, tables(), schema)
        shards.append(Shard(leaf, *written, written[0]))
    write_objects(folder, {"obs_title": folder.name}, schema, shards, skymap(sky))


def _table(
    schema: Any,
    name: str,
    kind: str,
    shape: tuple[int, ...],
    members: tuple[str, ...],
    start: int,
    where: dict[str, Any],
) -> Any:
    import numpy as np
    import pyarrow as pa

    from mmu.schema.arrow import nested_list

    count = len(where["ra"])
    random = np.random.default_rng(start)
    arrays = {}
    for member in members:
        values = random.standard_normal((count, *shape), dtype=np.float32)
        if kind == "image":
            y, x = np.mgrid[: shape[1], : shape[2]] - shape[1] / 2
            values += 30 * np.exp(-np.hypot(y, x) / 4).astype(np.float32)
        arrays[member] = nested_list(values)
    if kind == "image":
        text = pa.array(list("griz") * count)
        offsets = pa.array(np.arange(count + 1, dtype=np.int32) * 4)
        arrays["band"] = pa.ListArray.from_arrays(offsets, text, type=schema.field(kind).type.field("band").type)
    struct = schema.field(kind).type
    fields = [struct.field(index) for index in range(struct.num_fields)]
    made = pa.StructArray.from_arrays([arrays[field.name].cast(field.type) for field in fields], fields=fields)
    ids = pa.array([f"{name}{row:07d}" for row in range(start, start + count)])
    columns = {**where, "object_id": ids, kind: made}
    return pa.table({field.name: columns[field.name] for field in schema}, schema=schema)


# -- what is timed: each is a function of (case, folder) that gives the job; a job returns pairs and batch seconds -----

Job = Callable[[], tuple[int, list[float]]]


def timed_batches(batches: Any, size: Callable[[Any], int]) -> tuple[int, list[float]]:
    pairs, seconds, started = 0, [], time.perf_counter()
    for batch in batches:
        pairs += size(batch)
        now = time.perf_counter()
        seconds.append(now - started)
        started = now
    return pairs, seconds


def floor(case: Case, folder: Path) -> Job:
    import pyarrow.parquet as pq

    def job() -> tuple[int, list[float]]:
        work = []
        for name, kind, _, members in case.sides:
            for path in sorted((folder / name / "dataset").rglob("*.parquet")):
                columns = [f"{kind}.{member}" for member in members]
                work += [(path, group, columns) for group in range(pq.read_metadata(path).num_row_groups)]

        def decode(path: Path, group: int, columns: list[str]) -> None:
            with pq.ParquetFile(path, memory_map=True) as file:
                file.read_row_group(group, columns=columns, use_threads=False)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda one: decode(*one), work))
        return case.pairs, []

    return job


def ours(case: Case, folder: Path, cache: Path | None = None, shuffle: int | None = 1) -> Job:
    import mmu

    stream = mmu.stream([folder / name for name, *_ in case.sides], columns=case.columns, batch_size=case.batch,
                        shuffle=shuffle, tail="exact", cache=cache)  # fmt: skip
    return lambda: timed_batches(stream, lambda batch: batch.size)


def ours_cached(case: Case, folder: Path) -> Job:
    return ours(case, folder, folder / "cache")


def ours_in_order(case: Case, folder: Path) -> Job:
    return ours(case, folder, None, None)


def lsdb_stream(case: Case, folder: Path) -> Job:
    import lsdb
    import numpy as np
    import pyarrow as pa
    from lsdb.streams import CatalogStream

    def arrays(chunk: Any) -> int:
        for name, kind, shape, members in case.sides:
            column = pa.concat_arrays(chunk[f"{kind}_{name}"].array.struct_array.chunks)
            for member in members:
                values = column.field(member)
                while hasattr(values, "flatten"):
                    values = values.flatten()
                np.array(values.to_numpy(zero_copy_only=False)).reshape(-1, *shape)
        return len(chunk)

    def job() -> tuple[int, list[float]]:
        a, b = (
            lsdb.open_catalog(folder / name, columns=["object_id", "ra", "dec", kind]) for name, kind, *_ in case.sides
        )
        matched = a.crossmatch(
            b, radius_arcsec=1.0, suffixes=("_a", "_b"), suffix_method="all_columns", require_right_margin=False
        )
        return timed_batches(CatalogStream(matched, shuffle=True), arrays)

    return job


def datasets_pairs(case: Case, folder: Path) -> Job:
    import datasets

    files = sorted(map(str, (folder / "matched" / "pairs" / "dataset").rglob("*.parquet")))
    wanted = [f"{name}_{kind}" for name, kind, *_ in case.sides]

    def job() -> tuple[int, list[float]]:
        rows = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True, columns=wanted)
        batches = rows.shuffle(seed=1, buffer_size=1000).with_format("numpy").iter(batch_size=case.batch)
        return timed_batches(islice(batches, 8), lambda batch: len(batch[wanted[0]]))

    return job


def evict(folder: Path) -> int:
    """Take the datasets' files out of the page cache; their bytes."""
    total = 0
    for path in folder.glob("[ab]/dataset/**/*.parquet"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            total += path.stat().st_size
    return total


def disk(case: Case, folder: Path) -> Job:
    """Every byte of the files, cold, in order, by as many threads."""

    def read(path: Path) -> None:
        with path.open("rb", buffering=0) as file:
            while file.read(8 << 20):
                pass

    def job() -> tuple[int, list[float]]:
        evict(folder)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(read, sorted(folder.glob("[ab]/dataset/**/*.parquet"))))
        return case.pairs, []

    return job


def ours_cold(case: Case, folder: Path) -> Job:
    epoch = ours(case, folder)

    def job() -> tuple[int, list[float]]:
        evict(folder)
        return epoch()

    return job


JOBS: dict[str, Callable[[Case, Path], Job]] = {
    "floor": floor, "ours": ours, "ours in order": ours_in_order, "ours cached": ours_cached,
    "lsdb": lsdb_stream, "datasets": datasets_pairs, "disk, cold": disk, "ours, cold": ours_cold,
}  # fmt: skip


def one(case: str, name: str, folder: Path) -> None:
    """Time a job in this process: the first run with all that it needs, and the second; prints JSON."""
    first = time.perf_counter()
    job = JOBS[name](CASES[case], folder)
    job()
    started = time.perf_counter()
    pairs, seconds = job()
    ended = time.perf_counter()
    ordered = sorted(seconds)
    out = {
        "pairs": pairs, "per_s": pairs / (ended - started), "first_per_s": pairs / (started - first),
        "p99_ms": 1e3 * ordered[int(0.99 * (len(ordered) - 1))] if ordered else 0.0, "peak_mb": _peak_mb(),
    }  # fmt: skip
    sys.stdout.write(json.dumps(out) + "\n")
    sys.stdout.flush()
    os._exit(0)  # `datasets` may crash while the interpreter ends


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def timed(case: str, name: str, folder: Path) -> dict[str, float]:
    words = [sys.executable, __file__, "--one", case, name, str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def compare(number: str) -> None:
    import mmu
    from crossmatch.materialize import materialize

    case, say = CASES[number], sys.stdout.write
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(case, folder)
        materialize(mmu.crossmatch(*(folder / name for name, *_ in case.sides), out=folder / "matched"),
                    [f"{name}.{kind}" for name, kind, *_ in case.sides])  # fmt: skip
        say(f"\ncase {number}: {case.pairs:,} pairs of {case.bytes:,} bytes, batches of {case.batch}\n")
        say(f"{'':14}{'pairs/s':>9}{'first run':>11}{'MB/s':>8}{'p99 ms':>8}{'peak MB':>9}{'x floor':>9}\n")
        results = {}
        for name in JOBS:
            results[name] = got = timed(number, name, folder)
            share = got["per_s"] / results["floor"]["per_s"]
            say(f"{name:14}{got['per_s']:9.0f}{got['first_per_s']:11.0f}{got['per_s'] * case.bytes / 1e6:8.0f}"
                f"{got['p99_ms']:8.0f}{got['peak_mb']:9.0f}{share:9.2f}\n")  # fmt: skip
            sys.stdout.flush()
    for words, top, bottom in (
        ("from Parquet: ours / lsdb", "ours", "lsdb"),
        ("from Parquet: ours / the floor", "ours", "floor"),
        ("from the cache: ours / lsdb", "ours cached", "lsdb"),
        ("from Parquet: ours / datasets on written pairs", "ours", "datasets"),
        ("cold: ours / the disk", "ours, cold", "disk, cold"),
    ):
        say(f"{words}: {results[top]['per_s'] / results[bottom]['per_s']:.2f}\n")
    if (lost := case.pairs - int(results["lsdb"]["pairs"])) > 0:
        say(f"lsdb gives {lost} pairs fewer, those across borders of partitions: it has no margin to look into here\n")
    if {got["pairs"] for name, got in results.items() if name not in ("datasets", "lsdb")} != {case.pairs}:
        raise SystemExit(f"They do not agree: { {name: got['pairs'] for name, got in results.items()} }")


def main() -> None:
    words = sys.argv[1:]
    if words[:1] == ["--one"]:
        one(words[1], words[2], Path(words[3]))
    elif words[:1] == ["--write"]:
        write(CASES[words[1]], Path(words[2]))
    else:
        for number in words or CASES:
            compare(number)


if __name__ == "__main__":
    main()
