"""A headless Chromium, told over its DevTools pipe what to open, and asked what it saw. Needs no package."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_PATIENCE_S = 60.0


def chromium() -> str | None:
    """The browser's program: MMU_CHROMIUM, or the first of the usual names on PATH."""
    given = os.environ.get("MMU_CHROMIUM")
    return given or next((found for name in NAMES if (found := shutil.which(name))), None)


@dataclass
class Seen:
    """What happened while a page was open: addresses asked for, and what the console said."""

    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)


class Browser:
    """One tab. `open` loads a page; `run` evaluates JavaScript in it."""

    def __init__(self, process: subprocess.Popen[bytes], write: int, read: int) -> None:
        self._process, self._write, self._read = process, write, read
        self._buffer, self._number, self._session = b"", 0, ""
        self._events: list[str] = []
        self.seen = Seen()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask the browser for something and wait for its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def open(self, page: Path, width: int = 1280, dark: bool = False) -> Seen:
        """Load a page at a width, in light or dark; what was seen until it was loaded."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1,
                  mobile=width < 600)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="screen", features=[scheme])
        self.seen, self._events = Seen(), []
        self.call("Page.navigate", url=page.resolve().as_uri())
        while "Page.loadEventFired" not in self._events:
            self._next()
        self.run("new Promise(done => setTimeout(done, 200))")
        return self.seen

    def run(self, script: str) -> Any:
        """The value of an expression, awaited if it is a promise."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """The whole page as PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self) -> bytes:
        """The page as it prints."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])

    def _next(self) -> dict[str, Any]:
        """The next message; events are noted."""
        until = time.monotonic() + _PATIENCE_S
        while b"\0" not in self._buffer:
            assert time.monotonic() < until, "the browser says nothing"
            piece = os.read(self._read, 1 << 16)
            assert piece, f"the browser ended with {self._process.poll()}"
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, told: dict[str, Any]) -> None:
        self._events.append(method)
        if method == "Network.requestWillBeSent":
            self.seen.requests.append(told["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.seen.console.append(str(told["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.seen.console.append(str(told["args"]))
        elif method == "Log.entryAdded":
            self.seen.console.append(told["entry"]["text"])


@contextmanager
def browser(program: str, folder: Path) -> Iterator[Browser]:
    """Start a browser whose profile is in `folder`, and end it."""
    to_it, ours = os.pipe()
    theirs, from_it = os.pipe()
    words = [program, "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}",
             "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]  # fmt: skip
    if os.getuid() == 0:
        words.append("--no-sandbox")  # Chromium refuses to run as root with one
    # The browser reads from its descriptor 3 and writes to 4.
    plumbing = ["bash", "-c", f'exec "$@" 3<&{to_it} 4>&{from_it}', "browser", *words]
    process = subprocess.Popen(
        plumbing, pass_fds=(to_it, from_it), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(to_it)
    os.close(from_it)
    try:
        yield Browser(process, ours, theirs)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)
