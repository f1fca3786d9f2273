"""The Legacy Surveys' bricks.

0.25 degree rows in Dec, an even number of equal columns a row, 3600 x 3600 images.

The imaging and DESI's target ids both name objects by brick, so the scheme lives with the sky. Rows are
centred on multiples of 0.25 degrees; a row has the smallest even number of columns not wider than 0.25
degrees at the edge nearest the equator (as desiutil.brick). Bricks are numbered from 1, south to north, by
RA within a row.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmu.simulate.noise import uniform
from mmu.simulate.sky import Sky, separation_deg

Floats = npt.NDArray[np.float64]
Objects = npt.NDArray[np.void]

BRICK_DEG = 0.25
PIXELS = 3600
SCALE = 0.262  # arcsec a pixel
MARGIN_DEG = 0.03  # light from outside the image that still falls on it


@functools.cache
def columns_per_row() -> npt.NDArray[np.int64]:
    """Bricks in each of the 721 rows, from the south pole up."""
    centre = np.linspace(-90.0, 90.0, 721)
    widest = np.abs(np.abs(centre) - BRICK_DEG / 2)
    columns = np.ceil(360.0 / BRICK_DEG * np.cos(np.deg2rad(widest)) / 2) * 2
    columns[[0, -1]] = 1  # the poles
    return np.asarray(columns, dtype=np.int64)


@dataclass(frozen=True)
class Brick:
    """One brick: its unique area in degrees, and the tangent-plane image around its centre."""

    row: int
    column: int

    @property
    def id(self) -> int:
        """BRICKID."""
        return int(columns_per_row()[: self.row].sum()) + self.column + 1

    @property
    def dec(self) -> float:
        """Centre, degrees."""
        return -90.0 + BRICK_DEG * self.row

    @property
    def width(self) -> float:
        """Extent in RA, degrees."""
        return 360.0 / float(columns_per_row()[self.row])

    @property
    def ra(self) -> float:
        """Centre, degrees."""
        return (self.column + 0.5) * self.width

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """ra1, ra2, dec1, dec2 of the unique area, degrees."""
        half = BRICK_DEG / 2
        return self.column * self.width, (self.column + 1) * self.width, self.dec - half, self.dec + half

    @property
    def name(self) -> str:
        """AAAa[pm]BBB: tenths of a degree, cut off."""
        sign = "p" if self.dec >= 0 else "m"
        return f"{int(10 * self.ra + 1e-9):04d}{sign}{int(10 * abs(self.dec) + 1e-9):03d}"

    def contains(self, ra: Floats, dec: Floats) -> npt.NDArray[np.bool_]:
        """Which positions (degrees) belong to this brick and no other."""
        ra1, ra2, dec1, dec2 = self.bounds
        return np.asarray((ra >= ra1) & (ra < ra2) & (dec >= dec1) & (dec < dec2))

    def project(self, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
        """0-based pixel coordinates x, y of positions (degrees): the gnomonic (TAN) projection."""
        a, d, d0 = np.deg2rad(ra - self.ra), np.deg2rad(dec), np.deg2rad(self.dec)
        depth = np.sin(d) * np.sin(d0) + np.cos(d) * np.cos(d0) * np.cos(a)
        east = np.cos(d) * np.sin(a) / depth
        north = (np.sin(d) * np.cos(d0) - np.cos(d) * np.sin(d0) * np.cos(a)) / depth
        to_pixel = np.rad2deg(1.0) * 3600.0 / SCALE
        centre = (PIXELS - 1) / 2
        return centre - east * to_pixel, centre + north * to_pixel

    def primary_pixels(self) -> npt.NDArray[np.bool_]:
        """Which pixels of the image lie in the unique area, (3600, 3600)."""
        ra1, ra2, dec1, dec2 = np.deg2rad(self.bounds)
        sin0, cos0 = np.sin(np.deg2rad(self.dec)), np.cos(np.deg2rad(self.dec))
        offset = (np.arange(PIXELS) - (PIXELS - 1) / 2) * np.deg2rad(SCALE / 3600.0)
        east, north = -offset[None, :], offset[:, None]
        axis = cos0 - north * sin0
        sine = (sin0 + north * cos0) / np.sqrt(1 + east**2 + north**2)
        half = np.tan((ra2 - ra1) / 2)
        inside = (np.sin(dec1) <= sine) & (sine < np.sin(dec2))
        return np.asarray(inside & (east >= -half * axis) & (east < half * axis))


def brick_at(ra: float, dec: float) -> Brick:
    """The brick whose unique area holds a position (degrees)."""
    row = int(np.floor((dec + 90.0 + BRICK_DEG / 2) / BRICK_DEG))
    return Brick(row, int(np.floor(ra % 360.0 / (360.0 / columns_per_row()[row]))))


@functools.lru_cache(maxsize=16)
def bricks(sky: Sky) -> tuple[Brick, ...]:
    """Bricks whose unique area holds objects of the sky, by id; for skies of any seed the same."""
    found: set[Brick] = set()
    for field in sky.fields:
        reach = np.arange(-field.radius_deg, field.radius_deg + 0.01, 0.01)
        dec, east = (v.ravel() for v in np.meshgrid(field.dec + reach, reach))
        ra = (field.ra + east / np.cos(np.deg2rad(dec))) % 360.0
        inside = field.contains(ra, dec)
        found |= {brick_at(float(a), float(d)) for a, d in zip(ra[inside], dec[inside], strict=True)}
    return tuple(sorted(found, key=lambda brick: brick.id))


@functools.lru_cache(maxsize=32)
def around(sky: Sky, brick: Brick) -> tuple[Objects, Floats, Floats]:
    """Objects whose light may fall on a brick's image, with their pixel coordinates x, y."""
    half_diagonal = PIXELS * SCALE / 3600 / np.sqrt(2) + MARGIN_DEG
    objects = sky.in_cone(brick.ra, brick.dec, float(half_diagonal))
    return objects, *brick.project(objects["ra"], objects["dec"])


@functools.lru_cache(maxsize=32)
def members(sky: Sky, brick: Brick) -> tuple[Objects, Floats, Floats]:
    """Objects on a brick's image, with x, y; the place in this list is the object's OBJID in this brick."""
    objects, x, y = around(sky, brick)
    on_image = (x > -0.5) & (x < PIXELS - 0.5) & (y > -0.5) & (y < PIXELS - 0.5)
    order = np.flatnonzero(on_image)[np.argsort(uniform(objects["true_id"][on_image], sky.seed, "objid"))]
    return objects[order], x[order], y[order]


def nearest_field_deg(sky: Sky, ra: float, dec: float) -> float:
    """Degrees from a position to the centre of the nearest field."""
    return min(float(separation_deg(ra, dec, field.ra, field.dec)) for field in sky.fields)
