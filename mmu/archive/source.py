"""Where an archive's files come from: the archive itself, a mirror, a local folder, or the simulated sky."""

from __future__ import annotations

import random
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

from mmu.archive.credentials import Credentials, HostAuth, find_credentials, how_to
from mmu.archive.desk import Desk
from mmu.archive.host import HostGate
from mmu.archive.http import HttpClient, Message, Patience, is_loopback
from mmu.archive.part import Part, Version, digests, modified, safe_join
from mmu.archive.protocol import Arrival, Closing, Order, Provenance, Source
from mmu.archive.simulated import NOISELESS, SimulatedSource
from mmu.archive.status import Again, Withheld
from mmu.errors import AbsentUpstreamError, DownloadError, UsageError
from mmu.survey import Release, Service, Survey

FORMS = (
    "nothing (the archive itself), https://HOST/PATH (a mirror), simulated or simulated:SEED[:noiseless], "
    "or a local folder in the archive's own layout"
)
_PROGRESS = 1 << 16


class HttpSource(Closing):
    """The archive itself or a mirror, over HTTPS; plain HTTP only on this machine."""

    def __init__(
        self,
        root: str,
        patience: Patience | None = None,
        hosts: frozenset[str] = frozenset(),
        credentials: Credentials | None = None,
        login: str = "",
        service: Service | None = None,
        absent: tuple[int, ...] = (404, 410),
    ) -> None:
        """`hosts` are further `HOST[:PORT]` that redirects may lead to; `login` says how to get credentials.

        `service` puts the survey's questions; without one (a mirror) answers are files like all others. `absent` are
        the HTTP statuses that say there is no such file.
        """
        parts = urlsplit(root)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise UsageError(
                "The source's URL carries a user, password, query or fragment; where a survey wants a password, it "
                "comes from the environment or the credentials file."
            )
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            raise UsageError(f"The source {root!r} is not an https:// address; plain http is for this machine only.")
        if not parts.hostname:
            raise UsageError(f"The source {root!r} names no host; a source is {FORMS}.")
        self.name = root.rstrip("/") + "/"
        self.host = parts.netloc
        self.patience = patience or Patience()
        self._client = HttpClient(hosts | {parts.netloc}, self.patience, HostAuth(root, credentials), login, absent)
        self._service, self._credentials = service, credentials

    def url(self, path: str) -> str:
        """Where a file is."""
        safe_join(Path(), path)
        return self.name + quote(path)

    def local(self, path: str) -> Path | None:
        return None

    def pause(self, failures: int) -> float:
        longest = min(self.patience.longest_pause, self.patience.first_pause * 2.0 ** min(failures - 1, 30))
        return longest * random.uniform(0.5, 1.0)

    def fetch(self, path: str, part: Path, order: Order) -> Arrival:
        if order.query and self._service is not None:
            return self._ask(path, part, order, self._service)
        growing = Part(part, self.url(path), order.algorithms)
        try:
            if not growing.complete:
                self._insist(growing, order)
        except Withheld:
            self._refuse_ban(growing.url, order)
            raise
        finally:
            growing.close()
        order.gate.succeeded()
        version = growing.version
        return Arrival(growing.size, growing.digests(), growing.url, version.etag, version.modified)

    def _refuse_ban(self, url: str, order: Order) -> None:
        """A 403 says that a file is absent only where one that we have had before is not refused as well."""
        if not (order.witness and self.has(order.witness, order.gate)):
            text = (
                f"{self.host} refused access (HTTP 403) at {url}; it looks like a ban or a missing permission: stop, "
                "and ask the archive."
            )
            order.gate.stop(text)
            raise DownloadError(text)

    def _ask(self, path: str, part: Path, order: Order, service: Service) -> Arrival:
        """The answer to a question; asked anew each time, as there is nothing to go on from."""
        desk = Desk(self.name, order, self.patience, self._credentials, part, self._insist)
        try:
            url = service.ask(desk, path, order.query, part)
        finally:
            desk.clear()
        order.gate.succeeded()
        return Arrival(part.stat().st_size, digests(part, {"sha256", *order.algorithms}), url, "")

    def has(self, path: str, gate: HostGate) -> bool:
        return self._version(path, gate) is not None

    def _version(self, path: str, gate: HostGate) -> Version | None:
        try:
            return self._client.version(self.url(path), gate)
        except Again as problem:
            raise DownloadError(f"{self.host} does not say whether {path} changed: {problem}.") from problem

    def changed(self, known: Provenance, gate: HostGate) -> bool:
        now = self._version(known.path, gate)
        return now is not None and now.differs(Version("", known.etag, known.modified, known.bytes))

    def _insist(self, part: Part, order: Order, message: Message | None = None) -> None:
        """Attempts until the part is whole; those that brought it further are free."""
        best, failures, since = part.size, 0, time.monotonic()
        while True:
            try:
                return self._client.attempt(part, order.gate, order.limit, order.on_bytes, message)
            except Again as problem:
                reason = problem
            failures += 1
            if part.size >= best + _PROGRESS:
                best, failures, since = part.size, 1, time.monotonic()
            unreachable = not (order.gate.reached or reason.reached)
            allowed = min(3, self.patience.attempts) if unreachable else self.patience.attempts
            if failures >= allowed or time.monotonic() - since > self.patience.without_progress:
                raise self._given_up(part, order.gate, reason, failures, unreachable) from reason
            order.gate.sleep(self.pause(failures))

    def _given_up(self, part: Part, gate: HostGate, reason: Again, failures: int, unreachable: bool) -> DownloadError:
        if unreachable:
            text = (
                f"{self.host} cannot be reached: {reason}. Check the network, or give --source a mirror's URL, a "
                "folder in the archive's own layout, or `simulated`."
            )
            gate.stop(text)
        else:
            text = f"{part.url} was given up after {failures} attempts in a row: {reason}. Run again to go on."
            gate.gave_up(text)
        return DownloadError(text)

    def close(self) -> None:
        self._client.close()


