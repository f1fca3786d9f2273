"""Regions of the sky: a cone, a box, HEALPix pixels or a MOC, all asked the same three questions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mmu.errors import UsageError
from mmu.sky import healpix

FORMS = (
    "cone:RA,DEC,RADIUS (degrees), box:RA1,RA2,DEC1,DEC2 (RA1 > RA2 wraps through 0), "
    "healpix:ORDER/PIX[,PIX...] (nested) or moc:FILE"
)
_COVER_ORDER = 8


class Region(ABC):
    """A part of the sky. `text` is what the user wrote, and what a ledger keeps."""

    text: str

    @abstractmethod
    def contains(self, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.bool_]:
        """True where a position (ICRS degrees) lies inside; exact, borders included."""

    @abstractmethod
    def pixels(self, order: int) -> NDArray[np.int64]:
        """Nested pixels of that order that may touch the region: a superset, sorted."""

    def touches(self, ra: ArrayLike, dec: ArrayLike, radius_deg: float) -> NDArray[np.bool_]:
        """True where a disc around a position may touch the region: a superset, for choosing files."""
        centres = np.atleast_2d(healpix.unit_vectors(*healpix.centres(_COVER_ORDER, self._cover)))
        here = np.atleast_2d(healpix.unit_vectors(np.atleast_1d(ra), np.atleast_1d(dec)))
        if len(centres) == 0:
            return np.zeros(len(here), dtype=bool)
        from scipy.spatial import cKDTree

        reach = radius_deg + healpix.max_radius_deg(_COVER_ORDER)
        chord = 2 * np.sin(np.radians(min(reach, 180.0)) / 2)
        distance, _ = cKDTree(centres).query(here, distance_upper_bound=chord * (1 + 1e-9))
        return np.asarray(np.isfinite(distance))

    @cached_property
    def _cover(self) -> NDArray[np.int64]:
        return self.pixels(_COVER_ORDER)

    @property
    def whole(self) -> bool:
        """True for the whole sky."""
        return False

    def __str__(self) -> str:
        return self.text


class AllSky(Region):
    """No restriction."""

    text = "all"

    def contains(self, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.bool_]:
        return healpix.valid(ra, dec)

    def pixels(self, order: int) -> NDArray[np.int64]:
        return np.arange(12 * 4**order, dtype=np.int64)

    def touches(self, ra: ArrayLike, dec: ArrayLike, radius_deg: float) -> NDArray[np.bool_]:
        return np.ones(np.atleast_1d(ra).shape, dtype=bool)

    @property
    def whole(self) -> bool:
        return True


def _numbers(*values: float) -> str:
    """Numbers as a user writes them, none of their digits lost."""
    return ",".join(repr(float(value)).removesuffix(".0") for value in values)


class Cone(Region):
    """All positions within `radius` degrees of a centre."""

    def __init__(self, ra: float, dec: float, radius: float) -> None:
        if not (0 <= ra <= 360 and -90 <= dec <= 90 and 0 < radius <= 180):
            raise UsageError(
                f"A cone needs 0 <= RA <= 360, -90 <= DEC <= 90 and 0 < RADIUS <= 180, not {ra},{dec},{radius}."
            )
        self.ra, self.dec, self.radius = ra, dec, radius
        self.text = f"cone:{_numbers(ra, dec, radius)}"

    def contains(self, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.bool_]:
        good = healpix.valid(ra, dec)
        ra, dec = np.where(good, ra, 0.0), np.where(good, dec, 0.0)
        return np.asarray(good & (healpix.separation_deg(ra, dec, self.ra, self.dec) <= self.radius))

    def pixels(self, order: int) -> NDArray[np.int64]:
        return healpix.disc_pixels(order, self.ra, self.dec, self.radius)

    def touches(self, ra: ArrayLike, dec: ArrayLike, radius_deg: float) -> NDArray[np.bool_]:
        return np.atleast_1d(healpix.separation_deg(ra, dec, self.ra, self.dec) <= self.radius + radius_deg)


class Box(Region):
    """RA1 <= RA <= RA2 (eastward, through 0 if RA1 > RA2) and DEC1 <= DEC <= DEC2."""

    def __init__(self, ra1: float, ra2: float, dec1: float, dec2: float) -> None:
        if not (0 <= ra1 <= 360 and 0 <= ra2 <= 360 and -90 <= dec1 < dec2 <= 90 and ra1 != ra2):
            raise UsageError(
                f"A box needs RA1, RA2 in 0..360 (different) and -90 <= DEC1 < DEC2 <= 90, "
                f"not {ra1},{ra2},{dec1},{dec2}."
            )
        self.ra1, self.ra2, self.dec1, self.dec2 = ra1, ra2, dec1, dec2
        self.text = f"box:{_numbers(ra1, ra2, dec1, dec2)}"

    def contains(self, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.bool_]:
        good, dec = healpix.valid(ra, dec), np.asarray(dec, dtype=float)
        east = (np.where(good, ra, 0.0) - self.ra1) % 360.0
        wide = (self.ra2 - self.ra1) % 360.0 or 360.0
        return np.asarray(good & (east <= wide) & (dec >= self.dec1) & (dec <= self.dec2))

    def pixels(self, order: int) -> NDArray[np.int64]:
        reach = healpix.max_radius_deg(order)
        everything = healpix.band_pixels(order, self.dec1 - reach, self.dec2 + reach)
        ra, dec = healpix.centres(order, everything)
        # no point within `reach` of a centre is further from it in RA than this; anywhere, if the pole is that near
        ratio = np.sin(np.radians(min(reach, 90.0))) / np.maximum(np.cos(np.radians(dec)), 1e-12)
        near_pole = np.abs(dec) + reach >= 90.0
        stretch = np.where(near_pole, 360.0, np.degrees(np.arcsin(np.minimum(ratio, 1.0))) + 1e-9)
        east = (ra - self.ra1) % 360.0
        wide = (self.ra2 - self.ra1) % 360.0 or 360.0
        return np.asarray(everything[(east <= wide + stretch) | (east >= 360.0 - stretch)])


class Pixels(Region):
    """The union of some nested HEALPix pixels of one order."""

    def __init__(self, order: int, pixels: ArrayLike) -> None:
        try:
            wanted = np.unique(np.asarray(pixels, dtype=np.int64))
        except OverflowError:
            wanted = np.empty(0, dtype=np.int64)
        if not (0 <= order <= 29) or len(wanted) == 0 or wanted[0] < 0 or wanted[-1] >= 12 * 4**order:
            raise UsageError(
                f"healpix:{order}/... needs an order of 0..29 and pixels of 0..{12 * 4 ** min(max(order, 0), 29) - 1}."
            )
        self.order, self.wanted = order, wanted
        self.text = f"healpix:{order}/{','.join(map(str, wanted))}"

    def contains(self, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.bool_]:
        ra, dec = np.asarray(ra, dtype=float), np.asarray(dec, dtype=float)
        good = healpix.valid(ra, dec)
        inside = np.zeros(good.shape, dtype=bool)
        inside[good] = np.isin(healpix.pixel(ra[good], dec[good], self.order), self.wanted)
        return inside

    def pixels(self, order: int) -> NDArray[np.int64]:
        return healpix.at_order(self.wanted, self.order, order)


class Moc(Region):
    """The coverage map (MOC) in a FITS or JSON file."""

    def __init__(self, path: str | Path) -> None:
        from mocpy import MOC

        self.text = f"moc:{path}"
        if not Path(path).is_file():
            raise UsageError(f"moc:{path}: there is no such file.")
        try:
            self.moc = MOC.load(str(path), format="json" if str(path).endswith(".json") else "fits")
        except Exception as problem:
            msg = f"moc:{path}: not a MOC in FITS or JSON form ({problem})."
            raise UsageError(msg) from problem

    def contains(self, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.bool_]:
        import astropy.units as u

        ra, dec = np.asarray(ra, dtype=float), np.asarray(dec, dtype=float)
        good = healpix.valid(ra, dec)
        inside = np.zeros(good.shape, dtype=bool)
        inside[good] = self.moc.contains_lonlat(ra[good] * u.deg, dec[good] * u.deg)
        return inside

    def pixels(self, order: int) -> NDArray[np.int64]:
        ranges: Any = np.asarray(self.moc.to_depth29_ranges, dtype=np.int64)
        shift = 2 * (29 - order)
        spans = [np.arange(low >> shift, ((high - 1) >> shift) + 1) for low, high in ranges]
        return np.unique(np.concatenate(spans)) if spans else np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class _Numbers:
    form: str
    text: str

    def parse(self, count: int) -> list[float]:
        try:
            numbers = [float(word) for word in self.text.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) != count or not np.all(np.isfinite(numbers)):
            raise UsageError(f"Region {self.form}:{self.text!r} needs {count} numbers; a region is one of {FORMS}.")
        return numbers


def parse_region(text: str | None) -> Region:
    """The region a user wrote, e.g. `cone:150.1,2.2,0.5`.

    Raises:
        UsageError: not one of the forms, or numbers out of range.
    """
    if text is None or text == "all":
        return AllSky()
    form, _, rest = text.partition(":")
    if form == "cone":
        return Cone(*_Numbers(form, rest).parse(3))
    if form == "box":
        return Box(*_Numbers(form, rest).parse(4))
    if form == "healpix":
        order, _, pixels = rest.partition("/")
        try:
            return Pixels(int(order), [int(pixel) for pixel in pixels.split(",")])
        except ValueError as problem:
            if isinstance(problem, UsageError):
                raise
            msg = f"Region {text!r} is not healpix:ORDER/PIX[,PIX...]; a region is one of {FORMS}."
            raise UsageError(msg) from problem
    if form == "moc":
        return Moc(rest)
    raise UsageError(f"Unknown region {text!r}; a region is one of {FORMS}.")


class AnyOf(Region):
    """The union of several regions."""

    def __init__(self, regions: list[Region]) -> None:
        self.regions = regions
        self.text = " + ".join(region.text for region in regions)

    def contains(self, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.bool_]:
        return np.asarray(np.any([region.contains(ra, dec) for region in self.regions], axis=0))

    def pixels(self, order: int) -> NDArray[np.int64]:
        return np.unique(np.concatenate([region.pixels(order) for region in self.regions]))

    def touches(self, ra: ArrayLike, dec: ArrayLike, radius_deg: float) -> NDArray[np.bool_]:
        return np.asarray(np.any([region.touches(ra, dec, radius_deg) for region in self.regions], axis=0))

    @property
    def whole(self) -> bool:
        return any(region.whole for region in self.regions)
