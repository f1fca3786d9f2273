"""Does the stream keep a GPU busy? Steps of a ResNet-50-sized encoder on it, and on one batch that stays on the GPU.

Run as `python tests/benchmarks/gpu_stream.py [PAIRS]` where there is a GPU (`--cpu` tries the script out without one).
Pairs of two images of 4 x 96 x 96 float32, encoded both and compared with one another; batches of 256.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch import Tensor, nn

import mmu
from tests.benchmarks.bench_stream import CASES, write

STEPS, WARM_UP = 60, 10


class Bottleneck(nn.Module):
    """Residual block of He et al. (2015), arXiv:1512.03385."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width_in, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width),
        )  # fmt: skip
        same = stride == 1 and width_in == 4 * width
        short = nn.Sequential(nn.Conv2d(width_in, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))
        self.short = nn.Identity() if same else short

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.short(x))


def encoder() -> nn.Module:
    """ResNet-50 for four bands, 128 numbers out: 24 million weights."""
    layers: list[nn.Module] = [
        nn.Conv2d(4, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    width_in = 64
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for block in range(blocks):
            layers.append(Bottleneck(width_in, width, 2 if stage and not block else 1))
            width_in = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 128))


class Trainer:
    """Both images of a pair close together, others apart."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.model = encoder().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3)

    def step(self, batch: Any) -> None:
        with torch.autocast(self.device, dtype=torch.bfloat16):
            a, b = (nn.functional.normalize(self.model(batch[side]["image.flux"])) for side in ("a", "b"))
            loss = nn.functional.cross_entropy(a @ b.T / 0.1, torch.arange(len(a), device=self.device))
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


def steps_per_second(trainer: Trainer, batches: Iterator[Any]) -> tuple[float, float]:
    """And the share of the time that was waited for data."""
    waited, started = 0.0, time.perf_counter()
    for number in range(WARM_UP + STEPS):
        if number == WARM_UP:
            _settle(trainer.device)
            waited, started = 0.0, time.perf_counter()
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        trainer.step(batch)
    _settle(trainer.device)
    seconds = time.perf_counter() - started
    return STEPS / seconds, waited / seconds


def _settle(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    global STEPS, WARM_UP
    device = "cpu" if "--cpu" in sys.argv else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("There is no GPU here; --cpu tries the script out.")
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    case = replace(CASES["1"], pairs=numbers[0] if numbers else 8000, batch=8 if device == "cpu" else 256)
    STEPS, WARM_UP = (2, 1) if device == "cpu" else (STEPS, WARM_UP)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(case, folder)
        trainer, results = Trainer(device), {}
        for name, cache in (
            ("Parquet", None),
            ("the cache, being made", folder / "cache"),
            ("the cache", folder / "cache"),
        ):
            stream = mmu.stream([folder / side for side, *_ in case.sides], columns=case.columns, shuffle=1,
                                batch_size=case.batch, cache=cache, device=device)  # fmt: skip
            if "resident" not in results:
                one = next(iter(stream))
                results["resident"] = steps_per_second(trainer, repeat(one))[0]
            rate, waited = steps_per_second(trainer, (batch for _ in range(10**6) for batch in stream))
            sys.stdout.write(f"from {name}: {rate:.2f} steps/s, {results['resident'] / rate:.2f} times as long as on a "
                             f"resident batch ({results['resident']:.2f} steps/s), {waited:.1%} waited\n")  # fmt: skip


if __name__ == "__main__":
    main()
