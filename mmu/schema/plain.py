"""Others' Arrow schemas and tables as ours are: plain nested lists, with shapes and modalities in the fields' metadata.

Catalogues on the Hub (Multimodal Universe v1.5) mark planes as Array2D of `datasets`, within structs too. Where that
was imported, Arrow makes extension types of the marks, which most of its functions do not take; else they stay words in
the metadata. Here both become the same: the storage, and the shape as ours say it.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from mmu.schema.modality import MODALITIES

_NAME, _SAID = b"ARROW:extension:name", b"ARROW:extension:metadata"
_ARRAYS = "datasets.features.features.Array"

_KNOWN = {"image": {"band", "flux"}, "spectrum": {"flux", "lambda"}, "lightcurve": {"time"}}
"""Structs that are of a modality by their name, where they have these members."""


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """A schema without extension types; one of ours is returned as it is."""
    if not any(_marked(field) for field in schema):
        return pa.schema([_told(field) for field in schema], metadata=schema.metadata)
    return pa.schema([_told(_plain_field(field)) for field in schema], metadata=schema.metadata)


def plain(table: pa.Table) -> pa.Table:
    """A table whose columns are of the types that `plain_schema` gives; nothing is copied."""
    if not any(_marked(field) for field in table.schema):
        return table
    fields = [_plain_field(field) for field in table.schema]
    columns = [
        pa.chunked_array([_storage(chunk, field.type) for chunk in column.chunks], field.type)
        for field, column in zip(fields, table.columns, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=table.schema.metadata))


def _mark_of(field: pa.Field) -> tuple[int | None, ...] | None:
    """The shape that an extension says, () where it says none; None for a field that is no extension."""
    facts = field.metadata or {}
    if isinstance(field.type, pa.BaseExtensionType):
        name = field.type.extension_name
        said = field.type.__arrow_ext_serialize__() if name.startswith(_ARRAYS) else b""
    elif _NAME in facts:
        name, said = facts[_NAME].decode(), facts.get(_SAID, b"")
    else:
        return None
    return tuple(json.loads(said)[0]) if name.startswith(_ARRAYS) and said else ()


def _marked(field: pa.Field) -> bool:
    """True if a field, or one in it, is marked as an extension."""
    if _mark_of(field) is not None:
        return True
    return any(_marked(inner) for inner in _inner(field.type))


def _inner(kind: pa.DataType) -> list[pa.Field]:
    if isinstance(kind, pa.BaseExtensionType):
        return []
    if pa.types.is_struct(kind):
        return list(kind)
    return [kind.value_field] if _is_list(kind) else []


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _plain_field(field: pa.Field) -> pa.Field:
    facts = {key: text for key, text in (field.metadata or {}).items() if key not in (_NAME, _SAID)}
    shape = _shape(field)
    if shape is not None and b"shape" not in facts:
        facts[b"shape"] = json.dumps(shape).encode()
    return pa.field(field.name, _plain_type(field.type), field.nullable, metadata=facts or None)


def _shape(field: pa.Field) -> tuple[int | None, ...] | None:
    """The shape of a value, by the mark on it, or on what its lists hold: their own lengths may differ."""
    mark = _mark_of(field)
    if mark is not None:
        return mark or None
    if not _is_list(field.type):
        return None
    inner = _shape(field.type.value_field)
    return None if inner is None else (None, *inner)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        return _plain_type(kind.storage_type)
    if pa.types.is_struct(kind):
        return pa.struct([_plain_field(field) for field in kind])
    if not _is_list(kind):
        return kind
    item = pa.field("element", _plain_type(kind.value_type), kind.value_field.nullable)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(item, kind.list_size)
    return pa.large_list(item) if pa.types.is_large_list(kind) else pa.list_(item)


def _storage(array: pa.Array, kind: pa.DataType) -> Any:
    """An array of the plain type, on the same memory."""
    while isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_struct(kind):
        fields = [_storage(array.field(index), field.type) for index, field in enumerate(kind)]
        return pa.StructArray.from_arrays(fields, fields=list(kind), mask=array.is_null() if array.null_count else None)
    if not _is_list(kind):
        return array
    own = 1 if pa.types.is_fixed_size_list(kind) else 2
    values = _storage(array.values, kind.value_type)
    return pa.Array.from_buffers(kind, len(array), array.buffers()[:own], array.null_count, array.offset, [values])


def _told(field: pa.Field) -> pa.Field:
    """A struct of images or spectra of others, marked as the modality that it is by its name."""
    facts = field.metadata or {}
    known = _KNOWN.get(field.name)
    if known is None or b"modality" in facts or not pa.types.is_struct(field.type):
        return field
    if not known <= {member.name for member in field.type}:
        return field
    polarity = {member.name: member.polarity for member in MODALITIES[field.name].members}
    members = [_with_polarity(member, polarity.get(member.name, "")) for member in field.type]
    kind = pa.struct(members)
    return pa.field(field.name, kind, field.nullable, metadata={**facts, b"modality": field.name.encode()})


def _with_polarity(member: pa.Field, polarity: str) -> pa.Field:
    """Flags with v1's polarity, where the field does not say one."""
    kind = member.type
    while _is_list(kind):
        kind = kind.value_type
    if not polarity or not pa.types.is_boolean(kind) or b"polarity" in (member.metadata or {}):
        return member
    return member.with_metadata({**(member.metadata or {}), b"polarity": polarity.encode()})
