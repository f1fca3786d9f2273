"""Files at addresses (https, hf, s3), read by ranges: what a reader asks for is fetched, and nothing ahead of it.

A failure that may pass is tried again a few times. What is final becomes one sentence, without the words of the library
that met it: those may quote an address that a server signed.
"""

from __future__ import annotations

import io
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from mmu.errors import DownloadError, FormatError, MmuError, UsageError

SCHEMES = ("https", "http", "hf", "s3", "memory")
FIRST_PAUSE_S = 0.5
_TRIES = {"hf": 2}
"""The Hub's own client insists by itself."""
_MOST_TRIES = 4
_PASSING = (408, 425, 429)
_STALLED_S = 60.0
_FOOTERS = 64

Result = TypeVar("Result")


class AbsentError(UsageError):
    """There is no such file."""


class RefusedError(UsageError):
    """It may not be read, or not without a token."""


class _ShortError(OSError):
    """Fewer bytes came than the file has."""


@dataclass(frozen=True)
class RemoteFile:
    """A file at an address; small enough to be sent to a worker, which opens it.

    Attributes:
        size: bytes, where they are known; else they are asked for when it is opened.
        version: what changes when the file does, where that is known; its footer is then fetched once a process.
    """

    url: str
    size: int | None = None
    version: str = ""

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


Place = Path | RemoteFile
"""Where a Parquet file is."""


def version_of(place: Place) -> object:
    """What changes when a file does; None where that is not known."""
    return place.stat().st_mtime_ns if isinstance(place, Path) else place.version or None


def size_of(place: Place) -> int:
    """Bytes of a file; 0 where they are not known."""
    return place.stat().st_size if isinstance(place, Path) else place.size or 0


def file_system(url: str) -> Any:
    """What fsspec calls the file system of an address.

    Raises:
        UsageError: a package that it needs is not installed.
    """
    import fsspec

    scheme = urlsplit(url).scheme
    options: dict[str, Any] = {}
    if scheme == "hf":
        options = {"endpoint": os.environ.get("HF_ENDPOINT") or None}
    elif scheme in ("http", "https"):
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_STALLED_S, sock_read=_STALLED_S)
        options = {"client_kwargs": {"timeout": timeout}}
    try:
        return fsspec.filesystem(scheme, **options)
    except ImportError as problem:
        raise UsageError(f"{url} needs a package that is not installed: {problem}.") from problem


def insist(ask: Callable[[], Result], url: str) -> Result:
    """What a request brings, asked for again where its failure may pass.

    Raises:
        AbsentError, RefusedError, DownloadError: it failed for good, as a sentence.
    """
    tries = _TRIES.get(urlsplit(url).scheme, _MOST_TRIES)
    for attempt in range(1, tries + 1):
        try:
            return ask()
        except MmuError:
            raise
        except Exception as problem:  # noqa: BLE001 - each library has errors of its own for what the network does
            if attempt == tries or not _may_pass(problem):
                raise _told(problem, url, attempt) from None
        time.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.0))
    raise AssertionError("unreachable")


def _status(problem: BaseException | None) -> int | None:
    """The HTTP status behind an error, be it its own or that of its cause."""
    while problem is not None:
        response = getattr(problem, "response", None)
        for found in (getattr(problem, "status", None), getattr(response, "status_code", None)):
            if isinstance(found, int):
                return found
        problem = problem.__cause__
    return None


def _may_pass(problem: Exception) -> bool:
    status = _status(problem)
    if status is not None:
        return status >= 500 or status in _PASSING
    while isinstance(problem, FileNotFoundError) and isinstance(problem.__cause__, Exception):
        problem = problem.__cause__  # fsspec says so of whatever went wrong
    return not isinstance(problem, (FileNotFoundError, PermissionError, ValueError, TypeError, ImportError))


def _told(problem: Exception, url: str, tries: int) -> MmuError:
    status = _status(problem)
    said = f"HTTP {status}" if status else type(problem).__name__
    if status in (401, 403) or isinstance(problem, PermissionError):
        hint = "; log in with `hf auth login`, or set HF_TOKEN" if url.startswith("hf:") else ""
        return RefusedError(f"{url} may not be read ({said}){hint}.")
    if status in (404, 410) or (status is None and isinstance(problem, FileNotFoundError) and not _may_pass(problem)):
        return AbsentError(f"{url} is missing ({said}).")
    if isinstance(problem, _ShortError):
        return DownloadError(f"{url} ends early, {problem}: it was cut off, or changed meanwhile.")
    if isinstance(problem, ValueError):
        return DownloadError(f"{url} cannot be read in parts ({said}): its server has to know HTTP Range.")
    return DownloadError(f"{url} could not be read in {tries} tries ({said}).")


def fetched() -> int:
    """Bytes of remote files that this process fetched so far."""
    return _FETCHED[0]


_FETCHED, _COUNTING = [0], threading.Lock()


class Ranges(io.RawIOBase):
    """A remote file as Arrow reads one; each read is one request for just those bytes."""

    def __init__(self, file: RemoteFile) -> None:
        super().__init__()
        self._url, self._at = file.url, 0
        size = {} if file.size is None else {"size": file.size}
        system = file_system(file.url)
        self._file = insist(lambda: system.open(file.url, "rb", cache_type="none", **size), file.url)
        known = self._file.size if file.size is None else file.size
        if known is None:
            raise DownloadError(f"{file} cannot be read in parts: its server does not say how large it is.")
        self._size: int = known

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._at + size, self._size)
        start, self._at = self._at, max(end, self._at)
        return insist(lambda: self._fetch(start, end), self._url) if end > start else b""

    def _fetch(self, start: int, end: int) -> bytes:
        self._file.seek(start)
        data: bytes = self._file.read(end - start)
        if len(data) != end - start:
            raise _ShortError(f"{len(data)} of {end - start} bytes from {start} on")
        with _COUNTING:
            _FETCHED[0] += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


@lru_cache(maxsize=_FOOTERS)
def _footer(place: RemoteFile) -> pq.FileMetaData:
    with pa.PythonFile(Ranges(place), mode="r") as source:
        return pq.read_metadata(source)


@contextmanager
def parquet(place: Place, footer: pq.FileMetaData | None = None) -> Iterator[pq.ParquetFile]:
    """A Parquet file, wherever it is; of a remote one, the footer and the column chunks that are read are fetched.

    Args:
        footer: of this very file, if it was read before.

    Raises:
        FormatError: the remote file is no Parquet file.
        MmuError: it cannot be had.
    """
    if isinstance(place, Path):
        with pq.ParquetFile(place, memory_map=True, metadata=footer) as file:
            yield file
        return
    with pa.PythonFile(Ranges(place), mode="r") as source:
        try:
            footer = _footer(place) if footer is None and place.version else footer
            file = pq.ParquetFile(source, pre_buffer=True, metadata=footer)
        except pa.ArrowInvalid as problem:
            raise FormatError(f"{place} is no Parquet file, or not the whole of one ({problem}).") from problem
        with file:
            yield file


def small(url: str, most: int) -> bytes:
    """A small file, whole.

    Raises:
        FormatError: it is larger than `most` bytes.
        MmuError: it cannot be had.
    """
    system = file_system(url)

    def ask() -> bytes:
        data = bytearray()
        with system.open(url, "rb", block_size=0) as file:
            while len(data) <= most and (more := file.read(most + 1 - len(data))):
                data += more
        return bytes(data)

    data = insist(ask, url)
    if len(data) > most:
        raise FormatError(f"{url} is larger than {most:,} bytes: it is not what its name says.")
    return data
