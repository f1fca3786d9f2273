"""Row groups as NumPy: views of what Arrow decoded, whatever the nesting of their lists."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from crossmatch.stream.arrays import Array
from mmu.errors import FormatError

Rows = NDArray[np.int64]
Values = NDArray[Any]


@dataclass(frozen=True)
class Block:
    """An array of some rows.

    Attributes:
        values: (N, ...) where every row has one shape; else the entries of all rows, one after the other.
        offsets: where each row's entries begin and end, (N + 1,); None where every row has one shape.
        codes: of images, the band of each entry, -1 for one that is not asked for.
        valid: False for rows that are null; None if none is.
        text: strings, instead of values.
    """

    values: Values
    offsets: Rows | None = None
    codes: Rows | None = None
    valid: NDArray[np.bool_] | None = None
    text: pa.Array | None = None


def block_of(array: Array, table: pa.Table) -> Block:
    """An array of all rows of a table.

    Raises:
        FormatError: its rows have not the shape they should.
    """
    column = column_at(table, array.path)
    valid = column.is_valid().to_numpy(zero_copy_only=False) if column.null_count else None
    if array.dtype == "text":
        return Block(np.empty(0), valid=valid, text=column)
    edges, leaf = levels(column)
    if not edges:
        return Block(leaf, valid=valid)
    entries = _entries(array, edges, leaf)
    if array.bands:
        return _by_band(array, table, entries, edges[0], valid)
    if array.ragged:
        return Block(entries, edges[0], valid=valid)
    lengths, length = np.diff(edges[0]), int(array.shape[0] or 0)
    if (lengths[slice(None) if valid is None else valid] != length).any():
        raise FormatError(f"{array.path}: rows should be {length} long, and some are not.")
    values = entries.reshape(len(entries) // max(length, 1), length, *entries.shape[1:])
    return Block(values if valid is None else _spread(values, valid), valid=valid)


def too_large(array: Array, values: Values) -> FormatError:
    """What to say of numbers that the dtype asked for does not have."""
    lost = int(np.count_nonzero(np.abs(values[np.isfinite(values)]) > np.finfo(array.read_as).max))
    return FormatError(
        f"{lost} values of {array.name!r} in one row group are too large for {array.dtype}; leave dtype out, take "
        "bfloat16, or scale them in `transform`."
    )


def column_at(table: pa.Table, path: str) -> pa.Array:
    """A column, or a member of a struct, as one array; null where the struct is."""
    top, _, member = path.partition(".")
    column = table[top]
    whole = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays([*column.chunks, pa.array([], column.type)])
    if not member:
        return whole
    index = [field.name for field in whole.type].index(member)
    return whole.flatten()[index] if whole.null_count else whole.field(index)


def levels(column: pa.Array) -> tuple[list[Rows], Values]:
    """Where the lists of each level begin and end, from the outside, and the numbers inside; null lists are empty."""
    edges = []
    while not pa.types.is_primitive(column.type):
        if pa.types.is_fixed_size_list(column.type):
            lengths = column.is_valid().cast(pa.int64()).to_numpy() * column.type.list_size
        else:
            lengths = np.asarray(pc.list_value_length(column).fill_null(0)) if column.null_count else None
        if lengths is not None:
            edges.append(np.r_[0, np.cumsum(lengths, dtype=np.int64)])
            column = column.flatten()
            continue
        found = column.offsets.to_numpy()
        edges.append(found.astype(np.int64) - int(found[0]))
        column = column.values.slice(int(found[0]), int(found[-1]) - int(found[0]))
    if column.null_count and not pa.types.is_floating(column.type):
        column = column.fill_null(False if pa.types.is_boolean(column.type) else 0)
    return edges, column.to_numpy(zero_copy_only=False)


def common_shape(column: pa.Array) -> tuple[int | None, ...]:
    """The shape of a row; None for axes along which rows, or what is in them, differ."""
    if pa.types.is_struct(column.type) or not _is_numbers(column.type):
        return ()
    lengths = [np.diff(edges) for edges in levels(column)[0]]
    return tuple(int(one[0]) if len(one) and (one == one[0]).all() else None for one in lengths)


def _is_numbers(kind: pa.DataType) -> bool:
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    return bool(pa.types.is_primitive(kind))


def _entries(array: Array, edges: list[Rows], leaf: Values) -> Values:
    """What stands along the first axis of rows, those of all rows one after the other; cropped."""
    lengths = [np.diff(one) for one in edges[1:]]
    count = int(edges[0][-1])
    if all((one == one[0]).all() for one in lengths if len(one)):
        inner = [int(one[0]) if len(one) else 0 for one in lengths]
        values = _cropped(array, leaf.reshape(count, *inner))
    elif array.crop and len(lengths) == 2:
        values = np.stack([_cropped(array, plane) for plane in _planes(edges, leaf)])
    else:
        raise FormatError(f"{array.path}: rows differ in size; give crop=, or leave the column out.")
    if count and values.shape[1:] != array.shape[1:]:
        raise FormatError(f"{array.path}: entries are {values.shape[1:]}, where {array.shape[1:]} was expected.")
    return values


def _planes(edges: list[Rows], leaf: Values) -> list[Values]:
    """Planes of different sizes."""
    _, rows, pixels = edges
    return [leaf[pixels[start] : pixels[stop]].reshape(stop - start, -1) for start, stop in pairwise(rows)]


def _cropped(array: Array, values: Values) -> Values:
    """The middle of the last two axes. Pixel n // 2, where the surveys put the object, stays at that place."""
    if not array.crop:
        return values
    if min(values.shape[-2:]) < array.crop:
        raise FormatError(f"{array.path}: a plane of {values.shape[-2:]} pixels is smaller than crop={array.crop}.")
    y, x = (length // 2 - array.crop // 2 for length in values.shape[-2:])
    return values[..., y : y + array.crop, x : x + array.crop]


def _by_band(array: Array, table: pa.Table, entries: Values, edges: Rows, valid: NDArray[np.bool_] | None) -> Block:
    """Entries of images with their bands; one regular array where every row has all bands in the order asked for."""
    names = column_at(table, f"{array.path.rpartition('.')[0]}.band").flatten()
    codes = pc.index_in(names, value_set=pa.array(array.bands, names.type)).fill_null(-1).to_numpy().astype(np.int64)
    count, rows = len(array.bands), len(edges) - 1
    if len(codes) != len(entries):
        raise FormatError(f"{array.path}: {len(entries)} planes, and {len(codes)} bands are named.")
    if valid is None and len(codes) == rows * count and (codes.reshape(rows, count) == np.arange(count)).all():
        return Block(entries.reshape(rows, count, *entries.shape[1:]))
    return Block(entries, edges, codes, valid)


def _spread(values: Values, valid: NDArray[np.bool_]) -> Values:
    """Rows that are null as zeros."""
    out = np.zeros((len(valid), *values.shape[1:]), values.dtype)
    out[valid] = values
    return out
