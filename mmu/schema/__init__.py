"""Columns and modalities, and what is made from them: Arrow schema, Hugging Face features, documentation.

A survey's declaration needs no Arrow; what does is loaded when first used, so naming surveys and releases is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mmu.schema.column import HEALPIX, IDENTITY, Column, Schema, scalars
from mmu.schema.modality import MODALITIES, Modality, list_of, picture

if TYPE_CHECKING:
    from mmu.schema.arrow import arrow_field, arrow_schema, arrow_type, column_array, column_of, nested_list, table_of

__all__ = [
    "HEALPIX",
    "IDENTITY",
    "MODALITIES",
    "Column",
    "Modality",
    "Schema",
    "arrow_field",
    "arrow_schema",
    "arrow_type",
    "column_array",
    "column_of",
    "list_of",
    "nested_list",
    "picture",
    "scalars",
    "table_of",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        msg = f"module 'mmu.schema' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module("mmu.schema.arrow"), name)
