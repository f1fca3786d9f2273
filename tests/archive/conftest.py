"""An archive on this machine: serves a folder with Range, ETag and dates, and fails on request."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from astropy.io import fits

from mmu.archive.fetch import Fetcher
from mmu.archive.http import Patience
from mmu.archive.source import HttpSource
from mmu.survey import Policy

FREELY = Policy(connections=4, per_second=1e4)
QUICK = Patience(attempts=4, first_pause=0.001, longest_pause=0.002, connect=2.0, read=2.0)

Fault = Callable[["Handler", bytes], None]


@dataclass
class Asked:
    """One request as the server saw it."""

    path: str
    range: str | None
    if_range: str | None
    agent: str


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        path = unquote(self.path).lstrip("/")
        archive = self.server.archive
        headers = self.headers
        archive.asked.append(Asked(path, headers["Range"], headers["If-Range"], headers["User-Agent"]))
        with archive.visit():
            file = archive.folder / path
            data = file.read_bytes() if file.is_file() else None
            faults = archive.faults[path]
            if faults:
                fault = faults[0] if path in archive.lasting else faults.popleft()
                fault(self, data or b"")
            elif data is None:
                self.reply(404, b"no such file")
            else:
                self.serve(data)

    def serve(self, data: bytes) -> None:
        """A faultless answer."""
        start = self.wanted(data)
        if start is None:
            self.reply(200, data)
        elif start >= len(data):
            self.reply(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        else:
            self.reply(206, data[start:], {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}, tag=data)

    def wanted(self, data: bytes) -> int | None:
        """Where the answer may start, if the request asks for a part of this very version."""
        asked = self.headers["Range"]
        if asked is None or self.headers["If-Range"] not in (None, etag(data)):
            return None
        return int(asked.removeprefix("bytes=").rstrip("-"))

    def reply(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        *,
        tag: bytes | None = None,
        sent: int | None = None,
    ) -> None:
        """An answer; `sent` bytes of the body only, and the connection cut."""
        about = {"Content-Length": str(len(body)), "Content-Type": "application/octet-stream"}
        if status in (200, 206) and self.server.archive.etags:
            about |= {"ETag": etag(body if tag is None else tag), "Last-Modified": formatdate(1e9, usegmt=True)}
        about |= headers or {}
        self.send_response(status)
        for key, value in about.items():
            if value:
                self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body if sent is None else body[:sent])
        if sent is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class Server(ThreadingHTTPServer):
    archive: Archive
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the game."""


def etag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()[:16]}"'


@dataclass
class Archive:
    """What a test holds: the folder, the faults to come (by path), and what was asked."""

    folder: Path
    url: str = ""
    faults: defaultdict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    lasting: set[str] = field(default_factory=set)
    asked: list[Asked] = field(default_factory=list)
    etags: bool = True
    busy: int = 0
    peak: int = 0
    dwell: float = 0.0
    release: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, path: str, data: bytes) -> bytes:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return data

    def fail(self, path: str, *faults: Fault, lasting: bool = False) -> None:
        """The next requests for a path fail like this, one after the other (or every one, with the first)."""
        self.faults[path].extend(faults)
        if lasting:
            self.lasting.add(path)

    def heal(self) -> None:
        self.faults.clear()
        self.lasting.clear()

    def visit(self) -> Visit:
        return Visit(self)

    def count(self, path: str) -> int:
        return sum(asked.path == path for asked in self.asked)


@dataclass
class Visit:
    """Counts how many requests are being answered at once."""

    archive: Archive

    def __enter__(self) -> None:
        with self.archive._lock:
            self.archive.busy += 1
            self.archive.peak = max(self.archive.peak, self.archive.busy)
        time.sleep(self.archive.dwell)

    def __exit__(self, *error: object) -> None:
        with self.archive._lock:
            self.archive.busy -= 1


class Faults:
    """How archives fail; each gives one bad answer."""

    @staticmethod
    def status(code: int, **headers: str) -> Fault:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return lambda handler, data: handler.reply(code, b"sorry", named)

    @staticmethod
    def cut(at: int) -> Fault:
        def answer(handler: Handler, data: bytes) -> None:
            start = handler.wanted(data) or 0
            if start:
                about = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
                handler.reply(206, data[start:], about, tag=data, sent=at)
            else:
                handler.reply(200, data, sent=at)

        return answer

    @staticmethod
    def body(change: Callable[[bytes], bytes], **headers: str) -> Fault:
        """A whole answer with other bytes, under the true file's ETag."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return lambda handler, data: handler.reply(200, change(data), named, tag=data)

    @staticmethod
    def partial(content_range: str, shift: int = 0) -> Fault:
        """206 with a Content-Range of our own; the bytes start `shift` away from those asked for."""

        def answer(handler: Handler, data: bytes) -> None:
            start = (handler.wanted(data) or 0) + shift
            about = {"Content-Range": content_range.format(start=start, last=len(data) - 1, total=len(data))}
            handler.reply(206, data[start:], about, tag=data)

        return answer

    @staticmethod
    def whole() -> Fault:
        """Range ignored."""
        return lambda handler, data: handler.reply(200, data)

    @staticmethod
    def unsized(bytes_: int | None = None) -> Fault:
        """No Content-Length: the end of the connection is the end of the file, be it whole or not."""
        return lambda handler, data: handler.reply(
            200, data, {"Content-Length": ""}, tag=data, sent=bytes_ or len(data)
        )

    @staticmethod
    def stall(at: int) -> Fault:
        def answer(handler: Handler, data: bytes) -> None:
            handler.reply(200, data, sent=at)
            handler.wfile.flush()
            handler.server.archive.release.wait(20)

        return answer

    @staticmethod
    def drip() -> Fault:
        """One byte at a time, for ever, or until the client has enough of it."""

        def answer(handler: Handler, data: bytes) -> None:
            handler.reply(200, data, sent=0)
            for byte in data:
                handler.wfile.write(bytes([byte]))
                handler.server.archive.release.wait(0.01)

        return answer


@pytest.fixture
def faults() -> type[Faults]:
    return Faults


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    folder = tmp_path / "archive"
    folder.mkdir()
    server = Server(("127.0.0.1", 0), Handler)
    server.archive = Archive(folder, f"http://127.0.0.1:{server.server_port}/")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server.archive
    server.archive.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def make(archive: Archive, tmp_path: Path) -> Iterator[Callable[..., Fetcher]]:
    """Makes fetchers for that archive, as separate runs with one cache would."""
    made: list[Fetcher] = []

    def start(patience: Patience = QUICK, policy: Policy = FREELY, root: str = "", **options: object) -> Fetcher:
        source = HttpSource(root or archive.url, patience)
        fetcher = Fetcher(source, tmp_path / "cache", policy, **options)  # type: ignore[arg-type]
        made.append(fetcher)
        return fetcher

    yield start
    for fetcher in made:
        fetcher.close()


@pytest.fixture
def fetcher(make: Callable[..., Fetcher]) -> Fetcher:
    return make()


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A FITS file of two HDUs, 220 kB."""
    file = tmp_path_factory.mktemp("image") / "image.fits"
    pixels = np.random.default_rng(1).normal(size=(160, 160)).astype(np.float32)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(pixels), fits.ImageHDU(pixels)]).writeto(file)
    return file.read_bytes()
