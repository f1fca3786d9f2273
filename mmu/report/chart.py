"""Charts as SVG: small, crisp at any size, in the page's own colours, so that they follow its light or dark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup, escape

Values = np.ndarray[Any, Any]

WIDE, HIGH = 360, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 42
_MOST_BINS, _LEAST_BINS = 40, 8
_MANY = 1000


@dataclass(frozen=True)
class Chart:
    """A drawing with its legend (label -> colour class) and the words below it."""

    svg: Markup
    title: str
    legend: tuple[tuple[str, str], ...] = ()
    caption: str = ""


class Axes:
    """The frame of a chart: from data to the drawing's units, with ticks at round numbers."""

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], x_label: str, y_label: str, log: bool = False
    ) -> None:
        self.x, self.y, self.log = x, y, log
        self.labels = x_label, y_label

    def at(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Data to drawing."""
        (x0, x1), (y0, y1) = self.x, self.y
        wide, high = WIDE - _LEFT - _RIGHT, HIGH - _TOP - _BOTTOM
        return _LEFT + (np.asarray(x) - x0) / (x1 - x0) * wide, HIGH - _BOTTOM - (np.asarray(y) - y0) / (y1 - y0) * high

    def frame(self) -> Markup:
        """Ticks, numbers and labels."""
        parts, (x_label, y_label) = [], self.labels
        bottom, right = HIGH - _BOTTOM, WIDE - _RIGHT
        for value in ticks(*self.y, 4):
            y = self.at(self.x[0], value)[1]
            parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>')
        for value in decades(*self.x) if self.log else ticks(*self.x, 5):
            x = self.at(value, self.y[0])[0]
            told = number(10**value if self.log else value)
            parts.append(f'<path class="axis" d="M{x:.1f} {bottom}v4"/>')
            parts.append(f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{told}</text>')
        parts.append(f'<path class="axis" d="M{_LEFT} {bottom}H{right}"/>')
        middle = (_LEFT + right) / 2
        parts.append(f'<text x="{middle}" y="{HIGH - 6}" text-anchor="middle">{escape(x_label)}</text>')
        x, y = 11, (_TOP + bottom) / 2
        turned = f'transform="rotate(-90 {x} {y})"'
        parts.append(f'<text x="{x}" y="{y}" text-anchor="middle" {turned}>{escape(y_label)}</text>')
        return Markup("".join(parts))


def drawing(title: str, words: str, *parts: Markup, high: int = HIGH) -> Markup:
    """An SVG with a title and a description for those who cannot see it."""
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}: {}">').format(WIDE, high, title, words)
    return head + Markup("").join(parts) + Markup("</svg>")


def histogram(
    title: str, axis: str, series: Mapping[str, Values], *, of: str = "", notes: str = "", log: bool = False
) -> Chart:
    """How the values of some series are distributed, on common bins; of many, what lies far outside is left out.

    Args:
        of: of which rows the values are.
        log: on a logarithmic axis; values that are not positive are left out.
    """
    if log:
        series = {name: np.log10(np.where(values > 0, values, np.nan)) for name, values in series.items()}
    series = {name: values[np.isfinite(values)] for name, values in series.items()}
    series = {name: values for name, values in series.items() if len(values)}
    everything = np.concatenate(list(series.values()))
    low, high = np.percentile(everything, [0.5, 99.5] if len(everything) > _MANY else [0, 100])
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    most = max(len(values) for values in series.values())
    edges = np.linspace(low, high, int(np.clip(np.sqrt(most) * 1.5, _LEAST_BINS, _MOST_BINS)) + 1)
    counts = {name: np.histogram(values, edges)[0] for name, values in series.items()}
    outside = len(everything) - int(sum(one.sum() for one in counts.values()))
    middles = {name: float(np.median(values)) for name, values in series.items()}
    words = ", ".join(f"{name} {number(10**middle if log else middle)}" for name, middle in middles.items())
    beyond = f"{outside:,} values lie beyond the axis." if outside else ""
    chart = steps(title, axis, counts, edges, words=f"medians: {words}", log=log)
    told = [f"{'Medians' if len(series) > 1 else 'Median'}: {words}.", f"Of {of}." if of else "", notes, beyond]
    return Chart(chart.svg, title, chart.legend, " ".join(one for one in told if one))


def steps(
    title: str,
    axis: str,
    counts: Mapping[str, Values],
    edges: Values,
    *,
    unit: str = "objects",
    words: str = "",
    expected: Mapping[str, Values] | None = None,
    log: bool = False,
) -> Chart:
    """Counts in bins as steps, and dashed what was expected in them; with `log` the edges are logarithms."""
    expected = expected or {}
    top = max((float(np.max(one)) for one in (*counts.values(), *expected.values())), default=0.0) or 1.0
    axes = Axes((float(edges[0]), float(edges[-1])), (0.0, top * 1.06), axis, unit, log)
    parts, legend = [axes.frame()], []
    for place, (name, values) in enumerate(counts.items()):
        x = np.repeat(edges, 2)
        y = np.r_[0, np.repeat(values, 2), 0]
        outline = path(*axes.at(x, y))
        fill = Markup('<path class="fill s{}" d="{}"/>').format(place % 8, outline) if len(counts) < 4 else Markup("")
        parts.append(fill + Markup('<path class="line s{}" d="{}"/>').format(place % 8, outline))
        legend.append((name, f"s{place % 8}"))
    for place, (name, values) in enumerate(expected.items()):
        middle = (edges[1:] + edges[:-1]) / 2
        number_of = (len(counts) + place) % 8
        parts.append(Markup('<path class="line dashed s{}" d="{}"/>').format(number_of, path(*axes.at(middle, values))))
        legend.append((name, f"s{number_of} dashed"))
    return Chart(drawing(title, words or axis, *parts), title, tuple(legend) if len(legend) > 1 else ())


def curve(title: str, axis: str, unit: str, x: Values, y: Values) -> Chart:
    """One thing that grows with another."""
    if len(x) > 400:
        keep = np.unique(np.linspace(0, len(x) - 1, 400).astype(int))
        x, y = x[keep], y[keep]
    axes = Axes((0.0, float(x[-1]) or 1.0), (0.0, float(y[-1]) * 1.06 or 1.0), axis, unit)
    outline = path(*axes.at(np.r_[0, np.repeat(x, 2)[1:], x[-1]], np.r_[0, np.repeat(y, 2)[:-1], y[-1]]))
    line = Markup('<path class="line s0" d="{}"/>').format(outline)
    words = f"{number(float(y[-1]))} {unit} after {number(float(x[-1]))} {axis}"
    return Chart(drawing(title, words, axes.frame(), line), title)


def lines(title: str, axis: str, unit: str, series: Mapping[str, tuple[Values, Values]]) -> Chart:
    """Several things that change with another, as losses do with steps; what is not known at all is left out."""
    series = {name: (x, y) for name, (x, y) in series.items() if len(x) and np.isfinite(y).all()}
    if not series:
        return Chart(drawing(title, "nothing is known"), title)
    xs, ys = (np.concatenate([pair[axis_] for pair in series.values()]) for axis_ in (0, 1))
    low, high = min(0.0, float(ys.min())), float(ys.max())
    axes = Axes((0.0, float(xs.max()) or 1.0), (low, high + 0.06 * (high - low) or 1.0), axis, unit)
    drawn = [
        Markup('<path class="line s{}" d="{}"/>').format(place % 8, path(*axes.at(x, y)))
        for place, (x, y) in enumerate(series.values())
    ]
    words = ", ".join(f"{name} {number(float(y[0]))} to {number(float(y[-1]))}" for name, (_, y) in series.items())
    legend = tuple((name, f"s{place % 8}") for place, name in enumerate(series))
    return Chart(drawing(title, words, axes.frame(), *drawn), title, legend if len(legend) > 1 else (), f"{words}.")


def path(x: Values, y: Values) -> str:
    """A line through points."""
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers between two values, about so many."""
    if not high > low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * one for one in (1, 2, 5, 10) if power * one >= rough * 0.999)
    first = np.ceil(low / step - 1e-9)
    return [float(step * i) for i in np.arange(first, np.floor(high / step + 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """Logarithms of round numbers between two logarithms."""
    for digits in ((1,), (1, 3), (1, 2, 5)):
        powers = np.arange(np.floor(low), np.ceil(high) + 1)
        found = sorted(float(power + np.log10(digit)) for power in powers for digit in digits)
        found = [value for value in found if low <= value <= high]
        if len(found) > 2:
            return found
    return ticks(low, high, 4)


def number(value: float) -> str:
    """A number as an axis shows it."""
    value = value + 0.0 if abs(value) > 1e-12 else 0.0  # no minus before a zero
    if value and (abs(value) >= 1e6 or abs(value) < 1e-3):
        return f"{value:.1e}".replace("e+0", "e").replace("e-0", "e−").replace("-", "−")
    return f"{value:,.4g}".replace("-", "−") if abs(value) < 1e4 else f"{value:,.0f}".replace("-", "−")
