"""Columns and modalities, and what is made from them: Arrow schema, Hugging Face features, documentation."""

from mmu.schema.arrow import arrow_field, arrow_schema, arrow_type, column_array, column_of, nested_list, table_of
from mmu.schema.column import HEALPIX, IDENTITY, Column, Schema, scalars
from mmu.schema.modality import MODALITIES, Modality, list_of, picture

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
