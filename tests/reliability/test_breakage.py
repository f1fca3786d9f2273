"""What breaks around a build: workers, memory, the disk, a second build. A sentence each, and the same bytes after."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mmu.build.executor import Inline
from mmu.build.hold import hold
from mmu.build.verify import verify
from mmu.errors import UsageError
from tests.archive.server import Archive, serving
from tests.build.toy import Toy, installed
from tests.reliability.killer import Ended, Forge, litter, tree

pytestmark = pytest.mark.slow
WORDS = ("build", "toy", "--partition-bytes", "65536", "--format", "parquet,hdf5", "-q")
_IN_A_NAMESPACE = ["unshare", "--map-root-user", "--mount"]


@pytest.fixture(scope="module", autouse=True)
def toy_survey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with installed(tmp_path_factory.mktemp("plugin")):
        yield


@pytest.fixture(scope="module")
def forge(toy_survey: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    with Forge(tmp_path_factory.mktemp("forge")) as forge:
        yield forge


@pytest.fixture(scope="module")
def archive(toy_survey: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """The toy's archive behind a web server, so that the cache is in play."""
    toy = Toy(tmp_path_factory.mktemp("toy") / "archive")
    with serving(toy.folder) as archive:
        yield archive


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "archive")


def mmu(forge: Forge, archive: Archive, out: Path, *more: str, workers: int = 0, **how: Any) -> Ended:
    words = (*WORDS, "--source", archive.url, "--out", str(out), "-j", str(workers), *more)
    return forge.run(out, *words, **how)


@pytest.fixture(scope="module")
def golden(
    forge: Forge, archive: Archive, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, bytes], list[str]]:
    """The build that nothing happened to, and the points it passed."""
    out = tmp_path_factory.mktemp("golden")
    ended = mmu(forge, archive, out)
    assert (ended.code, litter(out)) == (0, []), ended.said
    return tree(out / "toy"), ended.points


def in_words(ended: Ended, codes: tuple[int, ...] = (1, 2)) -> str:
    """What a command that failed said: one line, of ours, and an exit code that means it."""
    lines = ended.said.strip().splitlines()
    assert ended.code in codes, ended.said
    assert len(lines) == 1, ended.said
    assert lines[0].startswith("mmu: "), ended.said
    return lines[0]


def mended(forge: Forge, archive: Archive, out: Path, golden: dict[str, bytes]) -> None:
    """The same command, once the trouble is over."""
    ended = mmu(forge, archive, out)
    assert ended.code == 0, ended.said
    assert tree(out / "toy") == golden
    assert litter(out) == []
    assert problems(out / "toy") == []
    assert not (out / ".cache").exists()


def problems(folder: Path) -> list[str]:
    return [problem for verdict in verify(folder) for problem in verdict.problems]


def nothing_wrong_is_whole(out: Path, golden: dict[str, bytes]) -> None:
    """What a failure leaves is the dataset, or is known not to be."""
    try:
        found = problems(out / "toy")
    except UsageError:
        return
    assert found or tree(out / "toy") == golden


# -- the disk -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["ENOSPC", "EDQUOT", "EROFS", "EIO"])
def test_the_disk_fails_at_any_write(
    forge: Forge, archive: Archive, golden: Any, tmp_path: Path, thorough: bool, tally: Any, code: str
) -> None:
    files, points = golden
    step = len(points) / (40 if thorough and code == "ENOSPC" else 5)
    chosen = sorted({1 + int((index + 0.5) * step) for index in range(int(len(points) / step))})
    failed = 0
    for point in chosen:
        out = tmp_path / f"out{point}"
        ended = mmu(forge, archive, out, at=point, mode=code)
        if ended.code != 0:  # else there was nothing left but to remove things
            failed += 1
            said = in_words(ended)
            assert os.strerror(getattr(errno, code)) in said, (point, points[point - 1], said)
        nothing_wrong_is_whole(out, files)
        mended(forge, archive, out, files)
        shutil.rmtree(out)
    assert failed >= 0.7 * len(chosen)
    name = {"ENOSPC": "disk full", "EDQUOT": "quota or inodes used up", "EROFS": "disk turned read-only"}
    words = f"F22 {name.get(code, 'input/output error')} at {len(chosen)} of {len(points)} write points"
    tally("Breakage", words, "a sentence; the same bytes after", len(chosen))


