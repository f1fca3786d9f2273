"""Memory of a stream over many epochs: `python tests/benchmarks/soak_stream.py [SECONDS]`, ten minutes by default.

2,000 pairs of images, shuffled, from Parquet and from the cache in turn. Fails if the last quarter of the time needs
over 5 % more memory than the second.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

import mmu
from tests.benchmarks.bench_stream import CASES, write


def resident_mb() -> float:
    """Memory of this process that is not the page cache's."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    case = replace(CASES["1"], pairs=2000)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(case, folder)
        paths = [folder / name for name, *_ in case.sides]
        streams = [
            mmu.stream(paths, columns=case.columns, batch_size=64, shuffle=1, pool_bytes=256 << 20, cache=cache)
            for cache in (None, folder / "cache")
        ]
        started, told, memory, pairs = time.perf_counter(), 0.0, [], 0
        while (passed := time.perf_counter() - started) < seconds:
            for stream in streams:
                for batch in stream:
                    pairs += batch.size
                    memory.append((time.perf_counter() - started, resident_mb()))
            if passed - told > 30:
                told = passed
                sys.stderr.write(f"{passed:6.0f} s  {pairs:9,} pairs  {memory[-1][1]:6.0f} MB\n")
    at, used = np.array(memory).T
    before = used[(at > seconds / 4) & (at < seconds / 2)].mean()
    after = used[at > 0.75 * seconds].mean()
    sys.stdout.write(
        f"{pairs:,} pairs in {seconds:.0f} s on {os.cpu_count()} cores; {before:.0f} MB, then {after:.0f} MB\n"
    )
    if after > 1.05 * before:
        raise SystemExit("Memory grows.")


if __name__ == "__main__":
    main()
