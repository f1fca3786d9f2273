"""Latents without a scale of their own: whitened by running moments, so that every code of a small codec is used."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SLOWER, LEAST = 100, 1e-3
"""Batches until the momentum is half of what it was, and what it is at last."""


class Whitened(nn.Module):
    """Channels with mean 0, deviation 1 and no correlation over what was seen lately: each has to tell its own.

    Channels that are only scaled all come to tell the same. Training normalises by the same moments as encoding does.

    Args:
        momentum: weight of a batch; the first counts whole. It is halved after `SLOWER` batches, is a third after twice
            as many, ...: moments that still jump at the end of a run are not those of any of its codes.
        eps: of the mean variance, that each direction's is raised by.
    """

    mean: Tensor
    second: Tensor
    seen: Tensor

    def __init__(self, channels: int, momentum: float = 0.03, eps: float = 1e-3) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("second", torch.eye(channels))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, vectors: Tensor, counts: Tensor) -> Tensor:
        """As given, (batch, channels, ...); what is learned from in training mode moves the moments.

        Args:
            counts: (batch, ...), how much each vector counts: what is rare and matters would else be off the scale.
        """
        if self.training and torch.is_grad_enabled():
            self._see(vectors.detach().movedim(1, -1).flatten(0, -2), counts.detach().reshape(-1, 1))
        centred = vectors.movedim(1, -1) - self.mean
        return (centred @ self._inverse()).movedim(-1, 1)

    def _see(self, flat: Tensor, counts: Tensor) -> None:
        """Move the moments; one spoilt batch must not spoil them for ever."""
        total = counts.sum()
        if not bool(torch.isfinite(flat).all() & torch.isfinite(total) & (total > 0)):
            return
        seen, share = int(self.seen), counts / total
        weight = max(LEAST, self.momentum / (1 + seen / SLOWER)) if seen else 1.0
        self.mean.lerp_((share * flat).sum(0), weight)
        self.second.lerp_(flat.T @ (share * flat), weight)
        self.seen += 1

    def _inverse(self) -> Tensor:
        """What whitens and turns least, symmetric, (channels, channels)."""
        covariance = (self.second - torch.outer(self.mean, self.mean)).double()
        squares, vectors = torch.linalg.eigh(covariance)
        squares = squares.clamp(min=0) + self.eps * squares.mean().clamp(min=1e-6)
        inverse: Tensor = (vectors / squares.sqrt()) @ vectors.T
        return inverse.to(self.mean)
