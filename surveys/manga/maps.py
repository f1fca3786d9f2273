"""A MAPS file of the data analysis pipeline: maps by extension, each channel with the label and unit its header gives.

Nothing is known beforehand of which lines or indices there are: DR15 has 22 lines, DR17 has 35, in another order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmu.fits import FitsFile
from mmu.schema import Column

Members = dict[str, Any]


def extensions(file: FitsFile) -> list[str]:
    """The extensions that hold measurements, not their inverse variances or masks."""
    return [name for name in file.names if not name.endswith(("_IVAR", "_MASK"))]


def read_map(file: FitsFile, name: str, shape: tuple[int, int] | None = None) -> Members:
    """label, unit (C texts each) and value, ivar, mask (C, ny, nx) of one extension; ivar and mask only if it has them.

    Args:
        shape: rows and columns that are expected.

    Raises:
        FormatError: an HDU is missing or is no map, or has another shape.
    """
    hdu = file.hdu(name)
    value = _planes(file, name, shape or file.plane(name).shape[-2:])
    found: Members = {**_channels(file, name, len(value)), "value": value}
    for member, key, kind in (("ivar", "ERRDATA", "f"), ("mask", "QUALDATA", "i")):
        if other := hdu.text(key):
            planes = _planes(file, other, value.shape[1:])
            if planes.shape != value.shape or planes.dtype.kind != kind:
                raise file.error(f"{other} has shape {planes.shape}, type {planes.dtype}: not as {name} needs it")
            found[member] = planes
    return found


def read_column(file: FitsFile | None, column: Column, shape: tuple[int, int]) -> Members:
    """The members of a struct column, each with one record in front; no channels if the file or extension is not there.

    Raises:
        FormatError: as `read_map`, or a declared inverse variance or mask is not there.
    """
    name = column.name.upper()
    names = [member.name for member in column.members]
    if file is None or not file.has(name):
        return {
            member.name: np.zeros((1, 0, *shape), member.dtype) if len(member.shape) == 3 else [[]]
            for member in column.members
        }
    found = read_map(file, name, shape)
    if missing := [member for member in names if member not in found]:
        raise file.error(f"{name} names no {' and no '.join(missing)}")
    return {member: [found[member]] if isinstance(found[member], list) else found[member][None] for member in names}


def _channels(file: FitsFile, name: str, count: int) -> dict[str, list[str]]:
    """Labels and units; a channel without a unit has none, unless the extension has one for all."""
    hdu = file.hdu(name)
    if len(file.plane(name).shape) == 2:
        return {"label": [name.lower()], "unit": [hdu.text("BUNIT")]}
    numbers = range(1, count + 1)
    labels = [hdu.text(f"C{n:02d}") or hdu.text(f"C{n}") for n in numbers]
    own = [key for n in numbers for key in (f"U{n:02d}", f"U{n}") if hdu.has(key)]
    unit = "" if own else hdu.text("BUNIT")
    units = [hdu.text(f"U{n:02d}") or hdu.text(f"U{n}") or unit for n in numbers]
    if not all(labels) or len(set(labels)) != count:
        raise file.error(f"the channels of {name} are not named, or not uniquely: {labels}")
    return {"label": [label.strip() for label in labels], "unit": [text.strip() for text in units]}


def _planes(file: FitsFile, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """An extension's planes (C, ny, nx), native; one channel if it is two-dimensional."""
    stored = file.plane(name)
    if stored.ndim not in (2, 3) or stored.shape[-2:] != shape:
        raise file.error(f"{name} has shape {stored.shape}, not (channels, {shape[0]}, {shape[1]})")
    native = stored.astype(stored.dtype.newbyteorder("="))
    return native if native.ndim == 3 else native[None]
