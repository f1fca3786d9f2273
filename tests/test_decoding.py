"""`mmu.decode` against Arrow's own conversion to Python, for any nesting."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmu.decoding import decode, decode_column
from mmu.schema import nested_list
from tests.shards.sample import SIDE, png, records

LEAVES = [
    (pa.float32(), st.floats(width=32, allow_nan=False)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.bool_(), st.booleans()),
    (pa.string(), st.text(max_size=3)),
]
BUILD = [pa.list_, pa.large_list, lambda kind: pa.list_(pa.field("item", kind, nullable=False))]


def plain(value: Any) -> Any:
    """What was decoded as Python objects, missing values as None."""
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items()}
    if value is np.ma.masked:
        return None
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value] if value.ndim else value.item()
    if isinstance(value, np.generic):
        return None if value != value else value.item()
    return value


@st.composite
def nested_arrays(draw: st.DrawFn) -> pa.Array:
    """An array of lists of one to four levels, with or without missing rows, sliced."""
    kind, leaf = draw(st.sampled_from(LEAVES))
    values: st.SearchStrategy[Any] = leaf
    for _ in range(draw(st.integers(0, 3))):
        size = draw(st.one_of(st.none(), st.integers(0, 3)))
        kind = draw(st.sampled_from(BUILD))(kind)
        values = st.lists(values, min_size=size or 0, max_size=3 if size is None else size)
    rows = draw(st.lists(st.one_of(st.none(), values) if draw(st.booleans()) else values, max_size=6))
    array = pa.array(rows, type=kind)
    start = draw(st.integers(0, len(array)))
    return array.slice(start, draw(st.integers(0, len(array))))


@given(nested_arrays())
@settings(max_examples=300, deadline=None)
def test_any_nesting_equals_to_pylist(array: pa.Array) -> None:
    assert plain(decode_column(array)) == array.to_pylist()


@given(nested_arrays())
@settings(max_examples=100, deadline=None)
def test_structs_respect_their_own_slices(array: pa.Array) -> None:
    struct = pa.StructArray.from_arrays([array, pa.array(range(len(array)))], ["x", "n"]).slice(1)
    decoded = plain(decode_column(struct))
    assert decoded["x"] == [row["x"] for row in struct.to_pylist()]
    assert decoded["n"] == [row["n"] for row in struct.to_pylist()]


def test_regular_lists_are_views_of_the_batch() -> None:
    values = np.arange(2 * 3 * 4 * 4, dtype="f4").reshape(2, 3, 4, 4)
    array = nested_list(values)
    decoded = decode({"x": array})["x"]
    assert decoded.shape == (2, 3, 4, 4)
    assert np.shares_memory(decoded, values)
    assert np.array_equal(decode_column(array.slice(1))[0], values[1])


def test_ragged_rows_are_arrays_of_their_own() -> None:
    table = records(7)
    flux = decode(table)["image"]["flux"]
    assert flux.dtype == object
    assert {row.shape for row in flux} == {(3, SIDE, SIDE), (4, SIDE, SIDE)}
    assert flux[1].dtype == np.float32


def test_fixed_size_lists_and_lists_of_structs() -> None:
    fixed = pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int32(), 2)).slice(1)
    assert decode_column(fixed).tolist() == [[3, 4], [5, 6]]
    lists = pa.array([[{"a": 1, "b": "x"}], None, [{"a": 2, "b": "y"}, {"a": 3, "b": "z"}]])
    assert plain(decode_column(lists)) == {"a": [[1], None, [2, 3]], "b": [["x"], None, ["y", "z"]]}


def test_integers_with_gaps_are_masked_and_exact() -> None:
    decoded = decode_column(pa.chunked_array([[2**60 + 1, None], [2**60 + 3]]))
    assert isinstance(decoded, np.ma.MaskedArray)
    assert decoded.tolist() == [2**60 + 1, None, 2**60 + 3]


def test_a_missing_struct_has_missing_members() -> None:
    decoded = decode_column(pa.array([{"a": 1.5, "b": [1]}, None, {"a": 2.5, "b": [2]}]))
    assert np.isnan(decoded["a"][1])
    assert decoded["b"][1] is None


def test_pictures_stay_bytes_unless_asked_for() -> None:
    pixels = np.arange(48, dtype="u1").reshape(4, 4, 3)
    data = png(pixels)
    batch = {"rgb": pa.array([{"bytes": data, "path": None}] * 3)}
    assert decode(batch)["rgb"].tolist() == [data] * 3
    assert np.array_equal(decode(batch, pictures=True)["rgb"], np.stack([pixels] * 3))


def test_other_values_and_empty_tables_pass() -> None:
    assert decode({"x": [1, 2]}) == {"x": [1, 2]}
    empty = decode(records(3).slice(0, 0))
    assert len(empty["object_id"]) == 0
    assert empty["image"]["flux"].shape == (0, 0, 0, 0)
    assert decode_column(pa.chunked_array([], pa.list_(pa.float32()))).shape == (0, 0)


def test_extension_types_and_dictionaries_give_their_storage() -> None:
    from datasets.features.features import Array2DExtensionType

    kind = Array2DExtensionType((2, 2), "float32")
    storage = pa.array([[[1, 2], [3, 4]]] * 3, kind.storage_type)
    column = pa.chunked_array([pa.ExtensionArray.from_storage(kind, storage)] * 2)
    assert decode_column(column).shape == (6, 2, 2)
    assert decode_column(pa.array(["a", "b", "a"]).dictionary_encode()).tolist() == ["a", "b", "a"]


@pytest.mark.parametrize("ragged", [False, True])
def test_values_are_not_looked_at_one_by_one(ragged: bool) -> None:
    rows, side = 64, 96
    flux = nested_list(np.zeros((rows, 4, side, side), "f4"))
    mask = nested_list(np.zeros((rows, 4, side, side), bool))
    if ragged:
        keep = pa.array(np.arange(rows) % 2 * 4, pa.int32())
        lengths = np.concatenate([[0], np.cumsum(4 - keep.to_numpy() // 4)]).astype("i4")
        flux = pa.ListArray.from_arrays(pa.array(lengths), flux.values, type=flux.type)
        mask = pa.ListArray.from_arrays(pa.array(lengths), mask.values, type=mask.type)
    batch = pa.table({"image": pa.StructArray.from_arrays([flux, mask], ["flux", "mask"])})
    assert _calls(lambda: decode(batch)) < 100 * rows


def _calls(work: Callable[[], Any]) -> int:
    """Functions that are called, of Python and of C."""
    events: list[str] = []
    sys.setprofile(lambda frame, event, function: events.append(event))
    try:
        work()
    finally:
        sys.setprofile(None)
    return sum(event in ("call", "c_call") for event in events)
