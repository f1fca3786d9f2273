"""HEALPix cells as polygons on a map: of the whole sky (Mollweide), or of a field (gnomonic: as seen from Earth)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmu.sky import healpix
from mmu.sky.projection import EDGE, gnomonic, mollweide

if TYPE_CHECKING:
    from mmu.look.sky import View

Floats = NDArray[np.float64]

_PARALLELS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0)


def draw_cells(
    figure: Any, place: Any, view: View, order: int, pixels: Any, values: Any, label: str, levels: int = 0
) -> Any:
    """A map of cells coloured by value, on a new axis; with `levels`, values are whole numbers from 1 to that."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import BoundaryNorm

    axis = figure.add_subplot(place)
    cells, kept = polygons(view, order, pixels)
    shown = np.asarray(values, dtype=float)[kept]
    drawn: Any = PolyCollection(list(cells), array=shown, edgecolors="face", linewidths=0.2)
    drawn.set_cmap("cividis" if levels else "viridis")
    if levels:
        drawn.set_norm(BoundaryNorm(np.arange(levels + 1) + 0.5, 256))
    else:
        drawn.set_clim(0.0, float(shown.max(initial=0.0)) or 1.0)
    axis.add_collection(drawn, autolim=False)
    if view.wide:
        _whole_grid(axis, view)
    else:
        _field_grid(axis, view, healpix.max_radius_deg(order))
    ticks = range(1, levels + 1) if levels else None
    figure.colorbar(drawn, ax=axis, shrink=0.75, pad=0.02, aspect=22, ticks=ticks).set_label(label)
    return axis


def polygons(view: View, order: int, pixels: Any) -> tuple[Floats, NDArray[np.int64]]:
    """Corners of cells on the map (N, 4 x step, 2), and which cells they are.

    One that the edge of the whole sky cuts is there twice, once on each side; those beyond a field are left out.
    """
    lon, lat = healpix.corners(order, pixels, step=4)
    which = np.arange(len(lon))
    if not view.wide:
        points = np.stack(gnomonic(lon, lat, view.ra, view.dec), axis=-1)
        which = which[np.isfinite(points).all(axis=(1, 2))]
        return np.asarray(points[which]), which
    away = (lon - view.ra + 180.0) % 360.0 - 180.0
    cut = which[(away.max(axis=1, initial=-180.0) - away.min(axis=1, initial=180.0)) > 180.0]
    west, east = (np.where(side * away[cut] > 0, away[cut], side * EDGE) for side in (1, -1))
    away[cut] = west
    corners = np.concatenate([away, east]) + view.ra, np.concatenate([lat, lat[cut]])
    return np.stack(mollweide(*corners, view.ra), axis=-1), np.concatenate([which, cut])


def _whole_grid(axis: Any, view: View) -> None:
    """The ellipse, meridians and parallels, with their names along the equator and the western edge."""
    axis.set(xlim=(-2.9, 2.9), ylim=(-1.45, 1.45), aspect=1.0)
    axis.axis("off")
    line = {"color": "0.5", "linewidth": 0.4, "alpha": 0.6}
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.8}
    along = np.linspace(-90.0, 90.0, 91)
    for mark in range(-180, 181, 60):
        edge = abs(mark) == 180
        x, y = mollweide(np.full(91, view.ra + np.clip(mark, -EDGE, EDGE)), along, view.ra)
        axis.plot(x, y, **({"color": "0.2", "linewidth": 0.8} if edge else line))
        if not edge:
            axis.text(
                x[45], 0.02, f"{round((view.ra + mark) % 360.0)}°", fontsize=6, color="0.2", ha="center", bbox=box
            )
    for mark in range(-60, 61, 30):
        x, y = mollweide(view.ra + np.linspace(-EDGE, EDGE, 181), np.full(181, float(mark)), view.ra)
        axis.plot(x, y, **line)
        axis.text(x[-1] - 0.04, y[-1], f"{mark}°", fontsize=6, color="0.35", ha="right", va="center")


def _field_grid(axis: Any, view: View, margin: float) -> None:
    """Meridians and parallels round numbers apart, curved as they are, with their names at the edge; east is left."""
    half = np.degrees(np.tan(np.radians(view.extent / 2))) + 2 * margin
    step = next((one for one in _PARALLELS if 2 * half / one <= 5.5), 30.0)
    narrow = max(np.cos(np.radians(view.dec)), 0.05)
    step_ra = next((one for one in (*_PARALLELS, 45.0, 90.0) if 2 * half / narrow / one <= 5.5), 90.0)
    reach = 1.5 * half
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
    axis.set(xlim=(half, -half), ylim=(-half, half), aspect=1.0, xlabel="RA (deg)", ylabel="Dec (deg)")