@pytest.mark.parametrize("largest", [0x40, 0x200, 0x1000, 0x4000, 0x10000])
def test_no_file_may_grow(
    forge: Forge, archive: Archive, golden: Any, tmp_path: Path, tally: Any, largest: int
) -> None:
    ended = mmu(forge, archive, tmp_path / "out", largest=largest)
    assert ended.code in (0, 1, 2)
    if "reading failed (OSError)" in ended.said:  # where that is a unit's records, it costs the unit
        assert "Traceback" not in ended.said
        assert problems(tmp_path / "out/toy") == []
    else:
        assert ended.code == 0 or "File too large" in in_words(ended)
        nothing_wrong_is_whole(tmp_path / "out", golden[0])
    mended(forge, archive, tmp_path / "out", golden[0])
    tally(
        "Breakage", "F22 writing fails in the midst of a file (limit on its size)", "a sentence; the same bytes after"
    )


SCRIPT = """
mount -t tmpfs -o {options} tmpfs {out} || exit 99
{mmu} > {log}.1 2>&1; echo $? > {log}.code
{then}
{mmu} > {log}.2 2>&1; echo $? >> {log}.code
cp -r {out} {kept}
"""
DISKS = {
    "F22 disk full (a disk of 40 kB)": ("size=40k", "mount -o remount,size=64m {out}", (2,), "free"),
    "F22 disk full (a disk of 400 kB)": ("size=400k", "mount -o remount,size=64m {out}", (1, 2), "No space left|free"),
    "F22 disk full (a disk of 440 kB)": ("size=440k", "mount -o remount,size=64m {out}", (1, 2), "No space left|free"),
    "F22 no inodes left (a disk of 12 files)": (
        "nr_inodes=12",
        "mount -o remount,nr_inodes=9999 {out}",
        (1, 2),
        "No space",
    ),
    "F22 no inodes left (a disk of 40 files)": (
        "nr_inodes=40",
        "mount -o remount,nr_inodes=9999 {out}",
        (1, 2),
        "No space",
    ),
    "F22 output folder read-only": ("ro", "mount -o remount,rw {out}", (2,), "Cannot write"),
}


