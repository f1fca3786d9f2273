"""The columns of a release as a table for people: from its declaration, or from a dataset on disk."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from mmu.schema.column import Column, Schema

_HEAD = "| column | type | shape | unit | meaning | polarity |\n|---|---|---|---|---|---|"


def column_table(schema: Schema) -> str:
    """A Markdown table of all columns; members of a struct follow it as `struct.member`."""
    rows = [_HEAD]
    for column in schema:
        rows.append(_row(column, f"`{column.name}`"))
        rows.extend(_row(member, f"&nbsp;&nbsp;`{column.name}.{member.name}`") for member in column.members)
    return "\n".join(rows)


def describe(schema: pa.Schema) -> str:
    """One line per column of a dataset on disk, members of structs included: name, type, unit, meaning, polarity."""
    return "\n".join(line for field in schema for line in _described(field))


def _row(column: Column, label: str) -> str:
    kind = f"{column.dtype} of lists" if column.modality == "list" else column.dtype
    shape = " × ".join("*" if length is None else str(length) for length in column.shape)
    unit = column.unit if column.zero_point is None else f"{column.unit} (AB zero point {column.zero_point:g})"
    meaning = column.meaning + (" (may be missing)" if column.nullable else "")
    return "| " + " | ".join(_cell(text) for text in (label, kind, shape, unit, meaning, column.polarity)) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _described(field: pa.Field, prefix: str = "") -> Iterator[str]:
    facts = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    name = prefix + field.name
    words = [facts.get("unit", ""), facts.get("meaning", ""), facts.get("polarity", "")]
    yield f"{name:28} {_kind(field, facts):22} " + "; ".join(word for word in words if word)
    if pa.types.is_struct(field.type) and facts.get("modality") != "picture":
        for member in field.type:
            yield from _described(member, f"{name}.")


def _kind(field: pa.Field, facts: dict[str, str]) -> str:
    """A type in short: `float[*, 160, 160]`, `string`, `struct`."""
    if facts.get("modality") == "picture":
        return "picture" + facts.get("shape", "")
    kind, depth = field.type, 0
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind, depth = kind.value_type, depth + 1
    shape = facts.get("shape", "[" + ", ".join(["null"] * depth) + "]").replace("null", "*")
    return ("struct" if pa.types.is_struct(kind) else str(kind)) + (shape if depth else "")
