"""From the bands of an image to a fixed number of channels and back: nine fixed bands, or any with known filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.codecs.bands import NOISE, OWN, Band


def facts(bands: Sequence[Band], batch: int, own: Mapping[str, Tensor], device: torch.device) -> Tensor:
    """What is known of the bands of images, (batch, bands, facts).

    Args:
        own: what images tell of themselves, see `OWN`, (batch, bands); NaN or 0 for what is typical of the filter.
    """
    out = torch.tensor([band.facts() for band in bands], device=device).repeat(batch, 1, 1)
    for place, (name, unit) in enumerate(OWN.items(), start=-len(OWN)):
        if name in own:
            told = own[name].to(out)
            known = torch.isfinite(told) & (told > 0)
            out[..., place] = torch.where(known, (told / unit).log(), out[..., place])
    return out


class FixedBands(nn.Module):
    """Weights for each of the published bands; those that an image lacks are left out, and the sum is scaled up."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        linear = nn.Linear(before, after)
        self.weight, self.bias = nn.Parameter(linear.weight.detach()), nn.Parameter(linear.bias.detach())

    def forward(self, planes: Tensor, present: Tensor | None = None) -> Tensor:
        """(batch, before, rows, columns), which of them each image has (batch, before) -> (batch, after, ...)."""
        planes = planes.movedim(1, -1)
        if present is None:
            return F.linear(planes, self.weight, self.bias).movedim(-1, 1)
        scale = (present.shape[1] / present.sum(1)) ** 0.5
        out = scale[:, None, None, None] * F.linear(planes * present[:, None, None, :], self.weight, self.bias)
        return out.movedim(-1, 1)


class Weights(nn.Module):
    """Of the facts of a filter; in part straight from them, so that a fresh network tells filters apart at once."""

    def __init__(self, facts: int, hidden: int, count: int) -> None:
        super().__init__()
        first = nn.Linear(facts, hidden)
        self.bent = nn.Sequential(first, nn.SiLU(), nn.Linear(hidden, count))
        self.straight = nn.Linear(facts, count, bias=False)
        with torch.no_grad():
            # What it does to colours, a fresh network would have to unlearn.
            for layer in (first, self.straight):
                layer.weight[:, NOISE] = 0

    def forward(self, facts: Tensor) -> Tensor:
        """(..., facts) -> (..., count)."""
        return self.bent(facts) + self.straight(facts)  # type: ignore[no-any-return]


class AnyBands(nn.Module):
    """Weights for a band are made of its filter's facts, so a new survey needs no new parameters.

    Every pixel also says whether it is valid, through weights of its own.

    Args:
        channels: that bands are turned into.
    """

    FACTS = 6

    def __init__(self, channels: int, hidden: int = 64) -> None:
        super().__init__()
        self.channels = channels
        self.inwards, self.outwards = (
            Weights(self.FACTS, hidden, 2 * channels),
            Weights(self.FACTS, hidden, channels + 1),
        )
        self.bias = nn.Parameter(torch.zeros(channels))

    def join(self, planes: Tensor, valid: Tensor, facts: Tensor) -> Tensor:
        """(batch, bands, rows, columns), of which pixels are valid, -> (batch, channels, rows, columns)."""
        weights, validity = self.inwards(facts).chunk(2, dim=-1)
        both = torch.cat([planes, valid.to(planes)], dim=1)
        summed = torch.einsum("bkyx,bkc->bcyx", both, torch.cat([weights, validity], dim=1))
        present = valid.flatten(2).any(2).sum(1).clamp(min=1)
        return summed / present[:, None, None, None] ** 0.5 + self.bias[:, None, None]

    def part(self, channels: Tensor, facts: Tensor) -> Tensor:
        """(batch, channels, rows, columns) -> (batch, bands, rows, columns)."""
        weights = self.outwards(facts)
        planes = torch.einsum("bcyx,bkc->bkyx", channels, weights[..., :-1]) / self.channels**0.5
        return planes + weights[..., -1][..., None, None]  # type: ignore[no-any-return]
