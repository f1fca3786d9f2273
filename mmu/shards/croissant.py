"""croissant.json: the same dataset for machines, in Croissant 1.1 (JSON-LD), as search engines and loaders read it.

Each configuration is a set of files (its shards, by a glob) and a set of records with a field for every column.
Checksums of the shards are in the ledger; the ledger's own list of them is named here with its SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmu.schema.column import HEALPIX, Column
from mmu.shards.configuration import Configuration

NAME = "croissant.json"
_CROISSANT = "http://mlcommons.org/croissant/"
_TERMS = (
    "citeAs column extract field fileProperty fileObject fileSet format includes isArray arrayShape isLiveDataset "
    "jsonPath key md5 parentField path recordSet references regex repeated replace separator source subField transform"
).split()
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": _CROISSANT,
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "rai": _CROISSANT + "RAI/",
    "samplingRate": "cr:samplingRate",
    **{term: f"cr:{term}" for term in _TERMS},
}
_TYPES = {"bool": "sc:Boolean", "string": "sc:Text", "picture": "sc:ImageObject"}


def croissant(root: Path, about: dict[str, Any], configurations: Sequence[Configuration]) -> str:
    """The text of `croissant.json`.

    Args:
        root: the folder it is for.
        about: `name`, `description`, `url`, `license`, `citeAs`, `creator`, `version`, `keywords` of schema.org.
    """
    filled = [one for one in configurations if one.rows]
    dataset = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": _CROISSANT + "1.1",
        **about,
        "distribution": [part for one in filled for part in _files(root, one)],
        "recordSet": [_records(one) for one in filled],
    }
    return json.dumps(dataset, indent=1, ensure_ascii=False) + "\n"


def _files(root: Path, one: Configuration) -> Iterator[dict[str, Any]]:
    ledger = root / one.name / "_mmu" / "shards.parquet"
    yield {
        "@type": "cr:FileSet",
        "@id": f"{one.name}-shards",
        "name": f"{one.name}-shards",
        "description": f"{one.shards:,} Parquet files, one HEALPix pixel each, {one.bytes:,} bytes together.",
        "encodingFormat": "application/x-parquet",
        "includes": one.glob,
    }
    if ledger.is_file():
        content = ledger.read_bytes()
        yield {
            "@type": "cr:FileObject",
            "@id": f"{one.name}-checksums",
            "name": f"{one.name}-checksums",
            "description": f"The shards of {one.name}: pixel, rows, bytes and checksum (xxh3-128) of each.",
            "contentUrl": ledger.relative_to(root).as_posix(),
            "contentSize": f"{len(content)} B",
            "encodingFormat": "application/x-parquet",
            "sha256": hashlib.sha256(content).hexdigest(),
        }


def _records(one: Configuration) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": one.name,
        "name": one.name,
        "description": f"{one.title} ({one.rows:,} rows).",
        "field": [_field(one, column) for column in (HEALPIX, *one.schema)],
    }


def _field(one: Configuration, column: Column) -> dict[str, Any]:
    """A column; the members of a struct are fields below it."""
    if not column.members:
        step = "bytes" if column.dtype == "picture" else ""
        return _named(f"{one.name}/{column.name}", column) | _value(column) | _source(one, column.name, step)
    members = [
        _named(f"{one.name}/{column.name}/{part.name}", part) | _value(part) | _source(one, column.name, part.name)
        for part in column.members
    ]
    return _named(f"{one.name}/{column.name}", column) | {"subField": members}


def _named(identifier: str, column: Column) -> dict[str, Any]:
    zero = "" if column.zero_point is None else f"AB zero point {column.zero_point:g}"
    unit = f"unit: {column.unit}" if column.unit else ""
    words = "; ".join(text for text in (column.meaning, unit, zero, column.polarity) if text)
    field = {"@type": "cr:Field", "@id": identifier, "name": column.name}
    return {**field, "description": words} if words else field


def _value(column: Column) -> dict[str, Any]:
    """Its type, and the shape of an array; -1 for an axis whose length differs from record to record."""
    kind = {"dataType": _TYPES.get(column.dtype, f"cr:{_capital(column.dtype)}")}
    if not column.shape or column.dtype == "picture":
        return kind
    shape = ",".join("-1" if length is None else str(length) for length in column.shape)
    return {**kind, "isArray": True, "arrayShape": shape}


def _capital(dtype: str) -> str:
    return dtype.replace("uint", "UInt") if dtype.startswith("u") else dtype.capitalize()


def _source(one: Configuration, column: str, member: str = "") -> dict[str, Any]:
    source = {"fileSet": {"@id": f"{one.name}-shards"}, "extract": {"column": column}}
    return {"source": {**source, "transform": {"jsonPath": member}} if member else source}
