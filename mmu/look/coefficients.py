"""Spectra that are stored as coefficients of basis functions (Gaia's XP): sampled where that can be done, else as such.

How coefficients become flux is the survey's to know: a survey folder with coefficients has a module `sample`, whose
`sample(records)` gives flux and error on its `DEFAULT_NM`. It may need a library that is not installed.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import numpy as np

from mmu.errors import MmuError
from mmu.look.panel import Panel
from mmu.look.spectrum import Spectrum, spectrum_panel
from mmu.look.style import PALETTE
from mmu.look.subject import Subject


def coefficient_panels(subject: Subject, name: str, title: str, large: bool) -> list[Panel]:
    """The sampled spectrum, or the coefficients over their errors."""
    size = (12, 4) if large else (6, 2)
    sampled = sample(subject)
    if sampled is not None:
        return [spectrum_panel(sampled, size, title, large)]
    return [Panel(*size, partial(draw_coefficients, subject=subject, name=name, title=title, large=large))]


def sample(subject: Subject) -> Spectrum | None:
    """The spectrum, if the survey can sample it here."""
    from matplotlib import rc_context

    from mmu.survey import get_survey

    one = {name: np.asarray(value)[None] for name, value in subject.record.items() if not isinstance(value, dict)}
    try:
        sampler = importlib.import_module(f"{get_survey(subject.survey).module}.sample")
        with rc_context():  # GaiaXPy changes matplotlib's settings when it is imported
            flux, error = sampler.sample(one)
    except (MmuError, ImportError):
        return None
    good = np.isfinite(flux[0])
    return Spectrum(
        np.asarray(sampler.DEFAULT_NM, dtype=np.float64), flux[0], error[0], good, "W m⁻² nm⁻¹", "nm", smooth=True
    )


def draw_coefficients(axis: Any, subject: Subject, name: str, title: str = "", large: bool = True) -> None:
    """Coefficients over their errors: BP and then RP, which are halves of one array, by their number."""
    values = np.asarray(subject.record[name], dtype=np.float64)
    error = subject.record.get(f"{name}_error")
    shown = values if error is None else values / np.where(np.asarray(error) > 0, np.asarray(error), np.nan)
    halves = {"BP": shown[: len(shown) // 2], "RP": shown[len(shown) // 2 :]}
    parts = halves if "bp_n_relevant_bases" in subject.fields else {"": shown}
    for number, (label, part) in enumerate(parts.items()):
        across = np.arange(len(part)) + 0.12 * (2 * number - len(parts) + 1)
        axis.vlines(across, 0, part, color=PALETTE[number], linewidth=1.0)
        axis.plot(across, part, "o", color=PALETTE[number], markersize=2.0, label=label or None)
    axis.set_yscale("symlog", linthresh=3.0)
    axis.axhspan(-1, 1, color="0.9", zorder=0, linewidth=0)
    axis.set_title(title, loc="left")
    axis.set_xlabel("basis function")
    unit = subject.facts(name).get("unit", "")
    axis.set_ylabel("coefficient / its error" if error is not None else f"coefficient ({unit})")
    if len(parts) > 1:
        axis.legend(loc="upper right", ncols=2)
