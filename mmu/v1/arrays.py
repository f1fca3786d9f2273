"""Values of v1's datasets as Arrow columns of ours: native byte order, texts without blanks, padding dropped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmu.errors import FormatError, MmuError
from mmu.identity import as_text
from mmu.schema.arrow import arrow_type, list_of_type, nest, table_of
from mmu.schema.column import Column
from mmu.v1.columns import Columns
from mmu.v1.records import Block

Values = np.ndarray[Any, Any]


def table_of_block(columns: Columns, block: Block, ids: pa.Array | None, where: str) -> pa.Table:
    """Columns of some records.

    Args:
        ids: what the records are called where the files have no id.

    Raises:
        FormatError: values are not of the type or the shape that the first file has.
        UsageError: ids are floating-point numbers that are no longer exact.
    """
    arrays: dict[str, Any] = {}
    for column in columns.schema:
        source = columns.sources.get(column.name, ())
        try:
            if column.members:
                arrays[column.name] = _struct(columns, column, block)
            elif column.name == "object_id":
                arrays["object_id"] = _ids(block[source], where) if source else ids
            else:
                arrays[column.name] = _arrow(column, block[source])
        except (pa.ArrowException, ValueError, TypeError) as problem:
            if isinstance(problem, MmuError):
                raise
            msg = f"{where}: {column.name!r} is not as in the first file of the tree ({problem})."
            raise FormatError(msg) from problem
    return table_of(columns.schema, arrays)


def _struct(columns: Columns, column: Column, block: Block) -> pa.Array:
    """A struct of arrays without their padding; one mask of all bands is repeated for each."""
    teller = columns.padded.get(column.name)
    names = block[teller] if teller else None
    lengths = None if names is None else _lengths(names)
    arrays = []
    for member in column.members:
        values = block[columns.sources[f"{column.name}.{member.name}"]]
        if names is not None and values.ndim == len(member.shape):
            values = np.repeat(values[:, None], names.shape[1], axis=1)
        arrays.append(_arrow(member, values, lengths))
    return pa.StructArray.from_arrays(arrays, fields=list(arrow_type(column)))


def _lengths(tellers: Values) -> np.ndarray[Any, np.dtype[np.int64]]:
    """How many entries of each row are no padding: up to the last with a name, or a wavelength; (N, L) -> (N,)."""
    if tellers.dtype.kind in "iuf":
        real = tellers > 0
    else:
        real = np.array([bool(one.strip(b" \0" if isinstance(one, bytes) else " \0")) for one in tellers.flat], bool)
    last = np.argmax(real.reshape(tellers.shape)[:, ::-1], axis=1)
    return np.where(real.reshape(tellers.shape).any(axis=1), tellers.shape[1] - last, 0)


def _arrow(column: Column, values: Values, lengths: Values | None = None) -> pa.Array:
    """An array of a file in the column's type; of each row, so many entries as `lengths` says."""
    if column.shape and values.dtype == object and column.dtype != "string":
        return _ragged(column, values)
    if values.ndim != len(column.shape) + 1:
        raise ValueError(f"its values are of shape {values.shape[1:]}")
    if lengths is None or (lengths == values.shape[1]).all():
        return nest(_flat(column, values), values.shape)
    inside = np.arange(values.shape[1]) < lengths[:, None]
    kept = values[inside]
    ends = pa.array(np.r_[0, np.cumsum(lengths)].astype(np.int32))
    inner = nest(_flat(column, kept), kept.shape)
    return pa.ListArray.from_arrays(ends, inner, type=list_of_type(inner.type))


def _ragged(column: Column, values: Values) -> pa.Array:
    """Lists of variable length, as the file has them."""
    ends = pa.array(np.r_[0, np.cumsum([len(row) for row in values])].astype(np.int32))
    flat = np.concatenate([*values, np.empty(0, column.dtype)])
    return pa.ListArray.from_arrays(ends, _flat(column, flat), type=arrow_type(column))


def _flat(column: Column, values: Values) -> pa.Array:
    """All values one after the other; a number is never made smaller."""
    flat = np.ascontiguousarray(values).reshape(-1)
    if flat.size > np.iinfo(np.int32).max:
        raise ValueError(f"{flat.size} values are too many for one Arrow array")
    if column.dtype == "string":
        return _texts(flat)
    return pa.array(flat.astype(np.dtype(column.dtype), casting="safe", copy=False))


def _texts(values: Values) -> pa.Array:
    """Texts without the blanks at their end that fill a fixed width; bytes that are no UTF-8 as `\\xe9`."""
    if values.dtype.kind == "S":
        values = values.astype(object)
    texts = [one.decode("utf-8", "backslashreplace") if isinstance(one, bytes) else str(one) for one in values]
    return pc.utf8_rtrim(pa.array(texts, pa.string()), " \0")


def _ids(values: Values, where: str) -> pa.ChunkedArray:
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    return as_text(pa.chunked_array([pa.array(native.astype(object) if native.dtype.kind == "S" else native)]), where)
