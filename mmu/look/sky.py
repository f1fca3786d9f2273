"""Where datasets are on the sky: HEALPix density maps and the overlap of what they cover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmu.dataset import Dataset
from mmu.errors import UsageError
from mmu.look.style import WIDTH_INCH, figure
from mmu.schema.column import HEALPIX
from mmu.sky import healpix

Pixels = NDArray[np.int64]
Floats = NDArray[np.float64]

SPHERE_SQ_DEG = 4 * np.pi * np.degrees(1.0) ** 2
WIDE_DEG = 60.0
_FINEST, _COARSEST, _BATCH = 14, 3, 1 << 18
_CELLS_ACROSS, _USUAL = 60, 4


@dataclass(frozen=True)
class Density:
    """Objects of a dataset by HEALPix pixel (nested) of an order."""

    order: int
    pixels: Pixels
    counts: Pixels

    @property
    def objects(self) -> int:
        return int(self.counts.sum())

    @property
    def area(self) -> float:
        """Of the pixels that hold objects, square degrees."""
        return len(self.pixels) * cell_area(self.order)

    def at(self, order: int) -> Density:
        """The same at a coarser order."""
        pixels, inverse = np.unique(self.pixels >> (2 * (self.order - order)), return_inverse=True)
        return Density(order, pixels, np.bincount(inverse, self.counts).astype(np.int64))


def cell_area(order: int) -> float:
    """Of one pixel, square degrees."""
    return float(SPHERE_SQ_DEG / (12 * 4**order))


def area_text(area: float) -> str:
    """An area in words."""
    return f"{area:,.0f} sq deg" if area >= 100 else f"{area:.3g} sq deg"


def density_of(dataset: Dataset, order: int = _FINEST) -> Density:
    """Count a dataset's rows by pixel; only `_healpix_29`, else the positions, are read, a batch at a time."""
    keyed, (_, ra, dec) = HEALPIX.name in dataset.columns, dataset.keys
    found = Density(order, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    for batch in dataset.batches([HEALPIX.name] if keyed else [ra, dec], batch_rows=_BATCH):
        if keyed:
            cells = np.asarray(batch[HEALPIX.name], dtype=np.int64) >> (2 * (healpix.MAX_ORDER - order))
        else:
            good = healpix.valid(batch[ra], batch[dec])
            cells = healpix.pixel(batch[ra][good], batch[dec][good], order)
        pixels, counts = np.unique(cells, return_counts=True)
        joined = np.concatenate([found.pixels, pixels]), np.concatenate([found.counts, counts])
        pixels, inverse = np.unique(joined[0], return_inverse=True)
        found = Density(order, pixels, np.bincount(inverse, joined[1]).astype(np.int64))
    return found


@dataclass(frozen=True)
class View:
    """The part of the sky that a map shows: all of it, or a field round a centre (degrees)."""

    ra: float
    dec: float
    extent: float

    @property
    def wide(self) -> bool:
        return self.extent > WIDE_DEG


def view_of(densities: Sequence[Density]) -> View:
    """A circle round all pixels that hold objects, nearly the smallest; all of the sky if they are all round it."""
    centres = [healpix.centres(one.order, one.pixels) for one in densities]
    ra, dec = (np.concatenate(parts) for parts in zip(*centres, strict=True))
    vectors = healpix.unit_vectors(ra, dec)
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    middle = (low + high) / 2
    length = float(np.linalg.norm(middle))
    if length < 1e-6:
        return View(180.0, 0.0, 360.0)
    x, y, z = middle / length
    centre = float(np.degrees(np.arctan2(y, x)) % 360), float(np.degrees(np.arcsin(np.clip(z, -1, 1))))
    reach = float(healpix.separation_deg(ra, dec, *centre).max())
    extent = max(2.1 * reach, 0.01)
    return View(30.0 * round(centre[0] / 30.0), 0.0, 360.0) if extent > WIDE_DEG else View(*centre, extent)


def order_of(view: View, objects: int) -> int:
    """As fine as the map can show and the objects can fill."""
    across = min(_CELLS_ACROSS, np.sqrt(objects / _USUAL) + 1)
    return int(np.clip(np.rint(np.log2(58.6 * across / min(view.extent, 180.0))), _COARSEST, _FINEST - 2))


@dataclass(frozen=True)
class Coverage:
    """What is on the sky of several datasets, all at one order."""

    view: View
    densities: Mapping[str, Density]

    @property
    def order(self) -> int:
        return next(iter(self.densities.values())).order

    def shared(self, *names: str) -> float:
        """Square degrees of the pixels in which all these datasets have objects."""
        common = self.densities[names[0]].pixels
        for name in names[1:]:
            common = np.intersect1d(common, self.densities[name].pixels)
        return len(common) * cell_area(self.order)

    def depth(self) -> tuple[Pixels, Pixels]:
        """Pixels that any dataset covers, and how many do."""
        return np.unique(np.concatenate([one.pixels for one in self.densities.values()]), return_counts=True)


def coverage_of(datasets: Mapping[str, Dataset], order: int | None = None) -> Coverage:
    """Count the objects of datasets by pixel of an order, one that suits them if it is not given.

    Raises:
        UsageError: there is no object in any of them, or the order is out of range.
    """
    if order is not None and not 0 <= order <= _FINEST:
        raise UsageError(f"A map of order {order} cannot be drawn; give an order of 0 to {_FINEST}.")
    found = {name: density_of(dataset) for name, dataset in datasets.items()}
    full = [one for one in found.values() if one.objects]
    if not full:
        raise UsageError(f"There is nothing to show: {', '.join(datasets) or 'no dataset'} without any object.")
    view = view_of(full)
    chosen = order_of(view, max(one.objects for one in full)) if order is None else order
    return Coverage(view, {name: one.at(chosen) for name, one in found.items()})


def draw_sky(datasets: Mapping[str, Dataset], path: Path, order: int | None = None) -> Path:
    """Density maps of datasets, and of several also how many cover each part of the sky.

    Args:
        datasets: name -> dataset.
        path: where the picture goes; .png, .pdf or .svg.
        order: HEALPix order of the maps; one that suits them if not given.

    Raises:
        UsageError: no dataset has an object; matplotlib is missing; an unknown ending.
    """
    return draw_coverage(coverage_of(datasets, order), path)


def draw_coverage(coverage: Coverage, path: Path) -> Path:
    """The picture of what `coverage_of` found."""
    from mmu.look.sphere import draw_cells

    names = list(coverage.densities)
    count = len(names) + (len(names) > 1)
    wide = coverage.view.wide
    columns = count if count < 3 else 2 if wide or count == 4 else 3
    rows = -(-count // columns)
    width = WIDTH_INCH if columns > 1 else 7.0
    high = width / columns * (0.45 if wide else 0.8) + 0.3
    with figure(path, width, high * rows + 0.4) as made:
        grid = made.add_gridspec(rows, columns)
        for number, (name, one) in enumerate(coverage.densities.items()):
            place = grid[number // columns, number % columns]
            values = one.counts / cell_area(one.order)
            axis = draw_cells(made, place, coverage.view, one.order, one.pixels, values, "objects per sq deg")
            axis.set_title(f"{name}: {one.objects:,} objects, {area_text(one.area)}")
        if len(names) > 1:
            place = grid[(count - 1) // columns, (count - 1) % columns]
            pixels, depth = coverage.depth()
            axis = draw_cells(made, place, coverage.view, coverage.order, pixels, depth, "datasets", len(names))
            axis.set_title(f"overlap: {area_text(coverage.shared(*names))} in all {len(names)}")
        made.suptitle(f"HEALPix order {coverage.order}, cells of {area_text(cell_area(coverage.order))}")
    return path
