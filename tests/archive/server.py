"""An archive on this machine: serves a folder with Range, ETag and dates, keeps a log, and fails on request."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from mmu.archive import rendering
from mmu.archive.http import Patience
from mmu.simulate.sky import Sky
from mmu.survey import Policy, get_survey

FREELY = Policy(connections=4, per_second=1e4)
QUICK = Patience(attempts=4, first_pause=0.001, longest_pause=0.002, connect=20.0, read=20.0)
"""Hardly any pauses, but time enough to answer: on a busy machine this process may stand still for seconds."""
ANY = "*"
"""The path that stands for every path in `Archive.fail`."""

Fault = Callable[["Handler", bytes], None]


@dataclass
class Asked:
    """One request as the server saw it, and when it came (monotonic seconds)."""

    path: str
    range: str | None
    if_range: str | None
    agent: str
    method: str = "GET"
    if_none_match: str | None = None
    time: float = 0.0


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD; `reply` is what faults are made of."""

    protocol_version = "HTTP/1.1"
    server: Server
    visit: Visit | None = None
    modified: str = ""

    def do_GET(self) -> None:
        path = unquote(self.path).lstrip("/")
        archive, headers = self.server.archive, self.headers
        asked = Asked(path, headers["Range"], headers["If-Range"], headers["User-Agent"], self.command)
        asked.if_none_match, asked.time = headers["If-None-Match"], time.monotonic()
        archive.asked.append(asked)
        with archive.visit() as visit:
            self.visit = visit
            file = archive.folder / path
            data = file.read_bytes() if file.is_file() else None
            self.modified = formatdate(file.stat().st_mtime, usegmt=True) if data is not None else ""
            fault = archive.fault(path, self.command)
            if fault is not None:
                fault(self, data or b"")
            elif data is None:
                self.reply(404, b"no such file")
            else:
                self.serve(data)

    def do_HEAD(self) -> None:
        self.do_GET()

    def serve(self, data: bytes) -> None:
        """A faultless answer."""
        start, stop = self.wanted(data), self.until(data)
        if self.known(data):
            self.reply(304, b"", {"Content-Length": ""}, tag=data)
        elif start is None:
            self.reply(200, data)
        elif start >= len(data):
            self.reply(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        else:
            self.reply(206, data[start:stop], {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}, tag=data)

    def known(self, data: bytes) -> bool:
        """True if the client says that it has this very version."""
        tags = [tag.strip() for tag in (self.headers["If-None-Match"] or "").split(",")]
        if self.headers["If-None-Match"] is not None:
            return etag(data) in tags and self.server.archive.etags
        return bool(self.modified) and self.headers["If-Modified-Since"] == self.modified

    def wanted(self, data: bytes) -> int | None:
        """Where the answer may start, if the request asks for a part of this very version."""
        asked = self.headers["Range"]
        if asked is None or self.headers["If-Range"] not in (None, etag(data), self.modified):
            return None
        return int(asked.removeprefix("bytes=").partition("-")[0])

    def until(self, data: bytes) -> int:
        """Where a part that is asked for ends."""
        last = (self.headers["Range"] or "").rpartition("-")[2]
        return min(int(last) + 1, len(data)) if last else len(data)

    def reply(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        *,
        tag: bytes | None = None,
        sent: int | None = None,
    ) -> None:
        """An answer; `sent` bytes of the body only, and the connection cut. A header given as "" is left out."""
        about = {"Content-Length": str(len(body)), "Content-Type": "application/octet-stream"}
        if status in (200, 206, 304) and self.server.archive.etags:
            about |= {"ETag": etag(body if tag is None else tag), "Last-Modified": self.modified}
        about |= headers or {}
        self.send_response(status)
        for key, value in about.items():
            if value:
                self.send_header(key, value)
        if self.visit is not None:
            self.visit.leave()
        self.end_headers()
        if self.command != "HEAD":
            self.server.archive.sent += len(body if sent is None else body[:sent])
            self.wfile.write(body if sent is None else body[:sent])
        if sent is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class Server(ThreadingHTTPServer):
    archive: Archive
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the game."""


@lru_cache(maxsize=128)
def etag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()[:16]}"'


@dataclass
class Archive:
    """What a test holds: the folder, the faults to come (by path), and what was asked.

    Attributes:
        sent: bytes of all answers' bodies.
        watch: called at the start of every request; what it raises is kept in `alarms`.
    """

    folder: Path
    url: str = ""
    faults: defaultdict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    lasting: set[str] = field(default_factory=set)
    asked: list[Asked] = field(default_factory=list)
    alarms: list[Exception] = field(default_factory=list)
    watch: Callable[[], None] = lambda: None
    etags: bool = True
    sent: int = 0
    busy: int = 0
    peak: int = 0
    dwell: float = 0.0
    release: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, path: str, data: bytes) -> bytes:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)  # it may be a link to a file that others share
        file.write_bytes(data)
        return data

    def read(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()

    def fail(self, path: str, *faults: Fault, lasting: bool = False) -> None:
        """The next requests for a path fail like this, one after the other (or every one, with the first)."""
        self.faults[path].extend(faults)
        if lasting:
            self.lasting.add(path)

    def fault(self, path: str, method: str) -> Fault | None:
        """How this request is to fail. One that is meant for one request waits for a GET."""
        with self._lock:
            for name in (path, ANY):
                if self.faults[name] and name in self.lasting:
                    return self.faults[name][0]
                if self.faults[name] and method == "GET":
                    return self.faults[name].popleft()
        return None

    def heal(self) -> None:
        self.faults.clear()
        self.lasting.clear()

    def visit(self) -> Visit:
        return Visit(self)

    def count(self, path: str) -> int:
        return sum(asked.path == path for asked in self.asked)

    def most_in(self, seconds: float) -> int:
        """The most requests that started within any window of that length."""
        times = sorted(asked.time for asked in self.asked)
        return max((sum(start <= time < start + seconds for time in times) for start in times), default=0)


@dataclass
class Visit:
    """Counts how many requests wait for their answers at once.

    It ends before the answer leaves: once the client has that, its next request may come before this thread goes on.
    """

    archive: Archive
    over: bool = False

    def __enter__(self) -> Visit:
        with self.archive._lock:
            self.archive.busy += 1
            self.archive.peak = max(self.archive.peak, self.archive.busy)
            try:
                self.archive.watch()
            except Exception as alarm:  # noqa: BLE001 - kept for the test, which runs in another thread
                self.archive.alarms.append(alarm)
        time.sleep(self.archive.dwell)
        return self

    def leave(self) -> None:
        """The answer is on its way; said again it changes nothing."""
        with self.archive._lock:
            self.archive.busy -= not self.over
            self.over = True

    def __exit__(self, *error: object) -> None:
        self.leave()


class Faults:
    """How archives fail; each gives one bad answer."""

    @staticmethod
    def status(code: int, body: bytes = b"sorry", **headers: str) -> Fault:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return lambda handler, data: handler.reply(code, body, named)

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
    def chunked(bytes_: int | None = None) -> Fault:
        """No Content-Length but chunks, as servers send what they make on the fly; cut in or between chunks, or not."""

        def answer(handler: Handler, data: bytes) -> None:
            handler.reply(200, b"", {"Content-Length": "", "Transfer-Encoding": "chunked"}, tag=data)
            pieces = [data[start : start + 65536] for start in range(0, len(data), 65536)]
            stream = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])
            handler.wfile.write(stream if bytes_ is None else stream[:bytes_])
            handler.close_connection = bytes_ is not None

        return answer

    @staticmethod
    def length(lie: int) -> Fault:
        """A Content-Length that many bytes from the truth, the whole file sent."""
        return lambda handler, data: handler.reply(200, data, {"Content-Length": str(len(data) + lie)}, sent=len(data))

    @staticmethod
    def hangup() -> Fault:
        """No answer at all."""

        def answer(handler: Handler, data: bytes) -> None:
            handler.close_connection = True

        return answer

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

    @staticmethod
    def replace(path: str, new: bytes, at: int) -> Fault:
        """The file is replaced while it is sent: the old one's first bytes, and the connection cut."""

        def answer(handler: Handler, data: bytes) -> None:
            handler.server.archive.add(path, new)
            handler.reply(200, data, tag=data, sent=at)

        return answer


@contextmanager
def serving(folder: Path, handler: type[Handler] = Handler) -> Iterator[Archive]:
    """An archive that serves this folder until the block ends."""
    server = Server(("127.0.0.1", 0), handler)
    server.archive = Archive(folder, f"http://127.0.0.1:{server.server_port}/")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.archive
    finally:
        server.archive.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


def simulate(survey: str, release: str | None, folder: Path, *matches: str, seed: int = 2026) -> list[str]:
    """Write the files of a simulated archive, or those whose path contains one of `matches`; returns their paths."""
    declared, sky = get_survey(survey), Sky(seed)
    listed = rendering.files(declared.module, declared.release(release).name, sky)
    wanted = [path for path in sorted(listed) if not matches or any(match in path for match in matches)]
    for path in wanted:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        rendering.render(declared.module, path, sky, file)
    return wanted
