"""Runs `mmu` and kills it, or takes its disk away, at the k-th change it makes below a folder.

    python tests/reliability/killer.py FOLDER 17 after -- build gaia --out FOLDER ...
    python tests/reliability/killer.py serve       # a run for each line of JSON on stdin: see `Forge`

A change is what the interpreter's audit hook sees (open for writing, rename, remove, mkdir, rmdir, truncate) or a
wrapper does (fsync, and the writers that work below Python: pyarrow, h5py). Runs are forked from a process that has
imported everything, so that hundreds of them take minutes. At point k one of these happens:

    before, after   SIGKILL to the whole process group, just before the change or just after it
    torn            the same in the midst of a write: the last bytes of the file being synced are not there
    ENOSPC, ...     every change from this one on that needs room fails with that error
"""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

NEVER = 0
_MODES = ("before", "after", "torn")
_TORN_BYTES = 7
_MOVES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
_FREE = {"os.remove", "os.rmdir", "os.truncate"}
"""Changes that need no room, and so work on a full disk."""
_OLD = {"os.rename", "os.remove", "os.rmdir", "os.truncate"}
"""Changes of what is there: of what is not, they are none, and not counted."""


class Points:
    """Counts the changes below a folder, and acts at the k-th."""

    def __init__(self, folder: str, at: int, mode: str) -> None:
        self.folder, self.at, self.mode = os.path.realpath(folder), at, mode
        self.seen: list[str] = []
        self.due = False
        self._lock = threading.RLock()

    def install(self) -> None:
        """From now on."""
        self._wrap_system()
        self._wrap_writers()
        sys.addaudithook(self._audit)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = args
            writes = set(mode) & set("wax+") if mode else (flags or 0) & (os.O_WRONLY | os.O_RDWR)
            if isinstance(path, (str, bytes)) and writes:
                self.point("open", os.fsdecode(path))
        elif event in _MOVES and isinstance(args[0], (str, bytes, os.PathLike)):
            folder = args[2] if event == "os.rename" else args[-1]
            above = os.readlink(f"/proc/self/fd/{folder}") if event != "os.truncate" and folder >= 0 else ""
            self.point(event, os.path.join(above, os.fsdecode(args[0])))

    def point(self, what: str, path: str | bytes, file: int | None = None) -> None:
        """One change is about to be made."""
        where = os.path.abspath(os.fsdecode(path))
        if not where.startswith(self.folder) or (what in _OLD and not os.path.lexists(where)):
            return
        if what == "os.mkdir" and os.path.isdir(where):
            return
        with self._lock:
            self.seen.append(f"{what} {where.removeprefix(self.folder)}")
            number = len(self.seen)
            if self.at and number >= self.at and self.mode not in _MODES:
                if what not in _FREE:
                    code = getattr(errno, self.mode)
                    raise OSError(code, os.strerror(code), where)
            elif self.due:  # the change had no wrapper: it is over now
                die()
            elif number == self.at:
                if self.mode == "torn" and file is not None:
                    with suppress(OSError):  # a folder, or a file open for reading: nothing to tear
                        os.ftruncate(file, max(0, os.fstat(file).st_size - _TORN_BYTES))
                    die()
                if self.mode == "before":
                    die()
                self.due = True

    def _after(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*args: Any, **options: Any) -> Any:
            result = real(*args, **options)
            if self.due:
                die()
            return result

        return change

    def _wrap_system(self) -> None:
        for name in ("rename", "replace", "remove", "unlink", "mkdir", "rmdir", "truncate", "open"):
            setattr(os, name, self._after(getattr(os, name)))
        setattr(io, "open", self._after(io.open))  # noqa: B010 - it is not ours
        setattr(builtins, "open", io.open)  # noqa: B010
        real = os.fsync

        def fsync(file: Any) -> None:
            number = file if isinstance(file, int) else file.fileno()
            with suppress(OSError):
                path = os.readlink(f"/proc/self/fd/{number}")
                if os.path.isfile(path):
                    self.point("fsync", path, number)
            real(number)
            if self.due:
                die()

        setattr(os, "fsync", fsync)  # noqa: B010

    def _wrap_writers(self) -> None:
        """What opens its file in C."""
        import h5py
        import pyarrow as pa
        import pyarrow.parquet as pq

        real_file = pa.OSFile

        def new_file(path: str, mode: str = "r") -> Any:
            if "r" not in mode:
                self.point("OSFile", path)
            file = real_file(path, mode)
            if self.due:
                die()
            return file

        pa.OSFile = new_file
        real_write = pq.ParquetWriter.__init__

        def begin(writer: Any, where: Any, *args: Any, **options: Any) -> None:
            if isinstance(where, (str, Path)):
                self.point("ParquetWriter", str(where))
            real_write(writer, where, *args, **options)
            if self.due:
                die()

        pq.ParquetWriter.__init__ = begin
        real_open = h5py.File.__init__

        def open_file(file: Any, name: Any, mode: str = "r", *args: Any, **options: Any) -> None:
            if mode != "r":
                self.point("h5py.File", str(name))
            real_open(file, name, mode, *args, **options)
            if self.due:
                die()

        h5py.File.__init__ = open_file


