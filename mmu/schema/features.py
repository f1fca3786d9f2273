"""From columns to the card's `dataset_info.features`, from which `datasets` restores the shapes.

Written without importing `datasets`, as plain lists and dicts. The order of keys matters to its parser: dump with
`sort_keys=False`.
"""

from __future__ import annotations

from typing import Any

from mmu.schema.column import HEALPIX, Column, Schema


def features_yaml(schema: Schema) -> list[dict[str, Any]]:
    """The features of a shard's columns, `_healpix_29` first, as `datasets` reads them from YAML."""
    return [_feature(column) for column in (HEALPIX, *schema)]


def _feature(column: Column) -> dict[str, Any]:
    name = {"name": column.name}
    if column.dtype == "picture":
        return {**name, "dtype": "image"}
    if column.members:
        return {**name, "struct": [_feature(member) for member in column.members]}
    if len(column.shape) == 0:
        return {**name, "dtype": column.dtype}
    if len(column.shape) == 1 or None in column.shape[1:]:  # its arrays may be ragged along the first axis only
        inner: Any = column.dtype
        for _ in column.shape[1:]:
            inner = {"list": inner}
        return {**name, "list": inner}
    return {**name, "dtype": {f"array{len(column.shape)}_d": {"shape": list(column.shape), "dtype": column.dtype}}}
