"""The partition tree: every row in exactly one leaf, leaves within bounds, the same for any order of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmu.sky.healpix import pixel
from mmu.sky.partition import FINEST_ORDER, Partition, locate, partition_tree

Keys = np.ndarray[Any, Any]


@st.composite
def skies(draw: st.DrawFn) -> Keys:
    """Order-29 pixels of a scattered field, a clump, and objects stacked on one another."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    count = draw(st.integers(0, 300))
    ra = np.concatenate([random.uniform(0, 360, count), 213.75 + random.normal(0, 0.01, count)])
    dec = np.concatenate([random.uniform(-90, 90, count), 35.685 + random.normal(0, 0.01, count)])
    keys = pixel(ra, dec)
    return np.concatenate([keys, np.repeat(keys[:1], draw(st.integers(0, 20)))])


@given(keys=skies(), rows=st.integers(1, 50), per_row=st.integers(1, 1000))
def test_leaves_hold_every_row_once_and_within_bounds(keys: Keys, rows: int, per_row: int) -> None:
    leaves = partition_tree(keys, per_row, rows * per_row)
    where = locate(keys, leaves)
    assert np.all(where >= 0)
    counts = np.bincount(where, minlength=len(leaves))
    assert np.all(counts > 0), "no empty leaf"
    for leaf, count in zip(leaves, counts, strict=True):
        assert count * per_row <= rows * per_row or leaf.order == FINEST_ORDER
    spans = np.array([leaf.span for leaf in leaves]).reshape(-1, 2)
    assert np.all(spans[1:, 0] >= spans[:-1, 1]), "disjoint, in sky order"


@given(keys=skies(), rows=st.integers(1, 50))
def test_leaves_are_the_coarsest_possible(keys: Keys, rows: int) -> None:
    for leaf in partition_tree(keys, 1, rows):
        if leaf.order:
            low, high = Partition(leaf.order - 1, leaf.pixel >> 2).span
            assert ((keys >= low) & (keys < high)).sum() > rows


@given(keys=skies(), seed=st.integers(0, 100))
def test_the_order_of_rows_does_not_matter(keys: Keys, seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(keys)
    assert partition_tree(shuffled, 100, 1000) == partition_tree(keys, 100, 1000)


@given(keys=skies())
def test_rows_are_bounded_too(keys: Keys) -> None:
    leaves = partition_tree(keys, 1, 1 << 40, max_rows=7)
    counts = np.bincount(locate(keys, leaves), minlength=len(leaves))
    assert all(count <= 7 or leaf.order == FINEST_ORDER for leaf, count in zip(leaves, counts, strict=True))


@given(keys=skies(), others=skies())
def test_locate_agrees_with_the_spans(keys: Keys, others: Keys) -> None:
    leaves = partition_tree(keys, 100, 1000)
    for key, found in zip(others, locate(others, leaves), strict=True):
        holding = [index for index, leaf in enumerate(leaves) if leaf.span[0] <= key < leaf.span[1]]
        assert holding == ([found] if found >= 0 else [])


def test_a_row_larger_than_a_partition_has_one_of_its_own() -> None:
    keys = pixel([10.0, 200.0], [0.0, 40.0])
    assert len(partition_tree(keys, 1 << 30, 1 << 20)) == 2


def test_nothing_needs_no_partition() -> None:
    none = np.empty(0, dtype=np.int64)
    assert partition_tree(none, 100, 1000) == []
    assert locate(none, []).tolist() == []
    assert locate(np.array([5]), []).tolist() == [-1]


def test_stacked_positions_end_at_the_finest_order() -> None:
    leaves = partition_tree(np.full(100, 12345), 1, 1)
    assert [leaf.order for leaf in leaves] == [FINEST_ORDER]


@pytest.mark.parametrize(
    ("order", "number", "path"),
    [
        (0, 3, "Norder=0/Dir=0/Npix=3.parquet"),
        (6, 9999, "Norder=6/Dir=0/Npix=9999.parquet"),
        (6, 10000, "Norder=6/Dir=10000/Npix=10000.parquet"),
        (14, 123456789, "Norder=14/Dir=123450000/Npix=123456789.parquet"),
    ],
)
def test_paths_are_those_of_hats(order: int, number: int, path: str) -> None:
    assert Partition(order, number).path == path
    assert str(Partition(order, number)) == f"{order}/{number}"


def test_span_is_the_area_of_a_pixel_at_order_29() -> None:
    part = Partition(4, 1216)
    first, last = part.span
    assert first >> 50 == (last - 1) >> 50 == 1216
    assert last - first == 4**25
