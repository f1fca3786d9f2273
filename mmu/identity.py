"""Which column is the id and which are the position, where a table's author did not know of us; ids as exact text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmu.errors import UsageError

IDS = (
    *("object_id", "source_id", "SOURCE_ID", "TARGETID", "targetid"),
    *("objid", "objID", "objectId", "id", "ID", "designation"),
)
"""Usual names of an id, the surest first."""

PAIRS = (
    *(("ra", "dec"), ("ra", "decl"), ("ra", "de"), ("radeg", "dedeg"), ("radeg", "decdeg"), ("ra_deg", "dec_deg")),
    *(("ra_icrs", "de_icrs"), ("ra_icrs", "dec_icrs"), ("raj2000", "dej2000"), ("raj2000", "decj2000")),
    *(("_ra", "_de"), ("_raj2000", "_dej2000"), ("ra_j2000", "dec_j2000"), ("ra2000", "dec2000")),
    *(("alpha_j2000", "delta_j2000"), ("target_ra", "target_dec"), ("plug_ra", "plug_dec"), ("plugra", "plugdec")),
    *(("objra", "objdec"), ("s_ra", "s_dec"), ("ramean", "decmean"), ("coord_ra", "coord_dec")),
    ("right_ascension", "declination"),
)
"""Usual names of right ascension and declination that belong together, in small letters."""

_LARGEST_EXACT = float(1 << 53)


def id_of(columns: Sequence[str], properties: Mapping[str, str] | None = None) -> str:
    """The column of ids, "" if none has a usual name, or the one that a catalogue's properties name."""
    said = (properties or {}).get("hats_cols_survey_id", "").split()
    return next((name for name in (*IDS[:1], *said, *IDS) if name in columns), "")


def pairs_of(columns: Sequence[str], usual: Sequence[tuple[str, str]] = PAIRS) -> list[tuple[str, str]]:
    """The usual pairs that are there, whatever their case, both members in the same order of preference."""
    written: dict[str, list[str]] = {}
    for name in columns:
        written.setdefault(name.lower(), []).append(name)
    return [
        (one, other)
        for first, second in usual
        for one in written.get(first, ())
        for other in written.get(second, ())
        if one.isupper() == other.isupper() or len(written[first]) == len(written[second]) == 1
    ]


def as_text(ids: pa.ChunkedArray, what: str) -> pa.ChunkedArray:
    """Ids of any type as `string`, without the padding of a fixed width; an empty one counts as missing.

    Raises:
        UsageError: they are floating-point numbers that are no longer exact, or cannot be text.
    """
    if pa.types.is_dictionary(ids.type):
        ids = ids.cast(ids.type.value_type)
    if pa.types.is_floating(ids.type):
        ids = _whole(ids, what)
    try:
        if pa.types.is_fixed_size_binary(ids.type):
            ids = ids.cast(pa.binary())
        texts = ids.cast(pa.string())
    except pa.ArrowException as problem:
        raise UsageError(f"{what} holds {ids.type}, which cannot be an id.") from problem
    if not pa.types.is_integer(ids.type):
        texts = pc.utf8_trim(texts, " \t\0")
        texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
    return texts if isinstance(texts, pa.ChunkedArray) else pa.chunked_array([texts])


def _whole(ids: pa.ChunkedArray, what: str) -> pa.ChunkedArray:
    """Whole numbers that a library kept as floating-point ones, where none can have been rounded."""
    values = np.asarray(ids.to_numpy(), dtype=np.float64)
    known = values[~np.isnan(values)]
    if not (np.abs(known) < _LARGEST_EXACT).all() or (known != np.floor(known)).any():
        raise UsageError(f"{what} holds ids as floating-point numbers, which are not exact; give integers or text.")
    missing = np.isnan(values)
    return pa.chunked_array([pa.array(np.where(missing, 0, values).astype(np.int64), mask=missing)])
