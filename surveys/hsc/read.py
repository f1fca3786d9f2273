"""One unit's files -> records: five whole coadds of a patch, or the cutouts of some of its objects; the same records.

A file is read at a time, each once; catalogue columns were carried along from the query.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmu import stamps
from mmu.fits import fits_of_bytes, open_fits
from mmu.schema import arrow_field, table_of
from mmu.survey import Paths, Records, Release
from surveys.hsc.archive import CUTOUTS, calexp_path
from surveys.hsc.columns import BANDS, CATALOGUE, PLANES, SCALE, SIZE
from surveys.hsc.cutouts import read_tar
from surveys.hsc.planes import Planes, inverse, on_tract, read_planes, standard_bits, usable

NO_BAND = "no band has an image upstream"
OUTSIDE = "no image reaches its position"
LARGEST_BYTES = 8 * 4200**2
"""A plane has 4200 x 4200 pixels of 4 bytes."""
FWHM_PER_SIGMA = 2.355

Rows = slice
Share = tuple[int, Rows, Planes]
"""A band, the objects that a file is for, and what it holds while it is open."""


@dataclass
class Stack:
    """Stamps of N objects in the five bands, filled file by file; no data where no file reached.

    Attributes:
        flux, ivar: counts and their inverse variance, float32 (N, 5, 160, 160).
        bits: mask planes, int32 (N, 5, 160, 160).
        present: which objects have an image in which band, (N, 5).
    """

    rows: pa.Table
    flux: NDArray[np.float32] = field(init=False)
    ivar: NDArray[np.float32] = field(init=False)
    bits: NDArray[np.int32] = field(init=False)
    present: NDArray[np.bool_] = field(init=False)
    _starts: dict[tuple[float, ...], stamps.Starts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.rows), len(BANDS), SIZE, SIZE)
        self.flux, self.ivar = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.bits = np.full(shape, 1 << PLANES["NO_DATA"], np.int32)
        self.present = np.zeros(shape[:2], bool)

    def starts(self, planes: Planes, which: Rows) -> stamps.Starts:
        """First column and row of some objects' stamps in a file."""
        if planes.projection not in self._starts:
            place = on_tract(planes.projection, self.rows["ra"].to_numpy(), self.rows["dec"].to_numpy())
            self._starts[planes.projection] = stamps.stamp_starts(place, SIZE)
        return self._starts[planes.projection][which] - planes.corner

    def fill(self, band: int, which: Rows, planes: Planes) -> None:
        """Cut the stamps of some objects from the planes of a file."""
        starts, (height, width) = self.starts(planes, which), planes.image.shape
        reached = ((starts > -SIZE) & (starts < [width, height])).all(axis=1)
        if not reached.any():
            return
        self.present[which, band] |= reached
        first = np.maximum(starts[reached].min(axis=0), 0)
        last = starts[reached].max(axis=0) + SIZE
        window = slice(first[1], last[1]), slice(first[0], last[0])
        stamps.cut(planes.image[window], starts - first, self.flux[which, band])
        stamps.cut(inverse(planes.variance[window]), starts - first, self.ivar[which, band])
        stamps.cut(standard_bits(planes.mask[window], planes.planes), starts - first, self.bits[which, band])


def read(release: Release, unit: str, paths: Paths, rows: pa.Table) -> Records:
    """Records of the objects `rows` of a unit."""
    stack = Stack(rows)
    sources = _cutouts(paths, rows) if CUTOUTS in unit else _patch(release, unit, paths, len(rows))
    found = False
    for band, which, planes in sources:
        found = True
        stack.fill(band, which, planes)
    for band in range(len(BANDS)):
        stamps.clean(stack.flux[:, band], stack.ivar[:, band])
    reason = OUTSIDE if found else NO_BAND
    lost = np.flatnonzero(~stack.present.any(axis=1))
    excluded = dict.fromkeys(rows["object_id"].take(pa.array(lost)).to_pylist(), reason)
    return Records(_table(release, stack), excluded)


def _patch(release: Release, unit: str, paths: Paths, count: int) -> Iterator[Share]:
    """The coadds of a patch that the archive has, each for all objects."""
    for band, letter in enumerate(BANDS):
        path = paths.get(calexp_path(release.facts, unit, letter))
        if path is not None:
            with open_fits(path, LARGEST_BYTES) as file:
                yield band, slice(0, count), read_planes(file)


def _cutouts(paths: Paths, rows: pa.Table) -> Iterator[Share]:
    """The cutouts that the archive has, each for its object."""
    (path,) = paths.values()
    names = {
        f"{name}-HSC-{letter.upper()}.fits": (band, slice(row, row + 1))
        for row, name in enumerate(rows["object_id"].to_pylist())
        for band, letter in enumerate(BANDS)
    }
    for name, content in read_tar(path, names):
        with fits_of_bytes(f"{path.name}/{name}", content, LARGEST_BYTES) as file:
            yield *names[name], read_planes(file)


def _table(release: Release, stack: Stack) -> pa.Table:
    """The records of the objects that have an image, those with the same bands together."""
    patterns, pattern = np.unique(stack.present, axis=0, return_inverse=True)
    tables = [pa.schema([arrow_field(column) for column in release.schema]).empty_table()]
    for number, bands in enumerate(patterns):
        if bands.any():
            index = np.flatnonzero(pattern.reshape(-1) == number)
            tables.append(table_of(release.schema, _values(stack, index, np.flatnonzero(bands))))
    return pa.concat_tables(tables)


def _values(stack: Stack, index: NDArray[np.intp], bands: NDArray[np.intp]) -> dict[str, Any]:
    """Every column of some objects that have the same bands."""
    whole = len(index) == len(stack.rows) and len(bands) == len(BANDS)
    some = np.ix_(index, bands)
    flux, ivar = (values if whole else values[some] for values in (stack.flux, stack.ivar))
    bits = stack.bits if whole else stack.bits[some]
    rows = stack.rows.take(pa.array(index))
    letters = [BANDS[band] for band in bands]
    image = {
        "band": np.tile(np.array([f"hsc-{letter}" for letter in letters]), (len(index), 1)),
        "flux": flux,
        "ivar": ivar,
        "mask": np.stack([usable(bits[:, place], ivar[:, place]) for place in range(len(bands))], axis=1),
        "psf_fwhm": np.stack([psf_fwhm(rows, letter) for letter in letters], axis=1),
        "scale": np.full((len(index), len(bands)), SCALE, np.float32),
    }
    names = ["object_id", "ra", "dec", *(column.name for column in CATALOGUE)]
    return {**{name: rows[name] for name in names}, "image": image, "image_maskbits": bits}


def psf_fwhm(rows: pa.Table, band: str) -> NDArray[np.float32]:
    """Full width at half maximum of the PSF (arcsec) from its second moments; 0 where it was not measured."""
    xx, yy, xy = (rows[f"{band}_sdssshape_psf_shape{which}"].to_numpy().astype(np.float64) for which in (11, 22, 12))
    area = np.nan_to_num(xx * yy - xy**2, nan=0.0, posinf=0.0)
    return np.asarray(FWHM_PER_SIGMA * np.maximum(area, 0.0) ** 0.25, dtype=np.float32)
