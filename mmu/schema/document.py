"""The columns of a release as a table for people."""

from __future__ import annotations

from mmu.schema.column import Column, Schema

_HEAD = "| column | type | shape | unit | meaning | polarity |\n|---|---|---|---|---|---|"


def column_table(schema: Schema) -> str:
    """A Markdown table of all columns; members of a struct follow it as `struct.member`."""
    rows = [_HEAD]
    for column in schema:
        rows.append(_row(column, f"`{column.name}`"))
        rows.extend(_row(member, f"&nbsp;&nbsp;`{column.name}.{member.name}`") for member in column.members)
    return "\n".join(rows)


def _row(column: Column, label: str) -> str:
    kind = f"{column.dtype} of lists" if column.modality == "list" else column.dtype
    shape = " × ".join("*" if length is None else str(length) for length in column.shape)
    unit = column.unit if column.zero_point is None else f"{column.unit} (AB zero point {column.zero_point:g})"
    meaning = column.meaning + (" (may be missing)" if column.nullable else "")
    return "| " + " | ".join(_cell(text) for text in (label, kind, shape, unit, meaning, column.polarity)) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
