"""One bucket per host: how many connections at once, how many requests a second, and when to leave it alone.

The limits hold for every thread of this process and, through lock files in the cache, for every process on the
machine that uses the same cache. Locks are the kernel's, so a killed process leaves none behind.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mmu.archive.part import read_json, write_json
from mmu.errors import DownloadError
from mmu.survey import Policy

LONGEST_PAUSE = 300.0
_POLL = 0.02


class HostGate:
    """What every request to one host passes through.

    `pause` holds all requests back for a while; `stop` refuses all further ones with the reason given.
    """

    def __init__(self, host: str, policy: Policy, cache: Path, longest_pause: float = LONGEST_PAUSE) -> None:
        self.host = host
        self._policy = Policy(max(1, policy.connections), max(policy.per_second, 1e-3))
        self._longest = longest_pause
        self._folder = cache / ".hosts"
        self._stem = re.sub(r"[^A-Za-z0-9.-]", "_", host) or "local"
        self._slots = threading.BoundedSemaphore(self._policy.connections)
        self._halt = threading.Event()
        self._reason = ""
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._reached = False
        self._given_up = 0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold one of the host's connections; entered when a request may start.

        Raises:
            DownloadError: the host was stopped.
        """
        while not self._slots.acquire(timeout=0.2):
            self._check()
        try:
            taken = self._machine_slot()
            try:
                self._wait_turn()
                yield
            finally:
                taken.release()
        finally:
            self._slots.release()

    def _machine_slot(self) -> FileLock:
        """One of the machine's `connections` slots for this host."""
        self._folder.mkdir(parents=True, exist_ok=True)
        while True:
            for index in range(self._policy.connections):
                lock = FileLock(self._folder / f"{self._stem}.{index}.lock", timeout=0, thread_local=False)
                try:
                    return lock.acquire().lock
                except Timeout:
                    continue
            self.sleep(_POLL)

    def _wait_turn(self) -> None:
        """Sleep until the host's next free start time, which is kept for all processes in one small file."""
        state = self._folder / f"{self._stem}.json"
        while True:
            with self._state_lock():
                now = time.time()
                known = read_json(state)
                start = max(now, self._soon(known, "next", now), self._soon(known, "paused", now))
                if start <= now:
                    write_json(state, {**known, "next": now + 1 / self._policy.per_second}, sync=False)
                    break
            self.sleep(min(start - now, 1.0))
        self._check()

    @contextmanager
    def _state_lock(self) -> Iterator[None]:
        """One thread of one process at a time looks at the state file."""
        with self._turn, FileLock(self._folder / f"{self._stem}.lock", thread_local=False, poll_interval=_POLL):
            yield

    def _soon(self, known: dict[str, float], key: str, now: float) -> float:
        """A moment in the state file, unless the clock was turned and it lies too far ahead to be true."""
        moment = known.get(key, 0.0)
        return moment if isinstance(moment, int | float) and moment - now <= self._longest + 1e3 else 0.0

    def pause(self, seconds: float) -> None:
        """No request of any thread or process starts for this long (`Retry-After`), within reason."""
        state = self._folder / f"{self._stem}.json"
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._state_lock():
            known = read_json(state)
            until = time.time() + min(max(seconds, 0.0), self._longest)
            write_json(state, {**known, "paused": max(until, self._soon(known, "paused", time.time()))}, sync=False)

    def stop(self, reason: str) -> None:
        """Every request from now on fails with this reason; threads that wait are woken. The first reason stays."""
        with self._lock:
            self._reason = self._reason or reason
        self._halt.set()

    def sleep(self, seconds: float) -> None:
        """Wait, unless the host is stopped meanwhile.

        Raises:
            DownloadError: it was.
        """
        self._halt.wait(seconds)
        self._check()

    def _check(self) -> None:
        if self._halt.is_set():
            raise DownloadError(self._reason)

    @property
    def reached(self) -> bool:
        """True once the host answered anything at all."""
        return self._reached

    def answered(self) -> None:
        """The host answered."""
        self._reached = True

    def succeeded(self) -> None:
        """A file arrived."""
        self._given_up = 0

    def gave_up(self, reason: str, allowed: int = 8) -> None:
        """A file was given up after all its attempts; `allowed` in a row without one success stop the host."""
        with self._lock:
            self._given_up += 1
            enough = self._given_up >= allowed
        if enough:
            self.stop(f"{self.host} failed for {allowed} files in a row, so it is left alone for now. {reason}")
