"""How a stream delivers its batches, and what it did."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from crossmatch.stream.batch import Batch
from mmu.errors import UsageError, unknown

POLICIES = ("raise", "skip")


@dataclass(frozen=True)
class Delivery:
    """How batches are made and handed over.

    Args:
        pool_bytes: of the batches that are in memory at once; what is shuffled together.
        threads: that decode; all cores by default.
        pad: fills ragged rows up to the longest of a batch.
        on_error: what a row group that cannot be read does: "raise", or "skip" its samples and count them.
        most_fetched: bytes that may be fetched over the network; more end the stream.
    """

    batch_size: int = 256
    seed: int | None = None
    tail: str = "drop"
    rank: int = 0
    world_size: int = 1
    pool_bytes: int = 1 << 30
    threads: int | None = None
    workers: int = 0
    pad: int | float | None = None
    device: str | None = None
    transform: Callable[[Batch], Any] | None = None
    on_error: str = "raise"
    most_fetched: int | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(f"batch_size={self.batch_size}: a batch has at least one row.")
        if self.on_error not in POLICIES:
            raise unknown("on_error", self.on_error, POLICIES)
        if self.workers < 0 or (self.threads is not None and self.threads < 1):
            raise UsageError(
                f"threads={self.threads}, workers={self.workers}: give 1 or more threads, 0 or more workers."
            )


@dataclass
class Stats:
    """What a stream did so far in this process.

    Attributes:
        bytes: of the arrays delivered; fetched: from elsewhere, over the network.
        waited: seconds for batches that were not ready, and `waits` those of the last ones each.
        skipped: why samples were left out -> how many.
    """

    batches: int = 0
    samples: int = 0
    bytes: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    waits: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))
    fetched: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
