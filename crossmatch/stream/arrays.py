"""Which arrays a stream delivers: for each column its shape and dtype, settled before the first batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from crossmatch.stream.samples import Side
from mmu.errors import UsageError, unknown
from mmu.schema.arrow import column_of
from mmu.schema.column import HEALPIX, Column

Shape = tuple[int | None, ...]
DTYPES = ("float16", "bfloat16", "float32", "float64")
_PLANES = ("image", "cube", "map")


@dataclass(frozen=True)
class Array:
    """One array of a batch.

    Attributes:
        name: its key in `batch[side]`; path: the column, or member of a struct, that it is read from.
        shape: of one row; None for the first axis where rows differ in length.
        dtype: as delivered; "text" for strings, and for rows of several.
        bands: what the first axis stands for where rows name theirs, as images do; () elsewhere.
        crop: pixels a side that are cut out of the last two axes, in their middle; 0 for all.
        nullable: True if rows may lack it, and no NaN can say so.
    """

    name: str
    path: str
    shape: Shape
    dtype: str
    bands: tuple[str, ...] = ()
    crop: int = 0
    nullable: bool = False

    @property
    def ragged(self) -> bool:
        return None in self.shape

    @property
    def read_as(self) -> np.dtype[Any]:
        """What it is in memory here: NumPy has no bfloat16."""
        return np.dtype("float32" if self.dtype == "bfloat16" else self.dtype)

    @property
    def bytes_per_row(self) -> int:
        if self.dtype == "text":
            return 16
        return int(np.prod([4096 if length is None else length for length in self.shape])) * self.read_as.itemsize


@dataclass(frozen=True)
class Asked:
    """What the user asks of the arrays of all sides."""

    columns: Mapping[str, Sequence[str]] | None = None
    dtype: str | None = None
    crop: int = 0
    bands: Mapping[str, Sequence[str]] | None = None

    def __post_init__(self) -> None:
        if self.dtype is not None and self.dtype not in DTYPES:
            raise unknown("dtype", self.dtype, DTYPES)
        if self.crop < 0:
            raise UsageError(f"crop={self.crop}: give the pixels a side to cut out, or 0.")


def arrays_of(side: Side, asked: Asked, first: Mapping[str, Any], bands: Sequence[str]) -> tuple[Array, ...]:
    """The arrays of one dataset.

    Args:
        first: path -> shape of a row, where rows that were read agree on one; for columns that say nothing of it.
        bands: what the dataset's images name their planes.

    Raises:
        UsageError: there is no such column, or rows of one differ in shape and no `crop` is asked for.
    """
    wanted = None if asked.columns is None else asked.columns.get(side.name, ())
    out = []
    for name, column, path in _chosen(side, wanted):
        array = _array(name, column, path, asked, first.get(path), tuple(bands) if _banded(side, column, path) else ())
        if array is not None:
            out.append(array)
        elif wanted is not None:
            raise UsageError(
                f"{side.name}: rows of {name!r} differ in more than their length, so they make no array; give crop=, "
                "or leave the column out."
            )
    return tuple(out)


def leaves(side: Side) -> Iterator[tuple[str, Column, str]]:
    """Name, column and path of everything that could be an array: scalars, lists and members of structs."""
    for field in side.schema:
        if not field.name.startswith(side.prefix) or field.name == HEALPIX.name:
            continue
        column = column_of(field)
        name = field.name.removeprefix(side.prefix)
        for member in column.members:
            yield f"{name}.{member.name}", replace(member, modality=column.modality), f"{field.name}.{member.name}"
        if not column.members and column.dtype != "picture":
            yield name, column, field.name


def _chosen(side: Side, wanted: Sequence[str] | None) -> list[tuple[str, Column, str]]:
    """Those asked for, a struct for all its members; by default all numbers. A batch has the bands of images itself."""
    known = list(leaves(side))
    if wanted is None:
        return [one for one in known if one[1].dtype != "string"]
    names = {name for name, _, _ in known} | {name.partition(".")[0] for name, _, _ in known}
    for name in wanted:
        if name not in names:
            raise unknown(f"column of {side.name}", name, names)
    listed = [(one, name) for name in wanted for one in known if one[0] == name or one[0].partition(".")[0] == name]
    return [
        one for one, name in listed if one[0] == name or not (one[1].dtype == "string" and one[1].modality == "image")
    ]


def _banded(side: Side, column: Column, path: str) -> bool:
    top, _, member = path.rpartition(".")
    return column.modality == "image" and bool(top) and member != "band" and "band" in members(side, top)


def members(side: Side, top: str) -> list[str]:
    """What a struct column holds; nothing for a column that is none."""
    kind = side.schema.field(top).type
    return [field.name for field in kind] if pa.types.is_struct(kind) else []


def _array(
    name: str, column: Column, path: str, asked: Asked, first: Shape | None, bands: tuple[str, ...]
) -> Array | None:
    """None where rows do not make arrays of one shape, but for the length of their first axis."""
    if column.dtype == "string":
        return Array(name, path, column.shape, "text")
    shape: Shape = column.shape
    if first is not None and len(first) == len(shape):
        shape = tuple(length if said is None else said for said, length in zip(shape, first, strict=True))
    crop = asked.crop if column.modality in _PLANES and len(shape) >= 3 else 0
    if crop:
        small = [length for length in shape[-2:] if length is not None and length < crop]
        if small:
            raise UsageError(f"crop={crop} is more than the {small[0]} pixels of {name!r}.")
        shape = (*shape[:-2], crop, crop)
    if bands:
        shape = (len(bands), *shape[1:])
    if None in shape[1:]:
        return None
    cast = asked.dtype if asked.dtype is not None and column.dtype in ("float32", "float64") and shape else None
    nullable = column.nullable and not column.dtype.startswith("float")
    return Array(name, path, shape, cast or column.dtype, bands, crop, nullable)