class FolderSource(Closing):
    """A local folder in the archive's own layout; files are used where they lie."""

    host = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.name = str(self.folder)

    def local(self, path: str) -> Path | None:
        file = safe_join(self.folder, path)
        if not file.is_file():
            raise AbsentUpstreamError(f"The source folder has no file {path} ({file}).")
        return file

    def has(self, path: str, gate: HostGate) -> bool:
        return safe_join(self.folder, path).is_file()

    def changed(self, known: Provenance, gate: HostGate) -> bool:
        file = safe_join(self.folder, known.path)
        if not file.is_file() or (file.stat().st_size == known.bytes and modified(file) == known.modified):
            return False
        return digests(file, ["sha256"])["sha256"] != known.sha256

    def fetch(self, path: str, part: Path, order: Order) -> Arrival:
        msg = "files of a folder are used in place"
        raise NotImplementedError(msg)

    def pause(self, failures: int) -> float:
        return 0.0


def open_source(text: str | None, survey: Survey, release: Release) -> Source:
    """The source a user asked for with `--source`.

    Raises:
        UsageError: not one of the four forms; the message lists them.
    """
    if text is None or text.rstrip("/") == survey.root.rstrip("/"):
        login = survey.login
        credentials = find_credentials(survey.name, login) if login else None
        advice = how_to(survey.name, login) if login else ""
        hosts = frozenset(survey.hosts)
        return HttpSource(survey.root, None, hosts, credentials, advice, survey.service, survey.absent)
    form, colon, rest = text.partition(":")
    if form == "simulated":
        seed, second, word = rest.partition(":")
        if colon and not (seed.isascii() and seed.isdigit()):
            raise UsageError(f"simulated:{rest!r} needs a whole number as seed; a source is {FORMS}.")
        if second and word != NOISELESS:
            raise UsageError(f"simulated:{rest!r} may say only {NOISELESS!r} after the seed; a source is {FORMS}.")
        return SimulatedSource(survey, release, int(seed) if colon else None, noise=0.0 if second else 1.0)
    if form.lower() in ("http", "https"):
        return HttpSource(text, absent=survey.absent)
    if not text or "://" in text or not Path(text).is_dir():
        raise UsageError(f"The source {text!r} is not a folder that exists; a source is {FORMS}.")
    return FolderSource(Path(text))


__all__ = ["Arrival", "FolderSource", "HttpSource", "Order", "Patience", "SimulatedSource", "Source", "open_source"]
