"""Random values for every parameter and table of a codec, ours or a published one, so that each matters."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

BUFFERS = {"running_mean": (0.0, 0.3), "running_var": (1.0, 0.1), "_reservoir": (0.5, 1.0)}
"""Name -> mean and spread of what is drawn for it."""


def redraw(module: nn.Module, seed: int) -> None:
    """Give every parameter and table a random value that it matters to have."""
    random = torch.Generator().manual_seed(seed)

    def normal(like: torch.Tensor, mean: float, spread: float) -> torch.Tensor:
        return mean + spread * torch.randn(like.shape, generator=random)

    with torch.no_grad():
        for name, values in module.named_parameters():
            matrix = values.ndim > 1 and not name.endswith(("gamma", "beta"))
            norm = values.ndim == 1 and name.endswith("weight")
            spread = max(1, values[0].numel()) ** -0.5 if matrix else 0.3
            values.copy_(normal(values, 1.0 if norm else 0.0, spread))
        for name, buffer in module.named_buffers():
            if name.endswith(tuple(BUFFERS)):
                mean, spread = BUFFERS[name.rpartition(".")[2]]
                buffer.copy_(normal(buffer, mean, spread))
    for part in module.modules():
        tables: Any = getattr(part, "_generate_index_to_val", None)
        if tables is not None:
            tables()
