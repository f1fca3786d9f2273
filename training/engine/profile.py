"""A trace of a few steps, for `chrome://tracing` or Perfetto."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from training.engine.parallel import World

TRACE = "trace.json"
WARM, TRACED = 4, 3
"""Steps before those that are traced, and these; what is compiled is compiled before."""


@contextmanager
def traced(out: Path, world: World) -> Iterator[Callable[[], None]]:
    """Gives what is to be called after each step; the first process writes `out`/trace.json."""
    from torch.profiler import ProfilerActivity, profile, schedule

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if world.device.type == "cuda" else [])]

    def write(made: profile) -> None:
        if world.first:
            out.mkdir(parents=True, exist_ok=True)
            made.export_chrome_trace(str(out / TRACE))

    steps = schedule(wait=WARM - 1, warmup=1, active=TRACED, repeat=1)
    # There is one cycle; without `acc_events`, it is warned that others would be lost.
    with profile(activities=activities, schedule=steps, on_trace_ready=write, acc_events=True) as made:
        yield made.step
