"""What the statuses of answers mean: go on, try again, or one of our errors."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import requests

from mmu.archive.host import HostGate
from mmu.errors import AbsentUpstreamError, DownloadError


class Again(Exception):
    """This attempt failed, another may not; `reached` is False where the host gave no answer at all."""

    def __init__(self, reason: str, reached: bool = True) -> None:
        super().__init__(reason)
        self.reached = reached


class Withheld(AbsentUpstreamError):
    """A 403 of an archive that says so of files it does not have; a ban looks the same."""


def check_status(response: requests.Response, gate: HostGate, asked: str = "", login: str = "") -> None:
    """Let good answers pass and say what all others mean; `asked` is the URL before redirects."""
    status, url = response.status_code, response.url.partition("?")[0]
    asked = asked or url
    if status in (200, 206):
        kind = response.headers.get("Content-Type", "").lower()
        if kind.startswith(("text/html", "application/xhtml")) and not asked.endswith((".html", ".htm", "/")):
            raise Again("the archive sent a web page instead of the file")
        return
    if status in (401, 403):
        asks = status == 401 or "WWW-Authenticate" in response.headers or "Authorization" in response.request.headers
        guess = (
            f"it wants credentials: {login or 'this survey declares no login'}"
            if asks
            else "it looks like a ban or a missing permission: stop, and ask the archive"
        )
        gate.stop(f"{gate.host} refused access (HTTP {status}) at {url}; {guess}.")
        raise DownloadError(f"{gate.host} refused access (HTTP {status}) at {url}; {guess}.")
    if status in (429, 503):
        gate.pause(retry_after(response.headers.get("Retry-After", "")))
    if status in (408, 416, 425, 429) or status >= 500:
        raise Again(f"HTTP {status} {response.reason or ''}".strip())
    raise DownloadError(f"{url}: HTTP {status} {response.reason or ''}, which no second attempt would cure.")


def retry_after(text: str) -> float:
    """Seconds that a `Retry-After` header asks for, given as a number or a date; 0 where there is none."""
    try:
        if text.strip().isdigit():
            return float(text)
        moment = parsedate_to_datetime(text)
        return (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return 0.0
