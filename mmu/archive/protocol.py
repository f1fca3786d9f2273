"""What a source of files is to the fetcher: the order it gets, and what it says arrived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from mmu.archive.host import HostGate


@dataclass(frozen=True)
class Order:
    """How one file is to be fetched: which digests are wanted, how large it may get, through which gate."""

    gate: HostGate
    limit: int
    algorithms: tuple[str, ...] = ("sha256",)
    on_bytes: Callable[[int], None] = lambda count: None


@dataclass(frozen=True)
class Arrival:
    """What lies in the part file after a fetch; not yet checked against anything."""

    bytes: int
    digests: dict[str, str]
    url: str
    etag: str


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
