"""What is told of a run: losses by modality, tokens and objects a second, the share of a device's arithmetic."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from training.engine import flops
from training.engine.log import Entry
from training.engine.parallel import World
from training.ragged import Batch


class Meter:
    """Sums over the steps since the last entry; nothing waits for the device before an entry is asked for.

    Args:
        config: the model's. weights: (modalities,) of the loss.
        peak: FLOP/s of one device.
    """

    def __init__(self, config: Any, weights: Tensor, world: World, peak: float) -> None:
        self.config, self.weights, self.world, self.peak = config, weights.double(), world, peak
        self._begin()

    def _begin(self) -> None:
        rows = len(self.config.modalities)
        self.sums = torch.zeros(rows, dtype=torch.float64, device=self.world.device)
        self.counts = dict.fromkeys(self.config.modalities, 0)
        self.tokens = self.objects = self.steps = 0
        self.flops = self.norm = self.waited = 0.0
        self.started = time.perf_counter()

    def add(self, batch: Batch, sums: Tensor) -> None:
        """One more micro-batch, on the host, and the model's sums of it (modalities,)."""
        self.sums += sums.detach()
        for key, count in batch.targets.counts.items():
            self.counts[key] += count
        self.tokens += batch.tokens
        self.objects += batch.inputs.objects.count
        self.flops += flops.of_batch(self.config, batch)

    def step(self, norm: float, waited: float) -> None:
        """One more step: the gradient's norm, and the seconds that its data were waited for."""
        self.steps, self.norm, self.waited = self.steps + 1, self.norm + norm, self.waited + waited

    def entry(self) -> Entry:
        """Of all processes since the last one; all must ask."""
        numbers = [*self.counts.values(), self.tokens, self.objects, self.flops, self.waited]
        own = torch.tensor(numbers, dtype=torch.float64, device=self.world.device)
        total = self.world.sum(torch.cat([self.sums, own])).cpu()
        seconds = time.perf_counter() - self.started
        rows = len(self.counts)
        sums, counts = total[:rows], total[rows : 2 * rows]
        tokens, objects, operations, waited = total[2 * rows :].tolist()
        weights = self.weights.cpu()
        entry = {
            "loss": float((sums * weights).sum() / (counts * weights).sum()),
            "losses": {
                key: one / count
                for key, one, count in zip(self.counts, sums.tolist(), counts.tolist(), strict=True)
                if count
            },
            "gradient": self.norm / self.steps,
            "steps": self.steps,
            "objects": round(objects),
            "tokens_per_second": round(tokens / seconds, 1),
            "objects_per_second": round(objects / seconds, 2),
            "mfu": round(operations / seconds / (self.peak * self.world.size), 4),
            "data_wait": round(waited / self.world.size / seconds, 4),
            **self._memory(),
        }
        self._begin()
        return entry

    def _memory(self) -> Entry:
        """Most bytes of the first GPU so far."""
        if self.world.device.type != "cuda":
            return {}
        return {"memory_gb": round(torch.cuda.max_memory_allocated(self.world.device) / 1e9, 2)}