@pytest.mark.parametrize("name", DISKS)
def test_a_real_small_disk(toy: Toy, tmp_path: Path, tally: Any, name: str) -> None:
    options, then, codes, said = DISKS[name]
    if shutil.which("unshare") is None or subprocess.run([*_IN_A_NAMESPACE, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a small disk of our own")
    out = tmp_path / "out"
    out.mkdir()
    whole = tmp_path / "whole"
    toy.build(whole)
    words = ["build", "toy", "--partition-bytes", "65536", "-q", "-j", "0", "--source", toy.folder, "--out", out]
    script = SCRIPT.format(
        options=options,
        then=then.format(out=out),
        mmu=" ".join(map(str, [sys.executable, "-m", "mmu", *words])),
        out=out,
        log=tmp_path / "log",
        kept=tmp_path / "kept",
    )
    done = subprocess.run([*_IN_A_NAMESPACE, "sh", "-c", script], capture_output=True, text=True, check=False)
    if done.returncode == 99:
        pytest.skip("this machine does not let us mount a small disk of our own")
    first, second = map(int, (tmp_path / "log.code").read_text().split())
    text = (tmp_path / "log.1").read_text().strip()
    assert first in codes, text
    assert re.search(said, text), text
    assert "\n" not in text
    assert second == 0, (tmp_path / "log.2").read_text()
    assert tree(tmp_path / "kept/toy") == tree(whole / "toy")
    assert litter(tmp_path / "kept") == []
    tally("Breakage", name, "a sentence; the same bytes after")


@pytest.mark.parametrize(
    "blocked", ["toy", ".cache", ".cache/toy", "toy/v1", "toy/v1/_mmu", "toy/hdf5", "toy/.building-v1"]
)
def test_a_file_where_a_folder_should_be(
    forge: Forge, archive: Archive, golden: Any, tmp_path: Path, tally: Any, blocked: str
) -> None:
    out = tmp_path / "out"
    (out / blocked).parent.mkdir(parents=True)
    (out / blocked).write_text("in the way")
    said = in_words(mmu(forge, archive, out))
    assert str(out / blocked) in said or "Cannot write" in said, said
    assert (out / blocked).read_text() == "in the way"
    (out / blocked).unlink()
    mended(forge, archive, out, golden[0])
    tally(
        "Breakage", "F22 a folder that cannot be written (a file is in its place)", "a sentence; the same bytes after"
    )


# -- workers --------------------------------------------------------------------------------------------------------


def test_workers_that_die_cost_their_units(toy: Toy, tmp_path: Path, tally: Any) -> None:
    whole = tmp_path / "whole"
    toy.build(whole)
    how = {"u1": "SEGV", "u3": "OOM", "u4": "MEMORY"}
    for unit, text in how.items():
        toy.spoil(unit, text)
    report = toy.build(tmp_path / "out", workers=2)
    assert report.code == 1
    units = pq.read_table(tmp_path / "out/toy/v1/_mmu/units.parquet").to_pylist()
    errors = {row["unit"]: row["error"] for row in units if row["error"]}
    assert errors.keys() == how.keys()
    assert "worker process died" in errors["u1"]
    assert "out of memory" in errors["u3"]
    assert "MemoryError" in errors["u4"]
    assert {row["unit"]: row["written"] for row in units if not row["error"]} == {"u0": 6, "u2": 6, "u5": 6}
    assert problems(tmp_path / "out/toy") == []
    toy.write()
    assert toy.build(tmp_path / "out").code == 0
    assert tree(tmp_path / "out/toy") == tree(whole / "toy")
    tally("Breakage", "a worker dies of a segmentation fault", "its unit failed, named; then the same bytes")
    tally(
        "Breakage", "a worker is killed for memory, as the kernel does", "its unit failed, named; then the same bytes"
    )
    tally("Breakage", "no memory left (MemoryError)", "its unit failed, named; then the same bytes")


def test_a_worker_that_dies_once_costs_nothing(toy: Toy, tmp_path: Path, tally: Any) -> None:
    whole = tmp_path / "whole"
    toy.build(whole)
    for unit in ("u0", "u2"):
        path = toy.folder / "data" / f"{unit}.csv"
        path.write_text(path.read_text() + "\nONCE")
    report = toy.build(tmp_path / "out", workers=2)
    assert (report.code, problems(tmp_path / "out/toy")) == (0, [])
    assert len(list((toy.folder / "data").glob("*.died"))) == 2
    assert tree(tmp_path / "out/toy") == tree(whole / "toy")
    tally("Breakage", "F26 worker dies, its task is run again by another", "the same bytes", 2)


@pytest.mark.parametrize("at_once", [False, True])
def test_every_task_run_twice(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Any, at_once: bool
) -> None:
    toy.build(tmp_path / "whole")
    real = Inline.submit
    tasks = 0

    def twice(self: Inline, task: Any, *args: Any) -> Any:
        nonlocal tasks
        tasks += 1
        with ThreadPoolExecutor(2) as threads:
            twin = threads.submit(real, self, task, *args)
            if not at_once:
                twin.result().result()
            first = real(self, task, *args)
            twin.result().result()
        return first

    monkeypatch.setattr(Inline, "submit", twice)
    assert toy.build(tmp_path / "out").code == 0
    assert tasks > 10
    assert tree(tmp_path / "out/toy") == tree(tmp_path / "whole/toy")
    assert (litter(tmp_path / "out"), problems(tmp_path / "out/toy")) == ([], [])
    words = "at the same time" if at_once else "one after the other"
    tally("Breakage", f"F26 every task run twice, {words}", "the same bytes", tasks)


def test_a_task_that_comes_late_changes_nothing(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Any
) -> None:
    """A worker that was given up goes on when the build is long over."""
    real = Inline.submit
    tasks: list[tuple[Any, ...]] = []

    def kept(self: Inline, task: Any, *args: Any) -> Any:
        tasks.append((task, *args))
        return real(self, task, *args)

    monkeypatch.setattr(Inline, "submit", kept)
    toy.build(tmp_path / "out")
    before = tree(tmp_path / "out/toy")
    for task in tasks:
        real(Inline(), *task)
    assert tree(tmp_path / "out/toy") == before
    assert (litter(tmp_path / "out"), problems(tmp_path / "out/toy")) == ([], [])
    tally("Breakage", "F26 a task given up goes on after the build", "nothing changes", len(tasks))


# -- a second build -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", ["one folder", "one cache", "one cache, mmu fetch"])
def test_two_at_once(
    forge: Forge, archive: Archive, golden: Any, tmp_path: Path, tally: Any, shared: str, request: pytest.FixtureRequest
) -> None:
    first, second = tmp_path / "first", tmp_path / ("first" if shared == "one folder" else "second")
    cache = () if shared == "one folder" else ("--cache", str(tmp_path / "cache"))
    reached, go = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        go.wait(60)

    archive.watch = wait
    (tmp_path / "other").mkdir()
    with Forge(tmp_path / "other") as other, ThreadPoolExecutor(1) as threads:
        running = threads.submit(mmu, other, archive, first, *cache)
        try:
            assert reached.wait(60)
            if shared.endswith("fetch"):
                words = ("fetch", "toy", "--source", archive.url, "--out", str(second), "-j", "0", *cache)
                ended = forge.run(second, *words)
            else:
                ended = mmu(forge, archive, second, *cache)
            said = in_words(ended, (2,))
        finally:
            archive.watch = lambda: None
            go.set()
        assert running.result().code == 0, running.result().said
    busy = tmp_path / "first/toy" if shared == "one folder" else tmp_path / "cache/toy"
    found = re.search(rf"at work in {busy}: process (\d+) on (\S+) since \d{{4}}-\d\d-\d\d ", said)
    assert found, said
    assert found[2] == os.uname().nodename
    assert tree(first / "toy") == golden[0]
    ended = mmu(forge, archive, second, *cache)
    assert ended.code == 0, ended.said
    assert tree(second / "toy") == golden[0]
    assert litter(tmp_path) == []
    tally("Breakage", f"F23 two builds at once, {shared}", "the second says who holds it, and is done later")


@pytest.mark.parametrize("note", ["{", "[]", '{"pid": 1}', "dead", "absent"])
def test_what_a_dead_holder_noted_is_no_obstacle(tmp_path: Path, tally: Any, note: str) -> None:
    import filelock

    lock = tmp_path / ".v1.lock"
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    if note == "dead":
        note = json.dumps({"pid": int(dead.stdout), "host": os.uname().nodename, "since": "2001-01-01"})
    if note != "absent":
        (tmp_path / ".v1.holder.lock").write_text(note)
    with filelock.FileLock(lock), pytest.raises(UsageError, match=r"Another build is at work in \S+; wait"), hold(lock):
        pass
    with hold(lock):
        assert json.loads((tmp_path / ".v1.holder.lock").read_text())["pid"] == os.getpid()
        with pytest.raises(UsageError, match=f"process {os.getpid()} on"), hold(lock):
            pass
    assert not (tmp_path / ".v1.holder.lock").exists()
    tally("Breakage", "F23 the note of a holder that died", "no obstacle, and not believed")
