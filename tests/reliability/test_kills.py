"""Killed anywhere with SIGKILL, and run again: the same bytes, nothing lost, left over, or fetched twice."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

import mmu
from mmu.build.journal import read_journal
from mmu.build.ledger import Folded, read_ledger
from mmu.build.verify import verify
from mmu.errors import UsageError
from tests.archive.server import Archive, serving, simulate
from tests.reliability.killer import Ended, Forge, copied, litter, tree

pytestmark = pytest.mark.slow
RELEASE = "gaia_dr3"
LEFT, RIGHT = "cone:185.45,0,0.2", "cone:185.7,0,0.3"
SHARDS = ("--partition-bytes", "2MB")
FEW = ("--max-objects", "60", "--partition-bytes", "500kB")


@dataclass(frozen=True)
class Kind:
    """A command, what stands in the output folder before it, and what is right after it."""

    name: str
    words: tuple[str, ...]
    before: tuple[str, ...] = ()
    then: tuple[str, ...] = ()


KINDS = {
    kind.name: kind
    for kind in (
        Kind("a new build", ("build", "gaia", *FEW, "-q")),
        Kind("--add", ("build", "gaia", *SHARDS, "-q", "--add", "--region", RIGHT), ("--region", LEFT)),
        Kind("--format parquet,hdf5", ("build", "gaia", *SHARDS, "-q", "--format", "parquet,hdf5")),
        Kind("mmu fetch", ("fetch", "gaia"), then=("build", "gaia", *SHARDS, "-q")),
    )
}


@dataclass
class Golden:
    """An uninterrupted run: what it leaves, what it counted, how long it took, and the points it passed."""

    base: Path | None
    first: dict[str, bytes]
    files: dict[str, bytes]
    counts: dict[str, Any]
    seconds: float
    points: list[str]


@dataclass
class Lane:
    """One run at a time: an archive on a port of its own, and a process that forks runs."""

    folder: Path
    archive: Archive
    forge: Forge
    golden: dict[str, Golden] = field(default_factory=dict)
    number: Iterator[int] = field(default_factory=itertools.count)

    def mmu(self, out: Path, words: Iterable[str], workers: int = 0, **how: Any) -> Ended:
        return self.forge.run(out, *words, "--source", self.archive.url, "--out", str(out), "-j", str(workers), **how)

    def known(self, kind: Kind) -> Golden:
        """The uninterrupted run of a kind; made once."""
        if kind.name not in self.golden:
            base = None
            if kind.before:
                base = self.folder / f"base{next(self.number)}"
                self._whole(self.mmu(base, ("build", "gaia", *SHARDS, "-q", *kind.before)))
            out = self.out(base)
            first = tree(out / "gaia") if base else {}
            ended = self._whole(self.mmu(out, kind.words))
            assert len(ended.points) > 30
            if kind.then:
                first = tree(out / ".cache")
                self._whole(self.mmu(out, kind.then))
            ledger = ledger_of(out)
            assert ledger is not None
            assert (verdict(out), litter(out)) == ([], [])
            found = Golden(base, first, tree(out / "gaia"), ledger.build["counts"], ended.seconds, ended.points)
            self.golden[kind.name] = found
            shutil.rmtree(out)
        return self.golden[kind.name]

    def out(self, base: Path | None) -> Path:
        out = self.folder / f"out{next(self.number)}"
        return out if base is None else copied(base, out)

    @cached_property
    def start_of_workers_s(self) -> float:
        """How much longer a run takes with two workers; its bytes are the same."""
        kind = KINDS["a new build"]
        out = self.out(None)
        ended = self._whole(self.mmu(out, kind.words, 2))
        assert tree(out / "gaia") == self.known(kind).files
        shutil.rmtree(out)
        return max(0.0, ended.seconds - self.known(kind).seconds)

    def _whole(self, ended: Ended) -> Ended:
        assert ended.code == 0, ended.said
        return ended

    def survives(self, kind: Kind, workers: int = 0, again: int = 0, **how: Any) -> bool:
        """Kill a run, look at what is left, run it again (after `again` more kills): False if it was over before."""
        golden = self.known(kind)
        out = self.out(golden.base)
        had: set[str] = set()
        self.archive.asked.clear()
        struck = 0
        for _ in range(again + 1):
            ended = self.mmu(out, kind.words, workers, **how)
            struck += ended.killed or ended.shot
            asked = [asked.path for asked in self.archive.asked]
            assert not had.intersection(asked), (how, "verified, and fetched again", had.intersection(asked))
            if not ended.killed:
                assert ended.code == 0, (how, ended.said)
                break
            self.half_done(out, golden, how)
            had = self.verified(out, golden)
            self.archive.asked.clear()
        ended = self._whole(self.mmu(out, kind.words))
        assert not had & {asked.path for asked in self.archive.asked}, (how, "verified, and fetched again")
        if kind.then:
            assert same_raw(tree(out / ".cache"), golden.first), how
            assert litter(out / ".cache") == [], how
            self.archive.asked.clear()
            self._whole(self.mmu(out, kind.then))
            assert not self.archive.asked, how
        assert verdict(out) == [], how
        ledger = ledger_of(out)
        assert ledger is not None
        assert ledger.build["counts"] == golden.counts, how
        here = tree(out / "gaia")
        assert here.keys() == golden.files.keys(), how
        assert [name for name in here if here[name] != golden.files[name]] == [], how
        assert litter(out) == [], how
        assert not (out / ".cache").exists(), how
        shutil.rmtree(out)
        return struck > 0

    def half_done(self, out: Path, golden: Golden, how: dict[str, Any]) -> None:
        """What a kill leaves is never taken for a dataset, unless it is one."""
        try:
            found = verdict(out)
        except UsageError:
            assert not (out / "gaia" / RELEASE / "_mmu").exists()
            return
        if not found:
            assert lasting(tree(out / "gaia")) in (golden.first, golden.files), how
        else:
            try:
                mmu.open(out / "gaia").table(["object_id"])
            except UsageError:
                return
            assert any("unfinished" in problem or "never finished" in problem for problem in found), (how, found)

    def verified(self, out: Path, golden: Golden) -> set[str]:
        """Raw files that need not be fetched again: in the cache under their own names, or read and journalled."""
        cache = out / ".cache/gaia" / RELEASE
        there = {str(path.relative_to(cache)) for path in cache.rglob("*") if path.name.endswith((".gz", "SUM.txt"))}
        for entry in read_journal(out / f"gaia/.building-{RELEASE}/journal.jsonl"):
            there |= {file["path"] for file in entry.get("files", [])}
        ledger = None if ledger_is_old(out, golden.base) else ledger_of(out)
        for row in ledger.units["files"].to_pylist() if ledger else []:
            there |= {file["path"] for file in json.loads(row)}
        return there


def ledger_is_old(out: Path, base: Path | None) -> bool:
    """True before a build's own ledger is there: one that is there is then of the build that it extends."""
    if (out / f"gaia/.building-{RELEASE}").exists():
        return True
    before, now = (folder / "gaia" / RELEASE / "_mmu/build.json" for folder in (base or out, out))
    return base is not None and now.is_file() and now.read_bytes() == before.read_bytes()


