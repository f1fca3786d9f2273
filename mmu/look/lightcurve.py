"""Light curves: flux against time with error bars, a colour a band."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from mmu.look import colour
from mmu.look.panel import Panel
from mmu.look.style import PALETTE
from mmu.look.subject import Subject


def lightcurve_panels(subject: Subject, name: str, title: str, large: bool) -> list[Panel]:
    """One wide panel; none if there is no epoch."""
    if not len(subject.record[name]["time"]):
        return []
    size = (12, 4) if large else (6, 2)
    return [Panel(*size, partial(draw_lightcurve, subject=subject, name=name, title=title))]


def draw_lightcurve(axis: Any, subject: Subject, name: str, title: str = "") -> None:
    """Every epoch with a finite flux; bands from blue to red."""
    value = subject.record[name]
    time, flux = (np.asarray(value[member], dtype=np.float64) for member in ("time", "flux"))
    error = np.asarray(value["flux_err"], dtype=np.float64) if "flux_err" in value else np.zeros(len(time))
    band = np.asarray(value.get("band", [""] * len(time)), dtype=str)
    present = list(dict.fromkeys(band.tolist()))
    for number, index in enumerate(colour.order(present)):
        here = (band == present[index]) & np.isfinite(time) & np.isfinite(flux)
        axis.errorbar(
            time[here], flux[here], np.nan_to_num(error[here]), color=PALETTE[number % len(PALETTE)], fmt="o",
            markersize=2.5, elinewidth=0.6, label=present[index] or None,
        )  # fmt: skip
    axis.axhline(0.0, color="0.7", linewidth=0.5, zorder=0)
    axis.set_title(title, loc="left")
    axis.set_xlabel(f"time ({subject.facts(name, 'time').get('unit') or 'unit not told'})")
    axis.set_ylabel(f"flux ({subject.facts(name, 'flux').get('unit') or 'unit not told'})")
    if any(present):
        axis.legend(ncols=min(len(present), 6))
