"""Blocks of the transformer over tokens that lie end to end: (tokens, dim) -> (tokens, dim), without biases.

Parameters carry the names of the published checkpoints, which are those of 4M (Mizrahi et al. 2023).
"""

from __future__ import annotations

from torch import Tensor, nn

from training.model.attention import Attend
from training.model.config import ModelConfig

EPS = 1e-6


def norm(size: int) -> nn.LayerNorm:
    """A layer norm without a bias."""
    return nn.LayerNorm(size, eps=EPS, bias=False)


class SelfAttention(nn.Module):
    """Of tokens to each other."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.size = config.heads, config.dim // config.heads
        self.qkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.proj = nn.Linear(config.dim, config.dim, bias=False)
        self.q_norm, self.k_norm = (norm(self.size) if config.qk_norm else nn.Identity() for _ in "qk")

    def forward(self, x: Tensor, attend: Attend) -> Tensor:
        """What each token sees."""
        q, k, v = self.qkv(x).view(len(x), 3, self.heads, self.size).unbind(1)
        out: Tensor = self.proj(attend(self.q_norm(q), self.k_norm(k), v).flatten(1))
        return out


class CrossAttention(nn.Module):
    """Of tokens to a context."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.size = config.heads, config.dim // config.heads
        self.q = nn.Linear(config.dim, config.dim, bias=False)
        self.kv = nn.Linear(config.dim, 2 * config.dim, bias=False)
        self.proj = nn.Linear(config.dim, config.dim, bias=False)
        self.q_norm, self.k_norm = (norm(self.size) if config.qk_norm else nn.Identity() for _ in "qk")

    def forward(self, x: Tensor, context: Tensor, attend: Attend) -> Tensor:
        """What each token sees of it."""
        q = self.q(x).view(len(x), self.heads, self.size)
        k, v = self.kv(context).view(len(context), 2, self.heads, self.size).unbind(1)
        out: Tensor = self.proj(attend(self.q_norm(q), self.k_norm(k), v).flatten(1))
        return out


class Mlp(nn.Module):
    """Two layers, or SwiGLU (Shazeer 2020) where gated."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.dim, config.hidden, bias=False)
        self.fc2 = nn.Linear(config.hidden, config.dim, bias=False)
        self.fc3 = nn.Linear(config.dim, config.hidden, bias=False) if config.gated else None
        self.act: nn.Module = getattr(nn, config.activation)()

    def forward(self, x: Tensor) -> Tensor:
        """Token by token."""
        hidden = self.act(self.fc1(x))
        out: Tensor = self.fc2(hidden if self.fc3 is None else hidden * self.fc3(x))
        return out


class EncoderBlock(nn.Module):
    """Attention, then the hidden layer, each of normalised tokens and added to them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm1, self.attn = norm(config.dim), SelfAttention(config)
        self.norm2, self.mlp = norm(config.dim), Mlp(config)

    def forward(self, x: Tensor, attend: Attend) -> Tensor:
        """The tokens a block later."""
        x = x + self.attn(self.norm1(x), attend)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class DecoderBlock(nn.Module):
    """Attention to each other, to the context, then the hidden layer."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm1, self.self_attn = norm(config.dim), SelfAttention(config)
        self.query_norm, self.context_norm, self.cross_attn = norm(config.dim), norm(config.dim), CrossAttention(config)
        self.norm2, self.mlp = norm(config.dim), Mlp(config)

    def forward(self, x: Tensor, context: Tensor, attend: Attend, look: Attend) -> Tensor:
        """The tokens a block later."""
        x = x + self.self_attn(self.norm1(x), attend)
        x = x + self.cross_attn(self.query_norm(x), self.context_norm(context), look)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]
