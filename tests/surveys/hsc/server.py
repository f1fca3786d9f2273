"""The archive on this machine: the job service of the catalogue, the cutout service and the tree of files.

It wants a password everywhere, answers from the simulated sky, and fails as it is told.
"""

from __future__ import annotations

import base64
import io
import json
import re
import tarfile
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from mmu.archive import rendering
from mmu.simulate import Sky
from surveys.hsc import simulate

USER, PASSWORD = "me", "s3cret-Zauberwort"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
_PART = re.compile(rb'name="list"; filename="coordlist.txt"\r\n\r\n(.*)\r\n--', re.DOTALL)

Fault = Callable[[bytes], tuple[int, bytes, dict[str, str]]]


@dataclass
class Archive:
    """What a test holds: what was asked, jobs on the server, and faults to come, by the end of the path."""

    scratch: Path
    sky: Sky = field(default_factory=Sky)
    url: str = ""
    asked: list[str] = field(default_factory=list)
    lines: list[list[str]] = field(default_factory=list)
    jobs: dict[int, str] = field(default_factory=dict)
    pending: int = 2
    job_error: str = ""
    faults: defaultdict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    lacks: Callable[[str], bool] = lambda name: False
    looks: int = 0

    def fail(self, end: str, *faults: Fault) -> None:
        self.faults[end].extend(faults)

    def count(self, end: str) -> int:
        return sum(path.endswith(end) for path in self.asked)


def status(code: int) -> Fault:
    return lambda body: (code, b"sorry", {})


def page(body: bytes) -> tuple[int, bytes, dict[str, str]]:
    """A login page with status 200."""
    return 200, b"<html>Please log in</html>", {"Content-Type": "text/html"}


def cut(share: float) -> Fault:
    """The first part of the answer, under a header that knows no better."""
    return lambda body: (200, body[: int(len(body) * share) // 512 * 512 + 100], {})


def redirect(where: str) -> Fault:
    return lambda body: (302, b"", {"Location": where})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        path = unquote(self.path).lstrip("/")
        if self.headers["Authorization"] != BASIC:
            self.reply(path, b"", 401)
            return
        local = self.server.archive.scratch / path.replace("/", "_")
        try:
            rendering.render("surveys.hsc", path, self.server.archive.sky, local)
        except FileNotFoundError:
            self.reply(path, b"", 404)
            return
        self.reply(path, local.read_bytes())

    def do_POST(self) -> None:
        path, archive = unquote(self.path).lstrip("/"), self.server.archive
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if path == "das_cutout/pdr3/cgi-bin/cutout":
            good = self.headers["Authorization"] == BASIC
            self.reply(path, self.cutouts(body) if good else b"", 200 if good else 401)
            return
        message = json.loads(body)
        if message["credential"] != {"account_name": USER, "password": PASSWORD}:
            self.reply(path, b"", 401)
            return
        verb = path.rpartition("/")[2]
        number = message.get("id", len(archive.jobs) + 1)
        if verb == "submit":
            assert message["catalog_job"]["out_format"] == "fits"
            archive.jobs[number], archive.looks = json.dumps(message["catalog_job"]), 0
        elif verb == "delete":
            archive.jobs[number] = ""
        elif verb == "status":
            archive.looks += 1
        state = "error" if archive.job_error else "done" if archive.looks > archive.pending else "running"
        if verb == "download":
            local = archive.scratch / f"job-{number}.fits"
            simulate.answer("answer.fits", archive.jobs[number], archive.sky, local)
            self.reply(path, local.read_bytes())
        else:
            reply = {"id": number, "status": state, "error": archive.job_error}
            self.reply(path, b"" if verb == "delete" else json.dumps(reply).encode())

    def cutouts(self, body: bytes) -> bytes:
        """The tar stream for the list in a form."""
        archive = self.server.archive
        found = _PART.search(body)
        assert found is not None
        heading, *lines = found[1].decode().rstrip("\n").split("\n")
        fields = heading.removeprefix("#? ").split()
        archive.lines.append(lines)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as stream:
            for number, line in enumerate(lines, start=2):
                one = dict(zip(fields, line.split(), strict=True))
                place = [float(one[key].removesuffix("deg")) for key in ("ra", "dec", "sw")]
                data = simulate.cutout(archive.sky, one["rerun"], one["filter"], *place)
                name = f"{number}-cutout-{one['filter']}-{one['tract']}-{one['rerun']}.fits"
                if data is not None and not archive.lacks(f"{one['filter']} {one['ra']}"):
                    member = tarfile.TarInfo(f"arch-261121-223253/{name}")
                    member.size = len(data)
                    stream.addfile(member, io.BytesIO(data))
        return buffer.getvalue()

    def reply(self, path: str, body: bytes, code: int = 200) -> None:
        archive = self.server.archive
        archive.asked.append(path)
        headers: dict[str, str] = {}
        for end, faults in archive.faults.items():
            if path.endswith(end) and faults:
                code, body, headers = faults.popleft()(body)
        self.send_response(code)
        for key, value in {"Content-Type": "application/octet-stream", **headers, "Content-Length": len(body)}.items():
            self.send_header(key, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class Server(ThreadingHTTPServer):
    archive: Archive
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the game."""


@contextmanager
def serving(scratch: Path) -> Iterator[Archive]:
    """The archive, until the block ends."""
    server = Server(("127.0.0.1", 0), Handler)
    server.archive = Archive(scratch, url=f"http://127.0.0.1:{server.server_port}/")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.archive
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
