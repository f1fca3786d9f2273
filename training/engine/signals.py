"""Being asked to stop: a step is finished, a checkpoint written, and the process ends well."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ASKS = (signal.SIGTERM, signal.SIGUSR1)
"""What a scheduler sends ahead of the end of a job's time."""


class Stop:
    """True once a signal came."""

    def __init__(self) -> None:
        self.asked = False

    def __bool__(self) -> bool:
        return self.asked

    def ask(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Note it; the loop looks between steps."""
        self.asked = True


@contextmanager
def watched() -> Iterator[Stop]:
    """Notes signals instead of being ended by them; as it was before, afterwards. Only in a main thread."""
    stop = Stop()
    before = {number: signal.signal(number, stop.ask) for number in ASKS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
