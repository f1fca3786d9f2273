"""Downloads as transactions: the final name in the cache only ever holds a whole, verified file."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self
from zlib import crc32

from filelock import FileLock

from mmu.archive.checksums import TYPICAL_BYTES, Digest, expected
from mmu.archive.host import HostGate
from mmu.archive.part import digests, modified, read_json, refuse_links, safe_join, sibling, sync_folder, write_json
from mmu.archive.probe import probe
from mmu.archive.protocol import Arrival, Order, Provenance, Source
from mmu.errors import AbsentUpstreamError, DamagedError, DownloadError, FormatError, MmuError
from mmu.survey import File, Policy

log = logging.getLogger("mmu")
_STRIPES = 256
_GIB = 1 << 30
FRESH_FOR_S = 86_400.0
"""A file in the cache that was verified this long ago is taken as it is; after that the archive is asked about it."""
LITTER = (".part.json", ".part.json.tmp", ".fetched.json.tmp")


@dataclass(frozen=True)
class Fetched(Provenance):
    """A verified local file, and where it came from.

    `reused`: nothing was requested for it. `owned`: it lies in the cache and may be removed with `Fetcher.discard`.
    """

    local: Path
    reused: bool
    owned: bool

    @property
    def provenance(self) -> dict[str, Any]:
        """What the ledger keeps."""
        return {field.name: getattr(self, field.name) for field in fields(Provenance)}


class Fetcher:
    """Gives an archive's files as local files; several threads may ask at once.

    Args:
        source: where the files come from; closed with the fetcher.
        cache: folder for downloads, one per survey; shared safely with other processes.
        policy: the host's limits.
        on_bytes: told of every piece that arrives, from any thread.
        copies: how many copies that fail their checks are tried before a file is given up.
        hosts: folder that processes share to keep a host's limits together; the cache if left out.
        fresh_for: seconds after which the archive is asked whether a file in the cache is still its own.
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
        fresh_for: float = FRESH_FOR_S,
    ) -> None:
        self.source, self.cache, self._copies = source, cache, copies
        self.gate = HostGate(source.host, policy, hosts or cache)
        self._on_bytes = on_bytes or (lambda count: None)
        self._lock, self._renewing = threading.Lock(), threading.RLock()
        self._running: dict[str, Future[Fetched]] = {}
        self._in_place: dict[str, Fetched] = {}
        self._fresh_for, self._offline = fresh_for, False
        self._asked: set[str] = set()
        self._witness = ""
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
        for suffix in (".fetched.json", "", ".part", ".bad", *LITTER):
            sibling(target, suffix).unlink(missing_ok=True)

    def _get(self, file: File) -> Fetched:
        target = safe_join(self.cache, file.path)
        try:
            if (local := self.source.local(file.path)) is not None:
                return self._look_at(file, local)
            if (ready := self._reuse(file, target)) is not None:
                return ready
            refuse_links(self.cache, target)
            wanted = self._expected(file)
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._claim(file):
                return self._reuse(file, target) or self._finish(file, target) or self._download(file, target, wanted)
        except MmuError:
            raise
        except OSError as problem:
            msg = f"{file.path} cannot be kept in {self.cache}: {problem.strerror or problem}; name another --cache."
            raise DownloadError(msg) from problem

    @contextmanager
    def _claim(self, file: File) -> Iterator[None]:
        """Only one process at a time works on a file; the other then finds it done.

        Who works on a file may come to need its checksum list: the two never share a lock.
        """
        kind = "listed" if file.checksums else "files"
        folder = self.cache / ".hosts"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{kind}.{crc32(file.path.encode()) % _STRIPES:03d}.lock", thread_local=False):
            yield

    def _known(self, target: Path, local: Path) -> Provenance | None:
        """What the sidecar says of `target`, if it is of this source and `local` has the size it gives."""
        known = read_json(sibling(target, ".fetched.json"))
        if known.pop("source", None) != self.source.name or known.keys() != {f.name for f in fields(Provenance)}:
            return None
        return Provenance(**known) if local.is_file() and local.stat().st_size == known["bytes"] else None

    def _reuse(self, file: File, target: Path) -> Fetched | None:
        """The file as an earlier run left it in the cache, unless the archive has another version by now."""
        known = self._known(target, target)
        if known is None:
            if target.exists():
                self._set_aside(target, target)
            return None
        if not self.still(known):
            log.info("%s was replaced upstream since %s; it is fetched anew.", known.path, known.time)
            self.discard(file.path)
            return None
        self._tidy(target)
        self._witness = file.path
        return Fetched(**asdict(known), local=target, reused=True, owned=True)

    def still(self, known: Provenance) -> bool:
        """True unless the archive says that it has another version of a file; not asked of what was verified lately.

        An archive that cannot be reached is asked once: on a machine without internet the cache is what there is.
        """
        if self._offline or known.path in self._asked or known.age < self._fresh_for:
            return True
        self._asked.add(known.path)
        try:
            return not self.source.changed(known, self.gate)
        except DownloadError as problem:
            log.info("%s What is in the cache is used as it is.", problem)
            self._offline = True
            return True

    def _finish(self, file: File, target: Path) -> Fetched | None:
        """Complete what a kill cut short between the sidecar and the rename."""
        part = sibling(target, ".part")
        known = self._known(target, part)
        if known is None or digests(part, ["sha256"])["sha256"] != known.sha256:
            return None
        self._rename(part, target)
        return Fetched(**asdict(known), local=target, reused=True, owned=True)

    def _download(self, file: File, target: Path, wanted: Digest | None) -> Fetched:
        part, problem = sibling(target, ".part"), ""
        limit = max(8 * file.bytes, file.bytes + _GIB) if file.bytes else 16 * _GIB
        for copy in range(1, self._copies + 1):
            algorithms = ("sha256", wanted[0]) if wanted else ("sha256",)
            arrival = self.source.fetch(
                file.path, part, Order(self.gate, limit, algorithms, self._on_bytes, file.query, self._witness)
            )
            if wanted and file.checksums and arrival.digests[wanted[0]] != wanted[1]:
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
        listed = wanted is not None and arrival.digests[wanted[0]] == wanted[1]
        try:
            probe(local, file.path, listed=listed, unpacked=file.unpacked)
        except FormatError as problem:
            return str(problem)
        if wanted and not listed:
            given = arrival.digests[wanted[0]]
            teller = f"the archive's list {file.checksums}" if file.checksums else "the survey's declaration"
            return f"its {wanted[0]} is {given}, {teller} says {wanted[1]}."
        return ""

    def _commit(self, file: File, part: Path, target: Path, arrival: Arrival) -> Fetched:
        """Sidecar, then rename: whichever moment a kill picks, `_reuse` or `_finish` know what to do."""
        with part.open("rb") as handle:
            os.fsync(handle.fileno())
        known = arrival.provenance(file.path)
        self._asked.add(file.path)
        self._witness = file.path
        write_json(sibling(target, ".fetched.json"), {**asdict(known), "source": self.source.name})
        self._rename(part, target)
        return Fetched(**asdict(known), local=target, reused=False, owned=True)

    def _rename(self, part: Path, target: Path) -> None:
        part.replace(target)
        self._tidy(target)
        sync_folder(target.parent)

    def _tidy(self, target: Path) -> None:
        """Remove what is of no use beside a finished file; a kill may have left some."""
        for suffix in LITTER:
            sibling(target, suffix).unlink(missing_ok=True)

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
            arrival = Arrival(facts.st_size, found, local.as_uri(), "", modified(local))
            if problem := self._problem(file, local, arrival, wanted):
                raise DamagedError(f"{local} cannot be used: {problem}")
            seen = Fetched(**asdict(arrival.provenance(file.path)), local=local, reused=True, owned=False)
            self._in_place[key] = seen
        return seen

    def _expected(self, file: File) -> Digest | None:
        """What the declaration, or the archive's checksum list, says of a file; None where neither does."""
        if file.sha256 and self.source.host:
            return "sha256", file.sha256.lower()
        if not file.checksums or file.checksums in self._absent_lists:
            return None
        try:
            listed = self.get(File(file.checksums, TYPICAL_BYTES, required=False))
        except AbsentUpstreamError:
            self._absent_lists.add(file.checksums)
            return None
        if not listed.reused:
            self._fresh_lists.add(file.checksums)
        try:
            return expected(listed.local, file.path)
        except FileNotFoundError:  # another thread has thrown it away, for a newer one
            with self._renewing:
                return self._expected(file)
        except FormatError:
            if listed.owned:
                self.discard(file.checksums)
            raise

    def _renewed(self, file: File, wanted: Digest) -> Digest | None:
        """The list's word after a mismatch: a list kept from an earlier run may be older than the file."""
        with self._renewing:  # another thread that doubts the list waits for the new one
            if file.checksums not in self._fresh_lists:
                self.discard(file.checksums)
            return self._expected(file)
