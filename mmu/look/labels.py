"""Catalogues: how the values of a few of their columns are distributed, and where single objects stand in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from mmu.dataset import Dataset
from mmu.look.panel import Panel
from mmu.look.style import ACCENT, MARK
from mmu.look.subject import Subject, class_names, facts

_IDENTITY = ("_healpix_29", "object_id", "ra", "dec")
_MOST, _CLASSES, _BINS, _DECADES = 12, 24, 40, 2.5


def telling(fields: Iterable[pa.Field], most: int = _MOST) -> list[str]:
    """Columns of numbers with a unit or a meaning, no ids and no errors; in their order.

    Where no column says what it is, as in catalogues of others, all numbers that are no ids and no errors.
    """
    chosen: list[str] = []
    silent: list[str] = []
    for field in fields:
        number = pa.types.is_floating(field.type) or (pa.types.is_integer(field.type) and field.type.bit_width <= 32)
        told, name = facts(field), field.name.lower()
        dull = "err" in name or "ivar" in name or "pixel" in told.get("unit", "") or "row in" in told.get("meaning", "")
        if number and not dull and field.name not in _IDENTITY:
            (chosen if told.get("unit") or told.get("meaning") else silent).append(field.name)
    return (chosen or silent)[:most]


def label_panels(dataset: Dataset, ids: Sequence[str] = ()) -> list[Panel]:
    """A histogram of each column worth it; lines mark the objects of `ids`."""
    names = [name for name in telling(dataset.schema) if name not in dataset.keys]
    table = dataset.table(names)
    rows = np.flatnonzero(np.isin(np.array(dataset.ids(), dtype=str), list(ids))) if ids else slice(0)
    drawn = []
    for name in names:
        values = table[name].to_numpy().astype(np.float64)
        if np.isfinite(values).any():
            field = dataset.schema.field(name)
            drawn.append(Panel(4, 3, partial(draw_distribution, field=field, values=values, marked=values[rows])))
    return drawn


def draw_distribution(axis: Any, field: pa.Field, values: Any, marked: Any = ()) -> None:
    """Counts of a column's values: bars of classes, else a histogram, logarithmic where it spans decades."""
    told, seen = facts(field), values[np.isfinite(values)]
    unit = f" ({told['unit']})" if told.get("unit") else ""
    distinct = np.unique(seen)
    if pa.types.is_integer(field.type) and len(distinct) <= _CLASSES:
        draw_classes(axis, told.get("meaning", ""), seen)
    else:
        positive = seen[seen > 0]
        decades = np.log10(positive.max() / positive.min()) if len(positive) > 0.9 * len(seen) else 0.0
        if decades > _DECADES:
            axis.set_xscale("log")
            low, high = np.percentile(positive, [0.1, 99.9])
            edges = np.geomspace(0.999 * low, 1.001 * high, _BINS + 1)
        else:
            low, high = np.percentile(seen, [0.1, 99.9])
            edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
        axis.hist(np.clip(seen, edges[0], edges[-1]), edges, color=ACCENT, alpha=0.75)
        axis.set_xlabel(f"{field.name}{unit}")
        axis.set_ylabel("objects")
    for one in marked[np.isfinite(marked)] if len(marked) else ():
        axis.axvline(one, color=MARK, linewidth=1.2, gid="marked")
    axis.set_title(_short(told.get("meaning", "")) or field.name, loc="left")


def draw_classes(axis: Any, meaning: str, seen: Any) -> None:
    """A bar a class, under its name where the column's meaning lists them as `0 NAME, 1 NAME`."""
    classes, counts = np.unique(seen.astype(int), return_counts=True)
    named = class_names(meaning)
    axis.barh(classes, counts, color=ACCENT, alpha=0.75)
    axis.set_yticks(classes, [named.get(int(one), str(one)) for one in classes])
    axis.invert_yaxis()
    axis.set_xlabel("objects")


def _short(meaning: str, most: int = 46) -> str:
    words = re.split(r"[:;(]", meaning)[0].strip()
    return words if len(words) <= most else words[: most - 1].rsplit(" ", 1)[0] + "…"


def value_panel(subject: Subject, title: str) -> Panel:
    """What a catalogue says of one object, in words."""
    return Panel(6, 3, partial(draw_values, subject=subject, title=title))


def draw_values(axis: Any, subject: Subject, title: str = "") -> None:
    """Names, values and units of the telling columns."""
    axis.axis("off")
    axis.set_title(title, loc="left")
    known = [subject.fields[one] for one in subject.record if one in subject.fields]
    told = [name for name in telling(known, len(known)) if np.isfinite(subject.number(name))]
    for number, name in enumerate(told[:_MOST]):
        unit = subject.facts(name).get("unit", "")
        down = 0.94 - 0.082 * number
        axis.text(0.02, down, name, transform=axis.transAxes, fontsize=7, color="0.35")
        axis.text(0.5, down, f"{subject.number(name):.5g} {unit}", transform=axis.transAxes, fontsize=7)
