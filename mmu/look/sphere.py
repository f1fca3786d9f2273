"""HEALPix cells as polygons on a map: of the whole sky (Mollweide), or of a field (gnomonic: as seen from Earth)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmu.sky import healpix

if TYPE_CHECKING:
    from mmu.look.sky import View

Floats = NDArray[np.float64]

_PARALLELS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0)


def gnomonic(ra: Any, dec: Any, ra0: float, dec0: float) -> tuple[Floats, Floats]:
    """Degrees east and north on the plane that touches the sphere at a centre; NaN on the far side."""
    lon, lat = np.radians(np.asarray(ra, dtype=float) - ra0), np.radians(np.asarray(dec, dtype=float))
    middle = np.radians(dec0)
    cosine = np.sin(middle) * np.sin(lat) + np.cos(middle) * np.cos(lat) * np.cos(lon)
    near = np.where(cosine > 1e-3, cosine, np.nan)
    east = np.cos(lat) * np.sin(lon) / near
    north = (np.cos(middle) * np.sin(lat) - np.sin(middle) * np.cos(lat) * np.cos(lon)) / near
    return np.degrees(east), np.degrees(north)


def draw_cells(
    figure: Any, place: Any, view: View, order: int, pixels: Any, values: Any, label: str, levels: int = 0
) -> Any:
    """A map of cells coloured by value, on a new axis; with `levels`, values are whole numbers from 1 to that."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import BoundaryNorm

    axis = figure.add_subplot(place, projection="mollweide" if view.wide else None)
    norm = BoundaryNorm(np.arange(levels + 1) + 0.5, 256) if levels else None
    cells, kept = polygons(view, order, pixels)
    colours = {"cmap": "cividis" if levels else "viridis", "norm": norm, "edgecolors": "face", "linewidths": 0.2}
    drawn = PolyCollection(cells, array=np.asarray(values, dtype=float)[kept], **colours)
    axis.add_collection(drawn)
    (_whole_grid if view.wide else _field_grid)(axis, view, healpix.max_radius_deg(order))
    bar = figure.colorbar(
        drawn, ax=axis, shrink=0.75, pad=0.02, aspect=22, ticks=range(1, levels + 1) if levels else None
    )
    bar.set_label(label)
    if not levels:
        drawn.set_clim(0.0, float(np.max(values, initial=0.0)) or 1.0)
    return axis


def polygons(view: View, order: int, pixels: Any) -> tuple[Floats, NDArray[np.bool_]]:
    """Corners of cells on the map (N, 4 x step, 2), and which cells they are; those cut by its edge are left out."""
    lon, lat = healpix.corners(order, pixels, step=2 if view.wide else 4)
    if view.wide:
        x = -((lon - view.ra + 180.0) % 360.0 - 180.0)
        kept = np.ptp(x, axis=1) < 180.0 if len(x) else np.zeros(0, dtype=bool)
        return np.radians(np.stack([x, lat], axis=-1)[kept]), kept
    points = np.stack(gnomonic(lon, lat, view.ra, view.dec), axis=-1)
    kept = np.isfinite(points).all(axis=(1, 2))
    return points[kept], kept


def _whole_grid(axis: Any, view: View, _: float) -> None:
    marks = np.arange(-120, 121, 60)
    axis.set_xticks(np.radians(marks), [f"{(view.ra - mark) % 360.0:.0f}°" for mark in marks])
    axis.grid(alpha=0.3, linewidth=0.5)
    axis.set_axisbelow(False)


def _field_grid(axis: Any, view: View, margin: float) -> None:
    """Meridians and parallels round numbers apart, curved as they are, with their names at the edge; east is left."""
    half = np.degrees(np.tan(np.radians(view.extent / 2))) + margin
    axis.set(xlim=(half, -half), ylim=(-half, half), aspect=1.0, xlabel="RA (deg)", ylabel="Dec (deg)")
    step = next((one for one in _PARALLELS if view.extent / one <= 5.5), 30.0)
    narrow = max(np.cos(np.radians(view.dec)), 0.05)
    step_ra = next((one for one in (*_PARALLELS, 45.0, 90.0) if view.extent / narrow / one <= 5.5), 90.0)
    reach = 0.75 * view.extent
    decs = np.arange(np.ceil((view.dec - reach) / step), (view.dec + reach) / step) * step
    decs = decs[np.abs(decs) < 90.0]
    span = min(reach / narrow, 180.0)
    ras = np.arange(np.ceil((view.ra - span) / step_ra), (view.ra + span) / step_ra) * step_ra
    line = {"color": "0.5", "linewidth": 0.4, "alpha": 0.5}
    along_ra, along_dec = (
        np.linspace(-span, span, 181) + view.ra,
        np.clip(np.linspace(-reach, reach, 181) + view.dec, -90, 90),
    )
    xticks, yticks = {}, {}
    for ra in ras:
        x, y = gnomonic(np.full(181, ra), along_dec, view.ra, view.dec)
        axis.plot(x, y, **line)
        if np.nanmin(y) < -half < np.nanmax(y):
            xticks[float(np.interp(-half, y, x))] = f"{round(ra % 360.0, 6):g}"
    for dec in decs:
        x, y = gnomonic(along_ra, np.full(181, dec), view.ra, view.dec)
        axis.plot(x, y, **line)
        if np.nanmin(x) < half < np.nanmax(x):
            yticks[float(np.interp(half, x, y))] = f"{round(dec, 6):g}"
    axis.set_xticks(list(xticks), list(xticks.values()))
    axis.set_yticks(list(yticks), list(yticks.values()))
