"""Panels, and how they are laid out: each has a size in cells of a page twelve cells wide, and draws itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

COLUMNS = 12


@dataclass(frozen=True)
class Panel:
    """One axis of a figure: its size in cells, and what draws on it."""

    width: int
    height: int
    draw: Callable[[Any], None]


def places(panels: Sequence[Panel], columns: int = COLUMNS) -> tuple[list[tuple[int, int]], int]:
    """Where each panel's upper left cell is (row, column), first fit; and how many rows there are."""
    taken = np.zeros((0, columns), dtype=bool)
    found = []
    for panel in panels:
        wide = min(panel.width, columns)
        row, column = 0, 0
        while True:
            if row + panel.height > len(taken):
                taken = np.vstack([taken, np.zeros((panel.height, columns), dtype=bool)])
            if not taken[row : row + panel.height, column : column + wide].any():
                break
            row, column = (row, column + 1) if column + wide < columns else (row + 1, 0)
        taken[row : row + panel.height, column : column + wide] = True
        found.append((row, column))
    used = int(np.flatnonzero(taken.any(axis=1)).max(initial=-1)) + 1
    return found, used


def lay_out(figure: Any, panels: Sequence[Panel], columns: int = COLUMNS) -> None:
    """Draw panels on a figure, or a part of one."""
    found, high = places(panels, columns)
    grid = figure.add_gridspec(max(high, 1), columns)
    for panel, (row, column) in zip(panels, found, strict=True):
        wide = min(panel.width, columns)
        panel.draw(figure.add_subplot(grid[row : row + panel.height, column : column + wide]))