def lasting(files: dict[str, bytes]) -> dict[str, bytes]:
    """Without what the next run removes: a work folder that is being removed, a note that is being written."""
    return {n: d for n, d in files.items() if not (n.startswith(".done-") or n.endswith(".tmp"))}


def ledger_of(out: Path) -> Folded | None:
    """The ledger: none, or a whole one."""
    return read_ledger(out / "gaia" / RELEASE / "_mmu")


def verdict(out: Path) -> list[str]:
    return [problem for verdict in verify(out / "gaia") for problem in verdict.problems]


def same_raw(here: dict[str, bytes], there: dict[str, bytes]) -> bool:
    """The same raw files; what is noted beside them holds times."""
    return {n: d for n, d in here.items() if not n.endswith(".json")} == {
        n: d for n, d in there.items() if not n.endswith(".json")
    }


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory, thorough: bool) -> Iterator[list[Lane]]:
    """One lane, or two in the long run, each with its own uninterrupted builds: the archive's address is in them."""
    files = tmp_path_factory.mktemp("gaia-archive")
    simulate("gaia", None, files)
    with ExitStack() as stack:
        made = []
        for _ in range(2 if thorough else 1):
            folder = tmp_path_factory.mktemp("lane")
            made.append(Lane(folder, stack.enter_context(serving(files)), stack.enter_context(Forge(folder))))
        yield made


