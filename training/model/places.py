"""Vectors of places: sines and cosines of rows and columns in a grid, or of the number in a sequence; not learnt."""

from __future__ import annotations

import torch
from torch import Tensor

from training.modalities import Modality
from training.model.config import ModelConfig

LONGEST_WAVE = 10_000.0
LONGEST = 512
"""Places of a sequence, published."""


def _waves(values: Tensor, dim: int) -> Tensor:
    """(n,) -> (n, dim): sines, then cosines, of wavelengths that grow by a constant factor."""
    rates = LONGEST_WAVE ** -(torch.arange(dim // 2, dtype=torch.float32) / (dim // 2))
    angles = values.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _grid(shape: tuple[int, ...], dim: int) -> Tensor:
    """(places, dim), half of it an axis; as the published one divides them, so a column of n has all in the second."""
    rows, columns = shape
    numbers = torch.arange(rows * columns)
    return torch.cat([_waves(numbers // rows, dim // 2), _waves(numbers % rows, dim // 2)], dim=1)


def positions_of(row: Modality, dim: int) -> Tensor:
    """(places, dim) of a modality."""
    return _waves(torch.arange(LONGEST), dim) if row.kind == "sequence" else _grid(row.shape, dim)


def places(config: ModelConfig) -> tuple[Tensor, dict[str, int]]:
    """One table (places, dim) of all the shapes there are, and where each modality's part of it begins."""
    parts: list[Tensor] = []
    begins: dict[tuple[int, ...], int] = {}
    for row in config.rows:
        if row.shape not in begins:
            begins[row.shape] = sum(len(part) for part in parts)
            parts.append(positions_of(row, config.dim))
    return torch.cat(parts), {row.key: begins[row.shape] for row in config.rows}
