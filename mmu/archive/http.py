"""One request at a time over HTTPS: statuses, redirects and bodies turned into files or into one of three errors.

`Again` is for what a later attempt may cure; `AbsentUpstreamError` and `DownloadError` are final.
"""

from __future__ import annotations

import ipaddress
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from mmu.archive.credentials import HostAuth
from mmu.archive.host import HostGate
from mmu.archive.part import BLOCK, Part, Version
from mmu.archive.status import Again, Withheld, check_status
from mmu.errors import AbsentUpstreamError, DownloadError

_RANGE = re.compile(r"^bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)$", re.ASCII)
_HOPS = 5
_THINKING = 10
"""How much longer than for a file the first byte of an answer is waited for."""


@dataclass(frozen=True)
class Message:
    """What a request posts; it may hold a secret, so it shows itself as nothing."""

    body: bytes = field(repr=False)
    kind: str


@dataclass(frozen=True)
class Patience:
    """How long to insist: all times in seconds.

    Attributes:
        attempts: failures in a row, none of which brought a byte further, after which a file is given up.
        first_pause, longest_pause: of the jittered exponential backoff between them.
        without_progress: a file that gained nothing for this long is given up, however few attempts it had.
        connect, read: timeouts of one connection.
        slow_rate, slow_window: fewer bytes per second than this, over this long, count as a stalled connection.
    """

    attempts: int = 5
    first_pause: float = 1.0
    longest_pause: float = 60.0
    without_progress: float = 1800.0
    connect: float = 15.0
    read: float = 60.0
    slow_rate: float = 1024.0
    slow_window: float = 60.0


def user_agent() -> str:
    """How we introduce ourselves to archives, with a place to complain."""
    try:
        number = version("multimodal-universe")
    except PackageNotFoundError:
        number = "0"
    return f"multimodal-universe/{number} (+https://github.com/MultimodalUniverse/MultimodalUniverse)"


def is_loopback(host: str) -> bool:
    """True for this very machine, where plain HTTP is allowed."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class HttpClient:
    """Sessions (one a thread) that talk to the registered hosts and to nobody else."""

    def __init__(
        self,
        hosts: frozenset[str],
        patience: Patience,
        auth: HostAuth,
        login: str = "",
        absent: tuple[int, ...] = (404, 410),
    ) -> None:
        """`login` says how to get credentials; `absent` are the statuses that say there is no such file."""
        self.hosts, self.patience, self._auth, self._login, self._absent = hosts, patience, auth, login, absent
        self._local = threading.local()
        self._sessions: list[requests.Session] = []

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.headers.update({"User-Agent": user_agent(), "Accept-Encoding": "identity", "Accept": "*/*"})
            session.auth = self._auth
            session.trust_env = not all(is_loopback(urlsplit("//" + host).hostname or "") for host in self.hosts)
            self._sessions.append(session)
        return session

    def close(self) -> None:
        """Close all connections."""
        for session in self._sessions:
            session.close()

    def attempt(
        self, part: Part, gate: HostGate, limit: int, on_bytes: Callable[[int], None], message: Message | None = None
    ) -> None:
        """Bring `part` to its end with one request, from where it stands; the answer to a message from its start.

        Raises:
            Again: it did not get there; what arrived intact stays in the part.
            Withheld: there is no such file, or we are banned.
            AbsentUpstreamError, DownloadError: no later attempt would help.
        """
        headers = {}
        if part.size and part.version.validator and message is None:
            headers = {"Range": f"bytes={part.size}-", "If-Range": part.version.validator}
        elif part.size:
            part.restart()
        with gate.slot(), closing(self._follow(part.url, headers, message=message)) as response:
            gate.answered()
            if response.status_code == 416:
                part.restart()
            if response.status_code in self._absent:
                kind = Withheld if response.status_code == 403 else AbsentUpstreamError
                raise kind(f"The archive has no such file: {part.url} (HTTP {response.status_code}).")
            check_status(response, gate, part.url, self._login)
            declared = _position(response, part)
            if declared > limit or part.size > limit:
                raise DownloadError(f"{part.url}: {declared} bytes announced, more than the {limit} allowed for it.")
            try:
                for block in _pieces(response, self.patience):
                    part.write(block)
                    on_bytes(len(block))
                    gate.sleep(0)  # a download that nobody wants any more ends here; its part is kept
                    if part.size > limit:
                        raise DownloadError(f"{part.url}: more than the {limit} bytes allowed for it arrived.")
            finally:
                part.close()
        if declared >= 0 and part.size != declared:
            raise Again(f"{part.size} bytes arrived where {declared} were announced")

    def version(self, url: str, gate: HostGate) -> Version | None:
        """What the archive says of a file now, without sending it; None if it does not have it or does not say.

        Raises:
            Again: no answer.
            DownloadError: the host is stopped or refuses us.
        """
        with gate.slot(), closing(self._follow(url, {}, "HEAD")) as response:
            gate.answered()
            if response.status_code in self._absent:
                return None
            if response.status_code in (401, 403, 429) or response.status_code >= 500:
                check_status(response, gate, url, self._login)
            if response.status_code != 200:
                return None
            headers = response.headers
            length = _whole_number(headers.get("Content-Length", ""))
            return Version(url, headers.get("ETag", ""), headers.get("Last-Modified", ""), length)

    def _follow(
        self, url: str, headers: dict[str, str], method: str = "GET", message: Message | None = None
    ) -> requests.Response:
        """The answer at the end of redirects, none of which may leave the registered hosts or HTTPS.

        A message is posted, and goes to nobody but the address it is for.
        """
        if message is not None:
            method, headers = "POST", {**headers, "Content-Type": message.kind}
        thinking = _THINKING if message is not None else 1
        timeouts = (self.patience.connect, self.patience.read * thinking)
        start = urlsplit(url)
        for _ in range(_HOPS):
            failed: Again | None = None
            try:
                response = self._session().request(
                    method,
                    url,
                    headers=headers,
                    data=message.body if message is not None else None,
                    stream=True,
                    timeout=timeouts,
                    allow_redirects=False,
                )
            except requests.RequestException as problem:
                failed = Again(_why(problem), reached=not isinstance(problem, requests.ConnectionError))
            except ValueError:  # requests looks at where a redirect leads, even if told not to follow it
                failed = Again("it redirects to an address that is none")
            if failed is not None:  # raised here, so that it does not carry frames in which a password is sent
                raise failed
            if not response.is_redirect:
                return response
            target = urlsplit(urljoin(url, response.headers["location"]))
            response.close()
            if message is not None:
                raise DownloadError(f"{start.geturl()} answers a question by a redirect, which is not followed.")
            if target.netloc not in self.hosts or target.scheme != start.scheme:
                raise DownloadError(
                    f"{start.netloc} redirects {start.path} to {target.scheme}://{target.hostname}, not one of "
                    f"the archive's hosts ({', '.join(sorted(self.hosts))}); the layout may have moved."
                )
            url = target.geturl()
        raise DownloadError(f"{start.geturl()}: more than {_HOPS} redirects.")


def _whole_number(text: str) -> int:
    """A length in a header, -1 if it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else -1