def all_survive(lanes: list[Lane], cases: list[tuple[Kind, dict[str, Any]]]) -> int:
    """Try cases, shared between the lanes; how many were killed before they were over."""
    todo, killed = iter(cases), [0] * len(lanes)

    def work(index: int) -> None:
        while (case := next(todo, None)) is not None:
            killed[index] += lanes[index].survives(case[0], **case[1])

    with ThreadPoolExecutor(len(lanes)) as threads:
        for future in [threads.submit(work, index) for index in range(len(lanes))]:
            future.result()
    return sum(killed)


def spread(count: int, points: int) -> list[int]:
    """So many of the points, from the first to the last."""
    return sorted({1 + round(index * (points - 1) / max(1, count - 1)) for index in range(count)})


@pytest.mark.parametrize(
    ("name", "quick"), [("a new build", 3), ("--add", 1), ("--format parquet,hdf5", 1), ("mmu fetch", 1)]
)
def test_killed_at_a_write_or_rename(lanes: list[Lane], thorough: bool, tally: Any, name: str, quick: int) -> None:
    kind = KINDS[name]
    points = lanes[0].known(kind).points
    every = len(points) if name == "a new build" else len(points) // 10
    chosen = spread(every, len(points)) if thorough else spread(quick + 2, len(points))[1:-1]
    cases: list[tuple[Kind, dict[str, Any]]] = []
    for point in chosen:
        mode = ("before", "after")[point % 2]
        cases.append((kind, {"at": point, "mode": mode}))
        if thorough and points[point - 1].startswith("fsync"):
            cases.append((kind, {"at": point, "mode": "torn"}))
    if not thorough and name == "a new build":
        cases[0][1].update(at=[p.split()[0] for p in points].index("fsync") + 1, mode="torn")
    killed = all_survive(lanes, cases)
    assert killed >= 0.95 * len(cases), "some runs were over before their point came: threads share the points"
    tally("Kills", f"{name}: at {len(chosen)} of {len(points)} write, rename and sync points", "same bytes", killed)


RANDOM: dict[str, tuple[int, int, dict[str, Any]]] = {
    "one process": (1, 100, {"victim": "group"}),
    "two workers, everything": (0, 26, {"victim": "group", "workers": 2}),
    "two workers, only the driver": (1, 26, {"victim": "driver", "workers": 2}),
    "two workers, only a worker": (1, 26, {"victim": "worker", "workers": 2}),
    "one process, twice in a row": (1, 26, {"victim": "group", "again": 1}),
}


@pytest.mark.parametrize("name", RANDOM)
def test_killed_at_a_random_time(lanes: list[Lane], thorough: bool, tally: Any, name: str) -> None:
    quick, long, how = RANDOM[name]
    kind, dice = KINDS["a new build"], random.Random(name)
    longest = lanes[0].known(kind).seconds
    if "workers" in how:
        longest += lanes[0].start_of_workers_s
    # A single run is to be killed for certain; the first, by which times are known, is the slowest.
    latest = longest if thorough else 0.5 * longest
    cases = [(kind, {**how, "after_s": dice.uniform(0.0, 1.0) * latest}) for _ in range(long if thorough else quick)]
    killed = all_survive(lanes, cases)
    assert killed >= 0.7 * len(cases), "most runs were over before they were killed"
    tally("Kills", f"{name}: at a random time", "same bytes", killed)


def test_the_points_are_of_every_kind(lanes: list[Lane]) -> None:
    """The harness sees what it should: writes by Python, Arrow and HDF5, renames, removals, syncs, folders."""
    points = lanes[0].known(KINDS["--format parquet,hdf5"]).points
    kinds = Counter(point.split()[0] for point in points)
    assert {"open", "fsync", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "OSFile", "ParquetWriter"} <= set(kinds)
    assert "h5py.File" in kinds
    assert any("/.cache/" in point and point.endswith(".part") for point in points)
