"""The points of light curves: checked, in one order whatever theirs was, those that tell nothing set apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmu.errors import UsageError
from training.codecs.passbands import Passband, facts

WHITE = ("white",)
"""The band of light curves that name none."""
PRECISE = 1e-4
"""Relative error that fluxes have at least."""


class Points(NamedTuple):
    """Points in the order of their times, (batch, points) each but for `facts`, (batch, points, 2), of their bands.

    Attributes:
        time: days after the first that is valid. error: standard, of the flux; 1 where it is not valid.
    """

    time: Tensor
    flux: Tensor
    error: Tensor
    facts: Tensor
    valid: Tensor


def sorted_points(
    time: Any,
    flux: Any,
    flux_err: Any,
    band: Any = None,
    bands: Sequence[Passband] = WHITE,
    hidden: Any = None,
    device: torch.device | None = None,
) -> tuple[Points, Tensor]:
    """Checked, copied and sorted, those that are no points at the end; and which of them are hidden.

    Raises:
        UsageError: shapes that do not agree, an unknown band.
    """
    days, fluxes, errors = (
        doubles(name, values).to(device) for name, values in (("time", time), ("flux", flux), ("flux_err", flux_err))
    )
    if days.ndim != 2 or fluxes.shape != days.shape or errors.shape != days.shape:
        shapes = ", ".join(str(tuple(values.shape)) for values in (days, fluxes, errors))
        raise UsageError(f"time, flux and flux_err have the shapes {shapes}; give (light curves, points) of each.")
    if not days.shape[1]:
        days, fluxes, errors = (torch.full((len(days), 1), torch.nan, dtype=torch.double, device=device),) * 3
        band, hidden = None if band is None else np.full((len(days), 1), -1), None
    if band is None and len(bands) > 1:
        raise UsageError(f"{len(bands)} bands were named, but not which of them each point is of; give band.")
    known = torch.tensor(facts(bands), device=device)
    which = indices(0 if band is None else band, days.shape, len(bands)).to(device)
    unseen = torch.zeros_like(which, dtype=torch.bool) if hidden is None else torch.as_tensor(np.array(hidden, bool))
    told = known[which.clamp(min=0)]
    finite = torch.isfinite(days) & torch.isfinite(fluxes) & torch.isfinite(errors)
    valid = finite & (errors > 0) & (which >= 0)
    columns = [torch.where(valid, days, torch.inf), told[..., 0].double(), fluxes, errors, unseen.double()]
    order = _order(columns)
    days, fluxes, errors, valid, unseen = (
        values.gather(1, order) for values in (columns[0], fluxes, errors, valid, unseen.to(device))
    )
    told = told.gather(1, order[..., None].expand(-1, -1, 2))
    days = torch.where(valid, days - days[:, :1], 0.0)
    fluxes = torch.where(valid, fluxes, 0.0)
    errors = torch.where(valid, torch.maximum(errors, PRECISE * fluxes.abs()), 1.0)
    return Points(days.float(), fluxes.float(), errors.float(), told, valid), unseen


def _order(columns: Sequence[Tensor]) -> Tensor:
    """Indices that sort rows by several columns (batch, points), the first counting most."""
    order = torch.arange(columns[0].shape[1], device=columns[0].device).expand(columns[0].shape)
    for column in reversed(columns):
        order = order.gather(1, column.nan_to_num().gather(1, order).argsort(dim=1, stable=True))
    return order


def doubles(name: str, values: Any) -> Tensor:
    """As `codec.whole`, but of double precision, which days since 1858 need, and NaN where an array is masked."""
    if isinstance(values, Tensor):
        return values.detach().double()
    array = (
        np.ma.filled(np.ma.asarray(values, np.float64), np.nan) if np.ma.isMaskedArray(values) else np.asarray(values)
    )
    if array.dtype.kind not in "fiub":
        raise UsageError(f"{name} is an array of {array.dtype}; give numbers.")
    return torch.from_numpy(np.array(array, np.float64))


def indices(band: Any, shape: Sequence[int], count: int) -> Tensor:
    """Which of the bands each point is of, (batch, points).

    Raises:
        UsageError: they are no whole numbers below `count`, or of another shape.
    """
    found = band if isinstance(band, Tensor) else torch.from_numpy(np.array(band))
    if found.is_floating_point() or found.is_complex() or (found.numel() and int(found.max()) >= count):
        raise UsageError(
            f"band must be whole numbers below {count}, the number of bands; negative where there is none."
        )
    if found.ndim not in (0, len(shape)) or (found.ndim and tuple(found.shape) != tuple(shape)):
        raise UsageError(f"band has the shape {tuple(found.shape)}; {tuple(shape)} was expected.")
    return found.long().expand(tuple(shape))