def _position(response: requests.Response, part: Part) -> int:
    """Place the part for this answer's body; the length the whole file should have, -1 if the archive does not say."""
    headers = response.headers
    length = _whole_number(headers.get("Content-Length", ""))
    etag, modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
    if response.status_code == 200:
        part.restart()
        part.begin(Version(part.url, etag, modified, length))
        return length
    found = _RANGE.match(headers.get("Content-Range", ""))
    first, last, total = (int(group) if group != "*" else -1 for group in found.groups()) if found else (-1, -1, -1)
    same = ((not etag or etag == part.version.etag) and total in (-1, part.version.total)) or part.version.total == -1
    if not part.size or first != part.size or not same or (length >= 0 and last - first + 1 != length):
        part.restart()
        raise Again(f"a wrong part of the file was sent ({headers.get('Content-Range')!r})")
    part.begin(part.version)
    return last + 1 if total == -1 else total


def _pieces(response: requests.Response, patience: Patience) -> Iterator[bytes]:
    """The body as it arrives, exactly as sent; stalled and broken connections become `Again`."""
    read = getattr(response.raw, "read1", response.raw.read)
    since, received = time.monotonic(), 0
    while True:
        try:
            block = read(BLOCK, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            raise Again(_why(problem)) from problem
        if not block:
            return
        yield block
        received += len(block)
        if (passed := time.monotonic() - since) >= patience.slow_window:
            if received < patience.slow_rate * passed:
                raise Again(f"the connection stalled: {received} bytes in {passed:.0f} s")
            since, received = time.monotonic(), 0


def _why(problem: BaseException) -> str:
    """The innermost cause of a network error, in few words."""
    text = str(problem)
    for sign, words in {
        "resol": "its name cannot be looked up",
        "getaddrinfo": "its name cannot be looked up",
        "refused": "the connection was refused",
        "timed out": "no answer in time",
        "certificate": "its TLS certificate is not valid",
        "IncompleteRead": "the connection was cut",
        "reset": "the connection was cut",
        "Remote end closed": "the connection was cut",
    }.items():
        if sign in text:
            return words
    return f"{type(problem).__name__}"
