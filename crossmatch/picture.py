"""The picture of a match: where on the sky its objects are, and how far apart the pairs, against chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from crossmatch.association import Association
from crossmatch.level import BINS
from mmu.sky import healpix

_CELLS_ACROSS = 60


def draw_match(association: Association, path: Path) -> Path | None:
    """Draw a match on disk; None where matplotlib, the `plot` extra, is not installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        return None
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = " x ".join(member.name for member in association.members)
    figure = plt.figure(figsize=(11, 4.2), layout="constrained")
    _draw_sky(figure, association)
    _draw_separations(figure.add_subplot(1, 2, 2), association)
    figure.suptitle(f"{names}: {association.rows:,} objects ({association.rule.how}, {association.rule.mode})")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.tmp")
    figure.savefig(unfinished, format="png", dpi=120, metadata={"Software": None})
    plt.close(figure)
    unfinished.replace(path)
    return path


def _draw_sky(figure: Any, association: Association) -> None:
    """Objects per square degree, in cells as fine as the objects can fill."""
    table = association.table(["ra", "dec"])
    ra, dec = table["ra"].to_numpy(), table["dec"].to_numpy()
    if not len(ra):
        axis = figure.add_subplot(1, 2, 1)
        axis.text(0.5, 0.5, "no objects", ha="center", transform=axis.transAxes)
        axis.set_axis_off()
        return
    middle = np.degrees(np.angle(np.exp(1j * np.radians(ra)).mean()))
    east = _east(ra, middle)
    extent = max(np.ptp(east) * np.cos(np.radians(dec.mean())), np.ptp(dec), 1e-3)
    wide = extent > 60.0
    middle = 30.0 * round(middle / 30.0) if wide else middle
    across = min(_CELLS_ACROSS, np.sqrt(len(ra)))
    order = int(np.clip(np.log2(58.6 * across / extent), 3, 14))
    cells, counts = np.unique(healpix.pixel(ra, dec, order), return_counts=True)
    density = counts * 12 * 4.0**order / (4 * np.pi * np.degrees(1) ** 2)
    axis = figure.add_subplot(1, 2, 1, projection="mollweide" if wide else None)
    drawn = _cells(axis, order, cells, density, middle, wide)
    if not wide:
        axis.set_xlim(middle + east.max() + 0.05 * extent, middle + east.min() - 0.05 * extent)
        axis.set_ylim(dec.min() - 0.05 * extent, dec.max() + 0.05 * extent)
        axis.set_aspect(1.0 / np.cos(np.radians(dec.mean())))
        axis.xaxis.set_major_formatter(lambda x, _: f"{x % 360.0:.6g}")
        axis.set_xlabel("RA (deg)")
        axis.set_ylabel("Dec (deg)")
    axis.grid(alpha=0.3)
    figure.colorbar(drawn, ax=axis, label="objects per sq deg", shrink=0.8)


def _east(ra: np.ndarray[Any, Any], middle: float) -> np.ndarray[Any, Any]:
    """Right ascension from a meridian, -180 to 180."""
    return np.asarray((ra - middle + 180.0) % 360.0 - 180.0)


def _cells(axis: Any, order: int, cells: np.ndarray[Any, Any], values: Any, middle: float, wide: bool) -> Any:
    """HEALPix cells as polygons, coloured by value; east is left."""
    import healpy
    from matplotlib.collections import PolyCollection

    corners = np.moveaxis(healpy.boundaries(1 << order, cells, step=2 if wide else 4, nest=True), 1, 2)
    lon, lat = np.degrees(np.arctan2(corners[..., 1], corners[..., 0])), np.degrees(np.arcsin(corners[..., 2]))
    x = _east(lon, middle)
    whole = np.ptp(x, axis=1) < 180.0
    points = np.stack([x, lat], axis=-1)[whole]
    points = np.radians(points * [-1.0, 1.0]) if wide else points + np.array([middle, 0.0])
    drawn = PolyCollection(points, array=np.asarray(values)[whole], cmap="viridis", edgecolors="face", linewidths=0.2)
    axis.add_collection(drawn)
    if wide:
        marks = np.arange(-120, 121, 60)
        axis.set_xticks(np.radians(marks), [f"{(middle - mark) % 360.0:.0f}°" for mark in marks])
    return drawn


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
