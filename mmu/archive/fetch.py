"""Downloads as transactions: the final name in the cache only ever holds a whole, verified file."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from zlib import crc32

from filelock import FileLock

from mmu.archive.checksums import Digest, expected
from mmu.archive.host import HostGate
from mmu.archive.part import digests, read_json, safe_join, sibling, sync_folder, write_json
from mmu.archive.probe import probe
from mmu.archive.protocol import Arrival, Order, Source
from mmu.errors import AbsentUpstreamError, DamagedError, DownloadError, FormatError, MmuError
from mmu.survey import File, Policy

_STRIPES = 256
_GIB = 1 << 30
_LITTER = (".part.json", ".part.json.tmp", ".fetched.json.tmp")


@dataclass(frozen=True)
class Fetched:
    """A verified local file, and where it came from.

    `reused`: nothing was requested for it. `owned`: it lies in the cache and may be removed with `Fetcher.discard`.
    """

    path: str
    local: Path
    bytes: int
    sha256: str
    url: str
    etag: str
    reused: bool
    owned: bool


class Fetcher:
    """Gives an archive's files as local files; several threads may ask at once.

    Args:
        source: where the files come from; closed with the fetcher.
        cache: folder for downloads, one per survey; shared safely with other processes.
        policy: the host's limits.
        on_bytes: told of every piece that arrives, from any thread.
        copies: how many copies that fail their checks are tried before a file is given up.
        hosts: folder that processes share to keep a host's limits together; the cache if left out.
    """

    def __init__(
        self,
        source: Source,
        cache: Path,
        policy: Policy,
        *,
        on_bytes: Callable[[int], None] | None = None,
        copies: int = 3,
        hosts: Path | None = None,
    ) -> None:
        self.source, self.cache, self._copies = source, cache, copies
        self.gate = HostGate(source.host, policy, hosts or cache)
        self._on_bytes = on_bytes or (lambda count: None)
        self._lock = threading.Lock()
        self._running: dict[str, Future[Fetched]] = {}
        self._in_place: dict[str, Fetched] = {}
        self._absent_lists: set[str] = set()
        self._fresh_lists: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop what is under way (parts are kept) and let go of connections and processes."""
        self.gate.stop("The download was stopped; run again to go on from here.")
        self.source.close()

    def get(self, file: File) -> Fetched:
        """The file, verified; asked for twice at once it is fetched once.

        Raises:
            AbsentUpstreamError: the archive has no such file.
            DownloadError: it cannot be had, or no copy of it passes its checks.
        """
        with self._lock:
            running = self._running.get(file.path)
            if running is None:
                mine = self._running[file.path] = Future()
        if running is not None:
            return running.result()
        try:
            fetched = self._get(file)
        except BaseException as problem:
            mine.set_exception(problem)
            raise
        else:
            mine.set_result(fetched)
            return fetched
        finally:
            with self._lock:
                del self._running[file.path]

    def discard(self, path: str) -> None:
        """Remove a file from the cache with what is known about it; a later `get` fetches it again."""
        target = safe_join(self.cache, path)
        for suffix in (".fetched.json", "", ".part", ".bad", *_LITTER):
            sibling(target, suffix).unlink(missing_ok=True)

    def _get(self, file: File) -> Fetched:
        target = safe_join(self.cache, file.path)
        try:
            if (local := self.source.local(file.path)) is not None:
                return self._look_at(file, local)
            if (ready := self._reuse(file, target)) is not None:
                return ready
            wanted = self._expected(file)
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._claim(file.path):
                return self._reuse(file, target) or self._finish(file, target) or self._download(file, target, wanted)
        except MmuError:
            raise
        except OSError as problem:
            msg = f"{file.path} cannot be kept in {self.cache}: {problem.strerror or problem}; name another --cache."
            raise DownloadError(msg) from problem

    @contextmanager
    def _claim(self, path: str) -> Iterator[None]:
        """Only one process at a time works on a file; the other then finds it done."""
        folder = self.cache / ".hosts"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"files.{crc32(path.encode()) % _STRIPES:03d}.lock", thread_local=False):
            yield

    def _known(self, file: File, target: Path, local: Path) -> Fetched | None:
        """What the sidecar says of `target`, if it is of this source and `local` has the size it gives."""
        known = read_json(sibling(target, ".fetched.json"))
        if known.get("source") != self.source.name or not local.is_file() or local.stat().st_size != known.get("bytes"):
            return None
        return Fetched(file.path, target, known["bytes"], known["sha256"], known["url"], known["etag"], True, True)

    def _reuse(self, file: File, target: Path) -> Fetched | None:
        """The file as an earlier run left it in the cache."""
        if (known := self._known(file, target, target)) is None and target.exists():
            self._set_aside(target, target)
        return known

    def _finish(self, file: File, target: Path) -> Fetched | None:
        """Complete what a kill cut short between the sidecar and the rename."""
        part = sibling(target, ".part")
        known = self._known(file, target, part)
        if known is None or digests(part, ["sha256"])["sha256"] != known.sha256:
            return None
        self._rename(part, target)
        return known

    def _download(self, file: File, target: Path, wanted: Digest | None) -> Fetched:
        part, problem = sibling(target, ".part"), ""
        limit = max(8 * file.bytes, file.bytes + _GIB) if file.bytes else 16 * _GIB
        for copy in range(1, self._copies + 1):
            algorithms = ("sha256", wanted[0]) if wanted else ("sha256",)
            arrival = self.source.fetch(file.path, part, Order(self.gate, limit, algorithms, self._on_bytes))
            if wanted and arrival.digests[wanted[0]] != wanted[1]:
                wanted = self._renewed(file, wanted)
            problem = self._problem(file, part, arrival, wanted)
            if not problem:
                return self._commit(file, part, target, arrival)
            self._set_aside(part, target)
            if copy < self._copies:
                self.gate.sleep(self.source.pause(copy))
        raise DamagedError(
            f"{file.path} failed its checks {self._copies} times: {problem} The last copy is kept as {target.name}.bad."
        )

    def _problem(self, file: File, local: Path, arrival: Arrival, wanted: Digest | None) -> str:
        """What is wrong with the bytes that arrived, or ""."""
        if wanted and wanted[0] not in arrival.digests:
            return "the archive's checksum list has changed its algorithm meanwhile."
        try:
            probe(local, file.path)
        except FormatError as problem:
            return str(problem)
        if wanted and arrival.digests[wanted[0]] != wanted[1]:
            given = arrival.digests[wanted[0]]
            return f"its {wanted[0]} is {given}, the archive's list {file.checksums} says {wanted[1]}."
        return ""

    def _commit(self, file: File, part: Path, target: Path, arrival: Arrival) -> Fetched:
        """Sidecar, then rename: whichever moment a kill picks, `_reuse` or `_finish` know what to do."""
        with part.open("rb") as handle:
            os.fsync(handle.fileno())
        sha256 = arrival.digests["sha256"]
        facts = {"bytes": arrival.bytes, "sha256": sha256, "url": arrival.url, "etag": arrival.etag}
        write_json(sibling(target, ".fetched.json"), {**facts, "source": self.source.name})
        self._rename(part, target)
        return Fetched(file.path, target, arrival.bytes, sha256, arrival.url, arrival.etag, False, True)

    def _rename(self, part: Path, target: Path) -> None:
        part.replace(target)
        for suffix in _LITTER:
            sibling(target, suffix).unlink(missing_ok=True)
        sync_folder(target.parent)

    def _set_aside(self, local: Path, target: Path) -> None:
        """Quarantine a file that is not what it should be."""
        for stale in (sibling(target, ".fetched.json"), sibling(target, ".part.json")):
            stale.unlink(missing_ok=True)
        local.replace(sibling(target, ".bad"))

    def _look_at(self, file: File, local: Path) -> Fetched:
        """Check a file where it lies; once for each time it changes."""
        facts = local.stat()
        key = f"{file.path}:{facts.st_size}:{facts.st_mtime_ns}"
        if (seen := self._in_place.get(key)) is None:
            wanted = self._expected(file)
            found = digests(local, {"sha256", wanted[0]} if wanted else {"sha256"})
            arrival = Arrival(facts.st_size, found, local.as_uri(), "")
            if problem := self._problem(file, local, arrival, wanted):
                raise DamagedError(f"{local} cannot be used: {problem}")
            seen = Fetched(file.path, local, facts.st_size, found["sha256"], arrival.url, "", True, False)
            self._in_place[key] = seen
        return seen

    def _expected(self, file: File) -> Digest | None:
        """What the archive's checksum list says of a file; None where there is no list, or not this file in it."""
        if not file.checksums or file.checksums in self._absent_lists:
            return None
        try:
            listed = self.get(File(file.checksums, 0, required=False))
        except AbsentUpstreamError:
            self._absent_lists.add(file.checksums)
            return None
        if not listed.reused:
            self._fresh_lists.add(file.checksums)
        return expected(listed.local, file.path)

    def _renewed(self, file: File, wanted: Digest) -> Digest | None:
        """The list's word after a mismatch: a list kept from an earlier run may be older than the file."""
        if file.checksums in self._fresh_lists:
            return wanted
        self.discard(file.checksums)
        return self._expected(file)
