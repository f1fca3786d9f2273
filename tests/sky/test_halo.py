"""The surroundings of a partition: everything within the radius is covered, told row by row."""

from __future__ import annotations

from typing import Any

import healpy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmu.shards.margin import RING_ORDER
from mmu.sky.halo import Cover, border, ring, ring_order
from mmu.sky.healpix import MAX_ORDER, centres, max_radius_deg, pixel, separation_deg
from mmu.sky.neighbours import neighbours
from mmu.sky.partition import Partition

Floats = np.ndarray[Any, Any]

RADIUS = st.floats(-1.0, np.log10(3 * 3600.0)).map(lambda power: 10.0**power)
WIDEST = 16.1 * 2**13


@st.composite
def partitions(draw: st.DrawFn, finest: int = 14) -> Partition:
    """Any pixel, and the ones at poles, corners of base pixels and the equator."""
    order = draw(st.integers(0, finest))
    base, last = draw(st.integers(0, 11)), 4**order - 1
    x = (4**order - 1) // 3  # every other bit: a corner of the base pixel
    within = draw(st.sampled_from([0, last, x, 2 * x, last // 2]) | st.integers(0, last))
    return Partition(order, base * 4**order + within)


def inside(partition: Partition, random: np.random.Generator, count: int = 60) -> tuple[Floats, Floats]:
    """Positions in a partition, most of them along its border."""
    deep = min(MAX_ORDER, partition.order + 12)
    edge = border(partition, deep)
    within = (partition.pixel << (2 * (deep - partition.order))) + random.integers(
        0, 4 ** (deep - partition.order), count
    )
    pixels = np.concatenate([random.choice(edge, count), within[: count // 4]])
    shift = 2 * (MAX_ORDER - deep)
    fine = (pixels << shift) + random.integers(0, 1 << shift, len(pixels))
    ra, dec = healpy.pix2ang(1 << MAX_ORDER, fine, nest=True, lonlat=True)
    return np.asarray(ra), np.asarray(dec)


def away(
    ra: Floats, dec: Floats, arcsec: Floats | float, random: np.random.Generator, turn: Floats | None = None
) -> tuple[Floats, Floats]:
    """Positions so far from others, in any direction."""
    centre = np.array(healpy.ang2vec(ra, dec, lonlat=True))
    east = np.cross([0.0, 0.0, 1.0], centre)
    east /= np.maximum(np.linalg.norm(east, axis=1, keepdims=True), 1e-300)
    angle = random.uniform(0, 2 * np.pi, len(ra)) if turn is None else turn
    way = np.cos(angle)[:, None] * east + np.sin(angle)[:, None] * np.cross(centre, east)
    far = np.radians(np.asarray(arcsec) / 3600.0) * np.ones(len(ra))
    there = np.cos(far)[:, None] * centre + np.sin(far)[:, None] * way
    lon, lat = healpy.vec2ang(there, lonlat=True)
    return np.asarray(lon), np.asarray(lat)


@given(leaf=partitions(), radius=RADIUS, seed=st.integers(0, 10_000))
def test_everything_within_the_radius_is_covered(leaf: Partition, radius: float, seed: int) -> None:
    random, cover = np.random.default_rng(seed), Cover(leaf, radius)
    here = inside(leaf, random)
    assert cover.inside(pixel(*here)).all()
    for share in (0.999999, 0.5, random.uniform(0, 1, len(here[0])) * 0.999999):
        assert cover.covers(pixel(*away(*here, radius * share, random))).all()


@given(leaf=partitions(), radius=RADIUS, seed=st.integers(0, 10_000))
def test_what_is_told_row_by_row_is_what_the_spans_say(leaf: Partition, radius: float, seed: int) -> None:
    random, cover = np.random.default_rng(seed), Cover(leaf, radius)
    spans = cover.spans
    assert (spans[:, 0] < spans[:, 1]).all()
    assert (spans[1:, 0] > spans[:-1, 1]).all(), "sorted, disjoint, and those that touch are one"
    keys = np.concatenate(
        [spans.ravel(), spans.ravel() - 1, pixel(*away(*inside(leaf, random), 3 * radius, random))]
    ).clip(0, 12 * 4**MAX_ORDER - 1)
    held = ((keys[:, None] >= spans[:, 0]) & (keys[:, None] < spans[:, 1])).any(axis=1)
    assert np.array_equal(cover.covers(keys), held)
    low, high = leaf.span
    assert np.array_equal(cover.inside(keys), (keys >= low) & (keys < high))
    assert cover.covers(keys[cover.inside(keys)]).all()
    low, high = np.sort(random.choice(keys, (40, 2)), axis=1).T
    meets = [((spans[:, 0] <= last) & (spans[:, 1] > first)).any() for first, last in zip(low, high, strict=True)]
    assert cover.meets(low, high).tolist() == meets
    keys.sort()
    rows = [np.arange(first, last) for first, last in cover.stretches(keys)]
    assert np.array_equal(np.concatenate([*rows, np.empty(0, int)]), np.flatnonzero(cover.covers(keys)))


@given(leaf=partitions(), radius=RADIUS, finer=st.integers(0, 6), seed=st.integers(0, 10_000))
def test_what_lies_along_borders_is_all_that_any_ring_holds(
    leaf: Partition, radius: float, finer: int, seed: int
) -> None:
    """For the leaf, and for a leaf of another order that touches it or lies in it."""
    random = np.random.default_rng(seed)
    near = np.unique(neighbours(leaf.order, [leaf.pixel]))
    other = Partition(leaf.order + finer, int(random.choice(near[near >= 0])) << (2 * finer))
    covers = [Cover(one, radius, (leaf.order, other.order)) for one in (leaf, other)]
    for cover in covers:
        keys = np.r_[cover.spans.ravel() - 1, cover.spans.ravel()].clip(0, 12 * 4**MAX_ORDER - 1)
        ring = keys[cover.covers(keys) & ~cover.inside(keys)]
        for one in covers:
            assert one.along_borders(ring).all()


def test_a_strip_along_borders_is_thin() -> None:
    cover = Cover(Partition(4, 1000), 1.0, (4,))
    low, high = cover.partition.span
    share = cover.along_borders(np.random.default_rng(0).integers(low, high, 10_000)).mean()
    assert cover.thin
    assert 0.02 < share < 0.05
    wide = Cover(Partition(13, 1000), 3600.0, (13,))
    assert not wide.thin
    assert wide.along_borders(np.array([0, 1])).all()


@given(leaf=partitions(), radius=RADIUS, seed=st.integers(0, 10_000))
def test_a_cover_is_not_much_larger_than_it_must_be(leaf: Partition, radius: float, seed: int) -> None:
    """A ring of some hundred pixels, none of which is far away."""
    random, cover = np.random.default_rng(seed), Cover(leaf, radius)
    assert len(cover.ring) <= 4 * 128 + 4
    ra, dec = centres(leaf.order, np.repeat(leaf.pixel, 60))
    beyond = max_radius_deg(leaf.order) * 3600 * 1.2 + 15 * radius
    if beyond < 150 * 3600:
        assert not cover.covers(pixel(*away(ra, dec, random.uniform(beyond, 150 * 3600, 60), random))).any()


@given(
    order=st.integers(0, MAX_ORDER),
    base=st.integers(0, 11),
    seed=st.integers(0, 1_000_000),
    corner=st.integers(0, 4),
)
def test_pixels_of_a_rings_order_are_nowhere_narrower_than_the_radius(
    order: int, base: int, seed: int, corner: int
) -> None:
    random = np.random.default_rng(seed)
    radius = WIDEST / 2.0**order * (1 - 1e-9)
    assert ring_order(radius) == order
    within = int(random.integers(0, 4**order))
    if corner:  # near where base pixels meet, where pixels are most askew
        x = (4**order - 1) // 3
        at = [0, 4**order - 1, x, 2 * x][corner - 1]
        near = neighbours(order, neighbours(order, [base * 4**order + at]).max(axis=1, initial=0)).ravel()
        one = int(random.choice(near[near >= 0]))
    else:
        one = base * 4**order + within
    leaf = Partition(order, one)
    here = inside(leaf, random, 200)
    there = pixel(*away(*here, radius * 0.999999, random), order)
    assert np.isin(there, [one, *neighbours(order, [one]).ravel()]).all()


@pytest.mark.parametrize("order", [3, 6, 8])
def test_the_narrowest_pixel_of_an_order_is_wider_than_said(order: int) -> None:
    """The distance between opposite sides, of all pixels."""
    count = 12 * 4**order
    pixels = np.arange(count) if order < 8 else np.random.default_rng(1).choice(count, 20_000, replace=False)
    step = 8
    edges = healpy.boundaries(1 << order, pixels, step=step, nest=True)
    edges = np.concatenate([edges, edges[:, :, :1]], axis=2)
    sides = [edges[:, :, n * step : (n + 1) * step + 1] for n in range(4)]
    widths = []
    for one, other in ((sides[0], sides[2]), (sides[1], sides[3])):
        gap = np.linalg.norm(one[:, :, :, None] - other[:, :, None, :], axis=1)
        widths.append(np.degrees(2 * np.arcsin(gap.min(axis=(1, 2)) / 2)) * 3600)
    assert np.minimum(*widths).min() > WIDEST / 2.0**order


@pytest.mark.parametrize(
    ("radius", "order"),
    [(1e-9, 29), (WIDEST / 2**29, 29), (WIDEST / 2**28, 28), (10.0, 13), (16.1, 13), (16.2, 12), (3600.0, 5)],
)
def test_the_order_of_a_ring(radius: float, order: int) -> None:
    assert ring_order(radius) == order


def test_a_ring_wider_than_the_largest_pixels_is_refused() -> None:
    assert ring_order(WIDEST) == 0
    with pytest.raises(ValueError, match="cannot cover"):
        ring_order(WIDEST * 1.01)


@given(leaf=partitions(8), deeper=st.integers(0, 5))
def test_a_ring_is_the_pixels_that_touch_from_outside(leaf: Partition, deeper: int) -> None:
    order = leaf.order + deeper
    own = (leaf.pixel << (2 * deeper)) + np.arange(4**deeper)
    around = np.unique(neighbours(order, own))
    assert ring(leaf, order).tolist() == np.setdiff1d(around[around >= 0], own).tolist()
    touching = own[np.isin(neighbours(order, own), ring(leaf, order)).any(axis=0)]
    assert set(touching.tolist()) <= set(border(leaf, order).tolist())


def test_a_partition_finer_than_its_ring_lies_in_it() -> None:
    leaf = Partition(14, 98765)
    assert leaf.pixel >> 8 in ring(leaf, 10)
    assert len(ring(leaf, 10)) == 9


@pytest.mark.parametrize("leaf", [Partition(0, 4), Partition(5, 300), Partition(13, 12345), Partition(14, 98765)])
def test_the_ring_of_a_margin_covers_ten_arcsec(leaf: Partition) -> None:
    corners = healpy.boundaries(1 << leaf.order, leaf.pixel, step=256, nest=True).T
    ra, dec = (np.repeat(axis, 16) for axis in healpy.vec2ang(corners, lonlat=True))
    turn = np.tile(np.linspace(0, 2 * np.pi, 16, endpoint=False), len(corners))
    keys = pixel(*away(ra, dec, 10.0, np.random.default_rng(1), turn))
    outside = keys[(keys < leaf.span[0]) | (keys >= leaf.span[1])]
    assert np.isin(outside >> (2 * (MAX_ORDER - RING_ORDER)), ring(leaf, RING_ORDER)).all()


def test_what_is_far_is_in_no_ring() -> None:
    cover = Cover(Partition(13, 12345), 10.0)
    ra, dec = inside(cover.partition, np.random.default_rng(1))
    far = away(ra, dec, 600.0, np.random.default_rng(2))
    assert (separation_deg(ra, dec, *far) * 3600 > 500).all()
    assert not cover.covers(pixel(*far)).any()
