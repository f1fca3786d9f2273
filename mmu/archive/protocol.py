"""What a source of files is to the fetcher: the order it gets, and what it says arrived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, Self

from mmu.archive.host import HostGate

_CLOCK = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Order:
    """How one file is to be fetched: which digests are wanted, how large it may get, through which gate.

    `query` is what to ask the archive's service, where the file is the answer to a question (`File.query`); `witness`
    is another file, which this source had before.
    """

    gate: HostGate
    limit: int
    algorithms: tuple[str, ...] = ("sha256",)
    on_bytes: Callable[[int], None] = lambda count: None
    query: str = ""
    witness: str = ""


@dataclass(frozen=True)
class Arrival:
    """What lies in the part file after a fetch; not yet checked against anything."""

    bytes: int
    digests: dict[str, str]
    url: str
    etag: str
    modified: str = ""

    def provenance(self, path: str) -> Provenance:
        """That these bytes were verified now."""
        now = datetime.now(UTC).strftime(_CLOCK)
        return Provenance(path, self.url, self.bytes, self.digests["sha256"], self.etag, self.modified, now)


@dataclass(frozen=True)
class Provenance:
    """Which bytes a file was, and where they came from: what the ledger says of every raw file.

    `etag` and `modified` are the archive's own words, empty where it says nothing; `time` is when the bytes were
    verified (UTC, ISO 8601).
    """

    path: str
    url: str
    bytes: int
    sha256: str
    etag: str
    modified: str
    time: str

    @property
    def age(self) -> float:
        """Seconds since then; without end if the time cannot be read or lies ahead (a clock was turned)."""
        try:
            verified = datetime.strptime(self.time, _CLOCK).replace(tzinfo=UTC)
        except ValueError:
            return float("inf")
        age = (datetime.now(UTC) - verified).total_seconds()
        return age if age > -60 else float("inf")


class Source(Protocol):
    """A place that has an archive's files. `name` goes into the ledger and is compared when a build resumes."""

    @property
    def name(self) -> str: ...

    @property
    def host(self) -> str:
        """Whose limits apply; "" for this machine."""

    def local(self, path: str) -> Path | None:
        """The file where it lies, if this source needs no copy of it."""

    def fetch(self, path: str, part: Path, order: Order) -> Arrival:
        """Bring the whole file to `part`, going on from what is there if that is safe; thread-safe.

        Raises:
            AbsentUpstreamError: there is no such file.
            DownloadError: it cannot be had.
        """

    def changed(self, known: Provenance, gate: HostGate) -> bool:
        """True if there is another version of a file now; False where it is the same, or gone, or says nothing.

        Raises:
            DownloadError: nobody answers.
        """

    def has(self, path: str, gate: HostGate) -> bool:
        """True if there is such a file now.

        Raises:
            DownloadError: nobody answers.
        """

    def pause(self, failures: int) -> float:
        """Seconds to wait before the next attempt, after so many that failed."""

    def close(self) -> None:
        """Let go of connections and processes; closing twice is fine."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


class Closing:
    """A source that a `with` statement closes."""

    def close(self) -> None:
        """Let go of what is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
