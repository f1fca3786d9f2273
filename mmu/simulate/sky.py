"""The simulated sky: one seeded truth that every simulated survey looks at.

The objects of a HEALPix cell come from the seed and the cell's number alone, so any area can be asked for
at a cost proportional to it, and the answer does not depend on how it was asked. Objects exist inside the
fields only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import healpy as hp
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mmu.simulate.population import OBJECT, ORDER, UNITS, cell_objects

Objects = npt.NDArray[np.void]
Floats = npt.NDArray[np.float64]


def separation_deg(ra: npt.ArrayLike, dec: npt.ArrayLike, ra0: float, dec0: float) -> Floats:
    """Angle on the sky in degrees between positions and one point, all in degrees."""
    a, d, d0 = np.deg2rad(np.asarray(ra) - ra0), np.deg2rad(np.asarray(dec)), np.deg2rad(dec0)
    haversine = np.sin((d - d0) / 2) ** 2 + np.cos(d) * np.cos(d0) * np.sin(a / 2) ** 2
    return np.asarray(np.rad2deg(2 * np.arcsin(np.sqrt(haversine))))


@dataclass(frozen=True)
class Field:
    """A round patch of sky that holds objects: centre (ICRS degrees) and radius (degrees)."""

    name: str
    ra: float
    dec: float
    radius_deg: float

    def __post_init__(self) -> None:
        if not (0 <= self.ra < 360 and abs(self.dec) <= 90 and 0 < self.radius_deg <= 10):
            msg = (
                f"field {self.name!r}: got ra={self.ra}, dec={self.dec}, radius_deg={self.radius_deg}; "
                "allowed are 0 <= ra < 360, -90 <= dec <= 90 and 0 < radius_deg <= 10"
            )
            raise ValueError(msg)

    def contains(self, ra: npt.ArrayLike, dec: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Which positions (degrees) lie inside."""
        return np.asarray(separation_deg(ra, dec, self.ra, self.dec) <= self.radius_deg)


# Both centres are corners of four order-4 HEALPix pixels; brick edges cross both fields.
DEFAULT = (
    Field("equator", 185.625, 0.0, 0.35),
    Field("north", 213.75, 35.68533471265205, 0.15),
)


@dataclass(frozen=True)
class Sky:
    """The truth of one seed. Answers are structured arrays of `OBJECT`, ordered by `true_id`.

    Attributes:
        noise: of the pixels of images, spectra and cubes, in units of each survey's own; with 0 they are the truth that
            the survey looks at, for the same objects, under the same masks and inverse variances, and in the same
            catalogues, whose measurements keep their errors.
    """

    seed: int = 2026
    fields: tuple[Field, ...] = DEFAULT
    noise: float = 1.0

    def __post_init__(self) -> None:
        if self.seed < 0:
            msg = f"seed: got {self.seed}; allowed is any integer from 0"
            raise ValueError(msg)
        if not 0 <= self.noise < float("inf"):
            msg = f"noise: got {self.noise}; allowed is any number from 0"
            raise ValueError(msg)

    def cells(self) -> npt.NDArray[np.int64]:
        """The order-8 nested HEALPix cells that a field touches, ascending."""
        parts = [_disc(field.ra, field.dec, field.radius_deg) for field in self.fields]
        return np.unique(np.concatenate([*parts, np.zeros(0, np.int64)])).astype(np.int64)

    def in_cells(self, cells: Iterable[int]) -> Objects:
        """Objects of the given order-8 nested cells."""
        wanted = np.intersect1d(np.fromiter(cells, np.int64), self.cells())
        parts = [self._inside(cell_objects(self.seed, int(cell))) for cell in wanted]
        return np.concatenate([np.zeros(0, OBJECT), *parts])

    def in_cone(self, ra: float, dec: float, radius_deg: float) -> Objects:
        """Objects within `radius_deg` of a position, all in degrees."""
        objects = self.in_cells(_disc(ra, dec, radius_deg))
        return objects[separation_deg(objects["ra"], objects["dec"], ra, dec) <= radius_deg]

    def in_box(self, ra1: float, ra2: float, dec1: float, dec2: float) -> Objects:
        """Objects with ra1 <= ra < ra2 and dec1 <= dec < dec2 in degrees; ra1 > ra2 wraps through zero."""
        width, dec0 = (ra2 - ra1) % 360.0, (dec1 + dec2) / 2
        half = width / 2 * np.cos(np.deg2rad(np.clip(max(0.0, abs(dec0) - (dec2 - dec1) / 2), 0, 90)))
        objects = self.in_cone((ra1 + width / 2) % 360.0, dec0, float(np.hypot(half, (dec2 - dec1) / 2)) * 1.05 + 0.01)
        inside = (objects["ra"] - ra1) % 360.0 < width
        return objects[inside & (objects["dec"] >= dec1) & (objects["dec"] < dec2)]

    def in_healpix(self, order: int, pixels: Iterable[int]) -> Objects:
        """Objects of nested HEALPix pixels of any order up to 29."""
        wanted = np.unique(np.fromiter(pixels, np.int64))
        cells = self.cells()
        if order <= ORDER:
            return self.in_cells(cells[np.isin(cells >> 2 * (ORDER - order), wanted)])
        objects = self.in_cells(cells[np.isin(cells, wanted >> 2 * (order - ORDER))])
        return objects[np.isin(healpix(objects, order), wanted)]

    def objects(self) -> Objects:
        """Everything there is."""
        return self.in_cells(self.cells())

    def truth_table(self) -> pa.Table:
        """Everything there is, as an Arrow table; each column carries its unit in the metadata."""
        objects = self.objects()
        columns = {name: pa.array(objects[name]) for name in OBJECT.names or ()}
        fields = [
            pa.field(name, column.type, metadata={"unit": UNITS[name]} if name in UNITS else None)
            for name, column in columns.items()
        ]
        return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))

    def _inside(self, objects: Objects) -> Objects:
        """Those objects that lie in a field."""
        keep = np.zeros(len(objects), bool)
        for field in self.fields:
            keep |= field.contains(objects["ra"], objects["dec"])
        return objects[keep]


def healpix(objects: Objects, order: int) -> npt.NDArray[np.int64]:
    """Nested HEALPix pixel of each object at an order."""
    return np.asarray(hp.ang2pix(2**order, objects["ra"], objects["dec"], nest=True, lonlat=True), dtype=np.int64)


def source_id(objects: Objects) -> npt.NDArray[np.int64]:
    """Gaia's identifier of each star: level-12 nested HEALPix cell << 35, and a running number."""
    return np.asarray((healpix(objects, 12) << 35) | ((objects["true_id"] & 0xFFFFF) << 7), dtype=np.int64)


def _disc(ra: float, dec: float, radius_deg: float) -> npt.NDArray[np.int64]:
    """Order-8 nested cells that touch a disc (degrees)."""
    vector = hp.ang2vec(ra, dec, lonlat=True)
    return np.asarray(hp.query_disc(2**ORDER, vector, np.deg2rad(radius_deg), inclusive=True, nest=True), np.int64)
