"""The picture of a match: where on the sky its objects are, and how far apart the pairs, against chance."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from crossmatch.association import Association
from crossmatch.level import BINS


def draw_match(association: Association, path: Path) -> Path | None:
    """Draw a match on disk; None where matplotlib, the `plot` extra, is not installed."""
    if find_spec("matplotlib") is None:
        return None
    from mmu.look.style import figure

    names = " x ".join(member.name for member in association.members)
    with figure(path, 11.0, 4.2) as made:
        grid = made.add_gridspec(1, 2)
        _draw_sky(made, grid[0], association)
        _draw_separations(made.add_subplot(grid[1]), association)
        made.suptitle(f"{names}: {association.rows:,} objects ({association.rule.how}, {association.rule.mode})")
    return path


def _draw_sky(figure: Any, place: Any, association: Association) -> None:
    """Objects per square degree, in cells as fine as the objects can fill."""
    from mmu.look.sky import cell_area, coverage_of
    from mmu.look.sphere import draw_cells

    if not association.rows:
        axis = figure.add_subplot(place)
        axis.text(0.5, 0.5, "no objects", ha="center", transform=axis.transAxes)
        axis.set_axis_off()
        return
    coverage = coverage_of({"": association.dataset})
    one = coverage.densities[""]
    draw_cells(
        figure, place, coverage.view, one.order, one.pixels, one.counts / cell_area(one.order), "objects per sq deg"
    )


def _draw_separations(axis: Any, association: Association) -> None:
    """All pairs within the radius by separation, and what chance would give: in proportion to the separation."""
    radius = association.rule.radius_arcsec
    edges = np.linspace(0.0, radius, BINS + 1)
    for number, (member, tally) in enumerate(list(zip(association.members, association.tallies, strict=True))[1:]):
        colour = f"C{number}"
        axis.stairs(tally.histogram, edges, color=colour, fill=True, alpha=0.35)
        axis.stairs(tally.histogram, edges, color=colour, label=f"{member.name}: {tally.pairs:,} pairs")
        chance = tally.chance * (edges[1:] ** 2 - edges[:-1] ** 2) / radius**2
        label = f"{member.name}: {tally.chance:,.1f} by chance"
        axis.plot((edges[1:] + edges[:-1]) / 2, chance, color=colour, linestyle="--", label=label)
    axis.set_xlabel("separation (arcsec)")
    axis.set_ylabel(f"pairs per {radius / BINS:.3g} arcsec")
    axis.set_xlim(0.0, radius)
    axis.legend(fontsize=8, frameon=False)
