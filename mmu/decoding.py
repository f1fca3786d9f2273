"""Arrow batches to NumPy: `decode(batch)` for `load_dataset(...).with_format("arrow")` batches and for our own.

Nested lists become one array where their lengths agree, a view of Arrow's memory (read-only), and an object array of
per-row arrays where they do not. No row passes through Python objects unless it is text, a picture or ragged.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from mmu.errors import FormatError

Decoded = Any
"""An array, or a dict of them for a struct."""

MOST_PIXELS = 1 << 26
"""Of one picture; one that says it has more is refused before it is decoded."""

_PICTURE = {"bytes", "path"}


def decode(batch: pa.Table | pa.RecordBatch | Mapping[str, Any], *, pictures: bool = False) -> dict[str, Decoded]:
    """The columns of a batch as NumPy arrays whose first axis is the row.

    Args:
        batch: a table, a record batch, or a mapping of names to Arrow arrays (anything else is passed on).
        pictures: decode PNG columns to pixels; otherwise they stay bytes in an object array.

    Returns:
        Name -> array. A struct is a dict of its members; texts are object arrays; missing floats are NaN, other
        missing numbers are masked (`numpy.ma`), missing texts, lists and pictures are None.
    """
    if isinstance(batch, Mapping):
        return {name: decode_column(values, pictures=pictures) for name, values in batch.items()}
    return {
        name: decode_column(column, pictures=pictures)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }


def decode_column(values: Any, *, pictures: bool = False) -> Decoded:
    """One column as NumPy; what is not Arrow is returned as it is."""
    if isinstance(values, pa.ChunkedArray):
        values = _one_chunk(values)
    return _decode(values, pictures)[0] if isinstance(values, pa.Array) else values


def first(values: Decoded) -> Decoded:
    """The first row of a decoded column, or of each column of a batch."""
    return {name: first(member) for name, member in values.items()} if isinstance(values, dict) else values[0]


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    if column.num_chunks == 0:
        return pa.array([], type=column.type)
    return pa.concat_arrays([_storage(chunk) for chunk in column.chunks])


def _storage(array: pa.Array) -> pa.Array:
    """Without an extension type on top or a dictionary below."""
    while isinstance(array, pa.ExtensionArray):
        array = array.storage
    return array.dictionary_decode() if isinstance(array, pa.DictionaryArray) else array


def _decode(array: pa.Array, pictures: bool) -> tuple[Decoded, bool]:
    """The values, and whether they are one regular array (so that an outer list may reshape them)."""
    array = _storage(array)
    kind = array.type
    if pa.types.is_struct(kind):
        if {field.name for field in kind} == _PICTURE:
            return _pictures(array, pictures)
        members = array.flatten() if array.null_count else [array.field(i) for i in range(kind.num_fields)]
        return {f.name: _decode(member, pictures)[0] for f, member in zip(kind, members, strict=True)}, False
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _lists(array, pictures)
    return _leaf(array), True


def _lists(array: pa.Array, pictures: bool) -> tuple[Decoded, bool]:
    offsets, values = _parts(array)
    item = _storage(values)
    if pa.types.is_struct(item.type) and {field.name for field in item.type} != _PICTURE:
        return _list_of_structs(array, offsets, item, pictures), False
    count, lengths = len(array), np.diff(offsets)
    child = item.slice(offsets[0], offsets[-1] - offsets[0]) if count else item.slice(0, 0)
    if count > 1 and not _is_regular(child):  # to decode the levels below as one would be in vain
        return _objects(_rows(array, offsets, item, pictures)), False
    inner, regular = _decode(child, pictures)
    if count == 0:
        return (inner.reshape(0, 0, *inner.shape[1:]) if regular else np.empty(0, dtype=object)), regular
    if regular and array.null_count == 0:
        if (lengths == lengths[0]).all():
            return inner.reshape(count, int(lengths[0]), *inner.shape[1:]), True
        starts = offsets - offsets[0]
        return _objects([inner[starts[i] : starts[i + 1]] for i in range(count)]), False
    return _objects(_rows(array, offsets, item, pictures)), False


def _rows(array: pa.Array, offsets: np.ndarray[Any, Any], item: pa.Array, pictures: bool) -> list[Any]:
    """The lists of an array, decoded one by one; None for those that are missing."""
    null, lengths = array.is_null().to_numpy(zero_copy_only=False), np.diff(offsets)
    parts = (item.slice(start, length) for start, length in zip(offsets[:-1], lengths, strict=True))
    return [None if gone else _decode(part, pictures)[0] for gone, part in zip(null, parts, strict=True)]


def _is_regular(array: pa.Array) -> bool:
    """False if lists of lists differ in length, so that their rows are better decoded one by one."""
    while pa.types.is_list(array.type) and pa.types.is_list(array.type.value_type) and len(array):
        lengths = np.diff(array.offsets.to_numpy())
        if (lengths != lengths[0]).any():
            return False
        array = array.flatten()
    return True


def _parts(array: pa.Array) -> tuple[np.ndarray[Any, Any], pa.Array]:
    """Offsets of the lists (one more than there are lists) and the values they point into; slices respected."""
    if pa.types.is_fixed_size_list(array.type):
        size = array.type.list_size
        return (np.arange(len(array) + 1, dtype=np.int64) + array.offset) * size, array.values
    if len(array) == 0:
        return np.zeros(1, dtype=np.int64), array.values
    return array.offsets.to_numpy(), array.values


def _list_of_structs(
    array: pa.Array, offsets: np.ndarray[Any, Any], item: pa.StructArray, pictures: bool
) -> dict[str, Decoded]:
    """A list of structs as a struct of lists."""
    gone = array.is_null().to_numpy(zero_copy_only=False)
    marks = pa.array(offsets.astype(np.int64), mask=np.append(gone, False)) if gone.any() else pa.array(offsets)
    members = item.flatten() if item.null_count else [item.field(i) for i in range(item.type.num_fields)]
    return {
        field.name: _decode(pa.LargeListArray.from_arrays(marks.cast(pa.int64()), member), pictures)[0]
        for field, member in zip(item.type, members, strict=True)
    }


def _leaf(array: pa.Array) -> np.ndarray[Any, Any]:
    kind = array.type
    if array.null_count == 0 or pa.types.is_floating(kind):
        return np.asarray(array.to_numpy(zero_copy_only=False))
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        missing = array.is_null().to_numpy(zero_copy_only=False)
        filled = array.fill_null(False if pa.types.is_boolean(kind) else 0)
        return np.ma.MaskedArray(filled.to_numpy(zero_copy_only=False), mask=missing)
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=object)


def _pictures(array: pa.StructArray, pictures: bool) -> tuple[np.ndarray[Any, Any], bool]:
    encoded = array.flatten()[[field.name for field in array.type].index("bytes")].to_pylist()
    if not pictures:
        return _objects(encoded), True
    pixels = [None if data is None else _pixels(data) for data in encoded]
    shapes = {None if image is None else image.shape for image in pixels}
    if len(shapes) == 1 and None not in shapes:
        return np.stack(pixels), True  # type: ignore[arg-type]
    return _objects(pixels), False


def _pixels(data: bytes) -> np.ndarray[Any, Any]:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["PNG", "JPEG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise FormatError(f"A picture of {image.width} x {image.height} pixels is refused: it is no stamp.")
            return np.asarray(image)
    except (OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        msg = f"A picture cannot be read ({problem}); expected a PNG or a JPEG."
        raise FormatError(msg) from problem


def _objects(rows: list[Any]) -> np.ndarray[Any, Any]:
    """A one-dimensional object array, whatever the rows are."""
    out = np.empty(len(rows), dtype=object)
    for index, row in enumerate(rows):
        out[index] = row
    return out
