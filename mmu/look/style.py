"""How all pictures look, and how they are written: one style, one way to save."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmu.errors import UsageError

INK, FAINT, ACCENT, BAND, MARK, ABSORPTION = "#222222", "#d0d0d0", "#0072b2", "#8fc1e6", "#d55e00", "#00735c"
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d1f", "#000000")
"""Colours that can be told apart with any colour vision (Okabe & Ito 2008; its yellow, too light for lines, darker)."""
NOWHERE = "#7d8590"
"""What pixels without data are painted in."""

ENDINGS = ("png", "pdf", "svg")
WIDTH_INCH = 11.0
_DPI = 130
_NO_DATE: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
}


def style() -> dict[str, Any]:
    """matplotlib's settings for every picture."""
    from cycler import cycler

    return {
        "font.family": "DejaVu Sans",
        "font.size": 8.0,
        "axes.titlesize": 7.5,
        "axes.labelsize": 8.0,
        "axes.linewidth": 0.6,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.titlepad": 3.0,
        "axes.prop_cycle": cycler(color=PALETTE),
        "axes.formatter.limits": (-3, 5),
        "axes.formatter.use_mathtext": True,
        "figure.titlesize": 10.0,
        "figure.facecolor": "white",
        "xtick.labelsize": 7.0,
        "ytick.labelsize": 7.0,
        "xtick.direction": "in",
        "ytick.direction": "in",
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 3.0,
        "ytick.major.size": 3.0,
        "legend.fontsize": 7.0,
        "legend.frameon": False,
        "lines.linewidth": 0.8,
        "image.cmap": "viridis",
        "image.interpolation": "nearest",
        "svg.hashsalt": "mmu",
        "pdf.fonttype": 42,
    }


@contextmanager
def figure(path: Path, width: float, height: float, dpi: float = _DPI) -> Iterator[Any]:
    """A figure to draw on, in inches; it is written to `path` at the end of the block, whole or not at all.

    Raises:
        UsageError: matplotlib is not installed, or the path's ending is none of `ENDINGS`.
    """
    kind = picture_kind(path)
    try:
        from matplotlib import rc_context, rcdefaults, rcParams
        from matplotlib.figure import Figure
    except ImportError as problem:
        msg = "Pictures need matplotlib; install it with `pip install 'multimodal-universe[plot]'`."
        raise UsageError(msg) from problem
    with rc_context():
        rcdefaults()  # whatever the user's own settings, or those of a library, are
        rcParams.update(style())
        made = Figure(figsize=(width, height), layout="constrained")
        yield made
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.tmp")
        made.savefig(unfinished, format=kind, dpi=dpi, metadata=_NO_DATE[kind])
    unfinished.replace(path)


def picture_kind(path: Path) -> str:
    """The kind of picture that a path's ending names.

    Raises:
        UsageError: it names none that can be written.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ENDINGS:
        msg = f"{path}: a picture is written as .{', .'.join(ENDINGS)}; give the file one of these endings."
        raise UsageError(msg)
    return kind
