"""Questions to an archive's own service: what a survey's `service.py` asks with, and what holds of any download too.

Every message goes to the archive's host and nobody else, through its gate, with the retries, timeouts and bounds of a
file; a web page, a redirect or a refusal is no answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmu.archive.credentials import Credentials
from mmu.archive.http import Message, Patience
from mmu.archive.part import Part, sibling
from mmu.archive.protocol import Order
from mmu.errors import AbsentUpstreamError, DownloadError

_MOST_JSON = 1 << 20

Insist = Callable[[Part, Order, Message | None], None]


class Desk:
    """Where one file's question is put.

    Attributes:
        credentials: who we are to the archive; None where it was not told.
        patience: how long to insist.
    """

    def __init__(
        self, root: str, order: Order, patience: Patience, credentials: Credentials | None, part: Path, insist: Insist
    ) -> None:
        """`part` is where the answer will be; drafts lie beside it. `insist` makes the attempts."""
        self.credentials, self.patience = credentials, patience
        self._root, self._order, self._insist = root, order, insist
        self._draft = sibling(part, ".draft")

    def url(self, path: str) -> str:
        """The address of a service."""
        return self._root + path

    def post(self, path: str, message: Message, most_bytes: int = 0) -> Path:
        """Post a message; the body of the answer as a file, which the next post replaces.

        Args:
            most_bytes: how large the answer may be; 0 for what the file it is for may have.

        Raises:
            DownloadError: no attempt got an answer.
        """
        limit = most_bytes or self._order.limit
        order = Order(self._order.gate, limit, ("sha256",), self._order.on_bytes)
        self.clear()
        draft = Part(self._draft, self.url(path))
        try:
            self._insist(draft, order, message)
        except AbsentUpstreamError:
            raise DownloadError(f"{self.url(path)} does not exist: the archive's service may have moved.") from None
        finally:
            draft.close()
        return self._draft

    def call(self, path: str, question: Mapping[str, Any]) -> Any:
        """Post JSON and read the JSON that comes back; None for an empty answer.

        Raises:
            DownloadError: no answer, or one that is no JSON.
        """
        answer = self.post(path, Message(json.dumps(question).encode(), "application/json"), _MOST_JSON)
        text = answer.read_bytes() if answer.is_file() else b""
        try:
            return json.loads(text) if text.strip() else None
        except (ValueError, RecursionError):
            raise DownloadError(f"{self.url(path)} did not answer in JSON.") from None

    def wait(self, seconds: float) -> None:
        """Wait, unless the archive's host is stopped meanwhile."""
        self._order.gate.sleep(seconds)

    def clear(self) -> None:
        """Remove what was received."""
        for suffix in ("", ".json", ".json.tmp"):
            sibling(self._draft, suffix).unlink(missing_ok=True)
