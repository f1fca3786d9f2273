"""What a step costs in floating-point operations, and how many a device does in a second.

Counted are the products of linear layers, attention and heads, forward and backward; not looking vectors up, norms, or
anything that is computed twice to save memory. A multiplication and an addition are two.
"""

from __future__ import annotations

import time
from typing import Any

import torch

from training.modalities import MODALITIES
from training.ragged import Batch

BACKWARD = 2
"""Passes that a backward pass is worth: by the inputs and by the weights."""

PEAKS = {
    "GB200": 2.5e15,
    "B200": 2.25e15,
    "H200": 989e12,
    "GH200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "A40": 150e12,
    "A10": 125e12,
    "L40S": 362e12,
    "L4": 121e12,
    "MI300X": 1307e12,
    "MI250X": 191.5e12,
}
"""Part of a device's name -> dense bfloat16 FLOP/s of its data sheet (an MI250X is two devices); the first counts."""


def of_batch(config: Any, batch: Batch) -> float:
    """Of a step on a batch on the host, of a model of a `ModelConfig`.

    A sequence's token is counted as if it saw those after it, too: they are few.
    """
    dim, mlp = config.dim, (3 if config.gated else 2) * config.dim * config.hidden
    given, asked, groups = (
        part.offsets.diff().double() for part in (batch.inputs.objects, batch.targets.objects, batch.targets.groups)
    )
    inputs, targets = float(given.sum()), float(asked.sum())
    encoder = inputs * 2 * (4 * dim**2 + mlp) + 4 * dim * float((given**2).sum())
    decoder = targets * 2 * (6 * dim**2 + mlp) + inputs * 2 * 2 * dim**2
    decoder += 4 * dim * float((groups**2).sum() + (given * asked).sum())
    context = inputs * 2 * dim**2
    heads = sum(2 * dim * MODALITIES[key].vocabulary * count for key, count in batch.targets.counts.items())
    forward = config.encoder_depth * encoder + config.decoder_depth * decoder + context + heads
    return float((1 + BACKWARD) * forward)


def peak(device: torch.device, dtype: torch.dtype) -> tuple[float, str]:
    """FLOP/s of a device, and where the number is from: a data sheet, or a product of matrices that was timed."""
    if device.type == "cuda" and dtype == torch.bfloat16:
        name = torch.cuda.get_device_name(device)
        for part, most in PEAKS.items():
            if part in name:
                return most, f"data sheet of {name}"
    size = 8192 if device.type == "cuda" else 1024
    return measured(device, dtype, size), f"a measured product of {size} x {size} matrices"


def measured(device: torch.device, dtype: torch.dtype, size: int, tries: int = 3) -> float:
    """The fastest of some products of square matrices."""
    a = torch.ones(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(tries + 1):
        started = time.perf_counter()
        a @ a
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best