def die() -> None:
    """End the whole process group at once, with nothing flushed or closed."""
    os.killpg(0, signal.SIGKILL)
    signal.pause()


def run(folder: str, at: int, mode: str, words: Sequence[str], points: str = "") -> None:
    """`mmu WORDS` in this process, its points counted; ends the process."""
    counter = Points(folder, at, mode)
    be_quick()
    counter.install()
    from mmu.cli import main

    sys.argv = ["mmu", *words]
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - as the interpreter does at the end
        import traceback

        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    if points and code == 0:
        Path(points).write_text("\n".join(counter.seen))
    os._exit(code)


def be_quick() -> None:
    """The archive is on this machine and in this test: there is nobody to be polite to."""
    from mmu.survey import Policy, get_survey, survey_names

    for name in survey_names():
        object.__setattr__(get_survey(name), "policy", Policy(4, 1e6))


def serve() -> None:
    """Fork a run for each request on stdin; answer how it ended.

    What a build of Gaia imports while it runs is imported here, once: it would be two thirds of every run's time.
    """
    import h5py  # noqa: F401
    import healpy  # noqa: F401
    import PIL.Image  # noqa: F401
    import psutil  # type: ignore[import-untyped]  # noqa: F401
    import pyarrow.dataset
    import pyarrow.parquet  # noqa: F401
    import pydantic  # noqa: F401
    import yaml  # noqa: F401
    from astropy.io import fits  # noqa: F401
    from distributed import Client  # noqa: F401

    import mmu.build.fetch
    import mmu.cli
    import mmu.shards.hdf5  # noqa: F401
    import surveys.gaia.archive
    import surveys.gaia.read  # noqa: F401

    be_quick()
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(_forked(request)), flush=True)  # noqa: T201 - the answer


def _forked(request: dict[str, Any]) -> dict[str, Any]:
    import resource

    log, points = request["log"], request["log"] + ".points"
    Path(points).unlink(missing_ok=True)
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if request["largest"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest"], request["largest"]))
        run(request["folder"], request["at"], request["mode"], request["words"], points)
    status, shot = 0, request["victim"] == ""
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if not shot and time.monotonic() - started >= request["after_s"]:
            shot = _shoot(child, request["victim"])
        time.sleep(0.002)
    seen = Path(points).read_text().split("\n") if Path(points).exists() else []
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "shot": shot, "seconds": time.monotonic() - started, "points": seen}


def _shoot(child: int, victim: str) -> bool:
    """Kill the whole run, its driver only, or one of its worker processes if it has any yet."""
    import psutil

    if victim == "group":
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:  # it has no group of its own yet
            os.kill(child, signal.SIGKILL)
    elif victim == "driver":
        os.kill(child, signal.SIGKILL)
    else:
        with suppress(psutil.NoSuchProcess):
            found = [p for p in psutil.Process(child).children(recursive=True) if "spawn_main" in str(p.cmdline())]
            if not found:
                return False
            found[0].kill()
    return True


class Ended:
    """How a run ended: its exit code (-9: killed), what it said, and the points it passed (if it was not killed)."""

    def __init__(self, answer: dict[str, Any], said: str) -> None:
        self.code: int = answer["code"]
        self.shot: bool = answer["shot"]
        self.seconds: float = answer["seconds"]
        self.points: list[str] = answer["points"]
        self.said = said

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


class Forge:
    """A process that forks runs on request; `folder` is for its own small files."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        root = Path(__file__).resolve().parents[2]
        self._process = subprocess.Popen(
            [sys.executable, __file__, "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "TMPDIR": str(folder),
                "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]),
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
            },
        )

    def run(
        self,
        folder: Path,
        *words: str,
        at: int = NEVER,
        mode: str = "before",
        victim: str = "",
        after_s: float = 0.0,
        largest: int = 0,
    ) -> Ended:
        """`mmu WORDS`, with something happening at the `at`-th change below `folder`, or to `victim` after a time.

        No file may grow beyond `largest` bytes: writing fails there, in whatever library, as on a full disk.
        """
        ask = {"folder": str(folder), "words": words, "at": at, "mode": mode, "victim": victim, "after_s": after_s}
        ask["largest"] = largest
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**ask, "log": str(self.log)}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return Ended(answer, self.log.read_text(encoding="utf-8", errors="replace"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def tree(folder: Path) -> dict[str, bytes]:
    """What a build must give again byte by byte: everything but ledgers (they hold times) and locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "_mmu" not in path.parts and not path.name.endswith(".lock")
    }


def litter(folder: Path) -> list[str]:
    """What a finished build must not leave behind."""
    signs = (".tmp", ".part", ".bad", ".part.json")
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.name.endswith(signs) or path.name.startswith((".building-", ".done-", ".mmu-"))
    ]


def copied(base: Path, out: Path) -> Path:
    """`out` as a fresh copy of `base`."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(base, out)
    return out


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        where, number, how, _, *rest = sys.argv[1:]
        os.setsid()
        run(where, int(number), how, rest)
