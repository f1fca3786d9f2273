"""What else is in a stamp: the list of its brightest sources, and a mask of what kind of source each pixel belongs to.

Both come from the whole Tractor catalogue of the brick's image: stars, faint and non-primary sources included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mmu.stamps import Starts

SIZE = 160
"""Pixels along the side of a stamp."""

LISTED = 20
TYPE_CODES = {"PSF": 1, "REX": 2, "EXP": 3, "DEV": 4, "SER": 5, "DUP": 6}
EXTENT = 2.0  # half axes of the ellipses, in half-light radii
_SMALL = 64  # pixels: half axes up to here are drawn many at a time
_BATCH = 2_000_000  # pixels evaluated at once

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Sources:
    """All sources of a brick's image, brightest first.

    Attributes:
        row: where each was in the catalogue, (S,).
        position: 0-based pixel coordinates x, y on the image, (S, 2).
        columns: catalogue columns in this order, by upper-case name.
    """

    row: Index
    position: Floats
    columns: dict[str, npt.NDArray[Any]]

    @property
    def code(self) -> npt.NDArray[np.int8]:
        """Type codes, 0 for a type that is not known."""
        names, inverse = np.unique(self.columns["TYPE"], return_inverse=True)
        return np.array([TYPE_CODES.get(str(name).strip(), 0) for name in names], dtype=np.int8)[inverse]


def brightest_first(columns: dict[str, npt.NDArray[Any]], position: Floats, flux: str) -> Sources:
    """Sort sources by a flux column, descending, ties in catalogue order; a flux that is no number counts as 0."""
    row = np.argsort(-np.nan_to_num(columns[flux].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0), kind="stable")
    return Sources(row, position[row], {name: values[row] for name, values in columns.items()})


def in_stamps(sources: Sources, starts: Starts, targets: Index) -> tuple[Index, Index]:
    """The `LISTED` brightest sources of each stamp: pairs (stamp, source), by stamp, then brightest first.

    A source is in a stamp if the pixel it falls on is, first and last rows and columns included. The target itself
    (an index into the sources) is always listed; it takes the last place where 20 others are brighter.
    """
    pixel = np.where(np.isfinite(sources.position), np.floor(sources.position + 0.5), -1e9)
    stamps, found = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)]
    step = max(1, 8 * _BATCH // max(1, len(pixel)))
    for first in range(0, len(starts), step):
        offset = pixel[None] - starts[first : first + step, None]
        inside = np.all((offset >= 0) & (offset < SIZE), axis=2)
        own, number = targets[first : first + step], np.arange(len(inside))
        inside[number, own] = True
        rank = np.cumsum(inside, axis=1, dtype=np.int32)
        late = rank[number, own] > LISTED
        inside &= rank <= LISTED - late[:, None]
        inside[number, own] = True
        stamp, source = np.nonzero(inside)
        stamps.append(stamp + first)
        found.append(source)
    return np.concatenate(stamps), np.concatenate(found)


def neighbour_list(
    sources: Sources, starts: Starts, targets: Index, fluxes: tuple[str, ...]
) -> dict[str, pa.ListArray]:
    """The members of the `catalog` column, one list a stamp: fluxes, shapes, TYPE code, and X, Y in stamp pixels."""
    stamp, source = in_stamps(sources, starts, targets)
    offsets = pa.array(np.searchsorted(stamp, np.arange(len(starts) + 1)).astype(np.int32))
    place = sources.position[source] - starts[stamp]
    members: dict[str, npt.NDArray[Any]] = {name: sources.columns[name][source] for name in fluxes}
    members |= {name: sources.columns[name][source] for name in ("SHAPE_R", "SHAPE_E1", "SHAPE_E2")}
    members |= {"TYPE": sources.code[source], "X": place[:, 0], "Y": place[:, 1]}
    return {name: _lists(offsets, values, "int8" if name == "TYPE" else "float32") for name, values in members.items()}


def _lists(offsets: pa.Array, values: npt.NDArray[Any], dtype: str) -> pa.ListArray:
    flat = pa.array(values.astype(dtype))
    return pa.ListArray.from_arrays(offsets, flat, type=pa.list_(pa.field("item", flat.type, nullable=False)))


def type_plane(sources: Sources, side: int, scale: float, psf_fwhm: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The type code of the brightest source whose ellipse covers each pixel, (side, side), 0 where there is none.

    Half axes are 2 SHAPE_R and 2 SHAPE_R q, q = (1 - e) / (1 + e), at the catalogue's position angle (east of north,
    so anticlockwise from +y with east on the left). A source without size gets a disc as wide as the PSF.

    Args:
        scale: arcsec a pixel.
        psf_fwhm: of each source, arcsec (S,).
    """
    radius, e1, e2 = (np.nan_to_num(sources.columns[n].astype(np.float64)) for n in ("SHAPE_R", "SHAPE_E1", "SHAPE_E2"))
    ellipticity = np.minimum(np.hypot(e1, e2), 0.99)
    major = np.where(radius > 0, EXTENT * radius, np.nan_to_num(psf_fwhm.astype(np.float64)) / 2) / scale
    minor = major * np.where(radius > 0, (1 - ellipticity) / (1 + ellipticity), 1.0)
    angle = np.arctan2(e2, e1) / 2
    major, minor = np.minimum(major, side), np.minimum(minor, side)
    shape = np.stack([*sources.position.T, major, minor, np.sin(angle), np.cos(angle)])
    usable = np.all(np.isfinite(sources.position), axis=1) & (major > 0) & (sources.code > 0)
    rank = np.zeros((side, side), dtype=np.int32)  # the higher, the brighter
    for half in (4, 8, 16, 32, _SMALL):
        chosen = np.flatnonzero(usable & (major <= half) & (major > (half // 2 if half > 4 else 0)))
        step = _BATCH // (2 * half + 3) ** 2
        for first in range(0, len(chosen), step):
            part = chosen[first : first + step]
            _draw_small(rank, shape[:, part], len(radius) - part, half + 1)
    for index in np.flatnonzero(usable & (major > _SMALL)):
        _draw_large(rank, shape[:, index], len(radius) - int(index))
    return np.concatenate([[0], sources.code[::-1]]).astype(np.uint8)[rank]


def _inside(dx: Any, dy: Any, shape: Any) -> npt.NDArray[np.bool_]:
    """True where an offset from the centre, pixels, lies in the ellipse (x, y, major, minor, sine, cosine)."""
    _, _, major, minor, sine, cosine = shape
    along, across = dy * cosine - dx * sine, dx * cosine + dy * sine
    return np.asarray((along / major) ** 2 + (across / np.maximum(minor, 0.5)) ** 2 < 1)


def _draw_small(rank: npt.NDArray[np.int32], shape: Floats, value: Index, half: int) -> None:
    """Draw ellipses that fit in a box of 2 half + 1 pixels, all at once, keeping the brightest where they overlap."""
    side, total = len(rank), np.arange(-half, half + 1)
    centre = np.floor(shape[:2] + 0.5).astype(np.int64)
    x, y = centre[0][:, None, None] + total, centre[1][:, None, None] + total[:, None]
    inside = _inside(x - shape[0][:, None, None], y - shape[1][:, None, None], shape[:, :, None, None])
    inside &= (x >= 0) & (x < side) & (y >= 0) & (y < side)
    which, row, column = np.nonzero(inside)
    flat = (centre[1][which] + row - half) * side + centre[0][which] + column - half
    np.maximum.at(rank.reshape(-1), flat, value[which].astype(np.int32))


def _draw_large(rank: npt.NDArray[np.int32], shape: Floats, value: int) -> None:
    """Draw one large ellipse on the part of the plane it may touch."""
    side, reach = len(rank), shape[2] + 1
    low, high = np.clip(np.stack([shape[:2] - reach, shape[:2] + reach + 1]), 0, side).astype(int)
    x, y = np.arange(low[0], high[0]), np.arange(low[1], high[1])
    box = rank[low[1] : high[1], low[0] : high[0]]
    inside = _inside(x[None, :] - shape[0], y[:, None] - shape[1], shape)
    np.maximum(box, np.where(inside, value, 0), out=box, casting="unsafe")
