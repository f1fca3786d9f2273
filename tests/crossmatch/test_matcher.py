"""The matcher against every pair there is: as a set, in any mode, anywhere on the sphere."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmatch.matcher import Errors, Matches, match
from mmu.errors import UsageError
from mmu.sky.healpix import separation_deg
from tests.crossmatch.catalogues import Floats, Positions, scattered, vertices

PLACES = {
    "everywhere": [],
    "a field": [(150.1, 2.2)],
    "RA 0": [(0.0, 5.0), (360.0, 5.0), (359.9999, 5.0)],
    "the poles": [(0.0, 90.0), (77.0, 90.0), (12.0, -90.0)],
    "antipodes": [(30.0, -40.0), (210.0, 40.0)],
}


@st.composite
def fields(draw: st.DrawFn) -> tuple[Positions, Positions, float]:
    """Two lists of positions, some of them the same ones, and a radius that pairs some of them."""
    random = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    where, count = draw(st.sampled_from([*PLACES, "vertices"])), draw(st.sampled_from([0, 1, 2, 5, 40]))
    size = 10 ** draw(st.floats(-1.0, 5.0))
    first, second = (_positions(where, n, size, random) for n in (count, draw(st.integers(0, 40))))
    if draw(st.booleans()):  # the same positions on both sides, and twice on one
        first, second = _both(first, second), _both(second, first, first)
    radius = draw(st.sampled_from([0.0, size / 10, size, 3 * size, 648_000.0]))
    return first, second, min(radius, 648_000.0)


def _positions(where: str, count: int, size: float, random: np.random.Generator) -> Positions:
    if where == "everywhere":
        return random.uniform(0, 360, count), np.degrees(np.arcsin(random.uniform(-1, 1, count)))
    if where == "vertices":
        return scattered(vertices(int(random.integers(0, 12)), 3, random), size, count, random)
    ra, dec = np.array(PLACES[where]).T
    return scattered((ra, dec), size, count, random)


def _both(*parts: Positions) -> Positions:
    ra, dec = zip(*parts, strict=True)
    return np.concatenate(ra), np.concatenate(dec)


def table_of_pairs(first: Positions, second: Positions) -> Floats:
    """All separations, arcsec, by another formula than the matcher's."""
    return separation_deg(first[0][:, None], first[1][:, None], second[0][None], second[1][None]) * 3600.0


def brute(sep: Floats, radius: float, limit: int | None) -> list[tuple[int, int]]:
    """Pairs within a radius, nearest first and at most so many for each row; ties by row."""
    found = []
    for i, row in enumerate(sep):
        near = np.flatnonzero(row <= radius)
        found += [(i, int(j)) for j in near[np.argsort(row[near], kind="stable")][:limit]]
    return found


def pairs(found: Matches) -> list[tuple[int, int]]:
    return list(zip(found.i.tolist(), found.j.tolist(), strict=True))


def undecided(sep: Floats, radius: float) -> bool:
    """A pair lies so close to the radius, or two so close to one distance, that two formulas may differ."""
    near = np.sort(sep, axis=1)
    gaps = np.diff(near, axis=1)
    return bool((np.abs(sep - radius) < 1e-8).any() or ((gaps > 0) & (gaps < 1e-8)).any())


@given(field=fields())
def test_all_pairs_within_the_radius_and_no_others(field: tuple[Positions, Positions, float]) -> None:
    first, second, radius = field
    sep = table_of_pairs(first, second)
    found = match(*first, *second, radius, "all")
    assert len(set(pairs(found))) == len(found.i)
    kept = np.zeros(sep.shape, bool)
    kept[found.i, found.j] = True
    assert np.array_equal(kept, sep <= radius) or np.abs(sep[kept != (sep <= radius)] - radius).max() < 1e-8
    assert np.allclose(found.sep_arcsec, sep[found.i, found.j], rtol=0, atol=1e-8)


@given(field=fields(), mode=st.sampled_from(["nearest", "knn", "all"]), k=st.integers(1, 7))
def test_the_nearest_come_first_and_no_more_than_asked_for(
    field: tuple[Positions, Positions, float], mode: str, k: int
) -> None:
    first, second, radius = field
    found = match(*first, *second, radius, mode, k)
    sep = table_of_pairs(first, second)
    limit = {"nearest": 1, "knn": k, "all": None}[mode]
    if not undecided(sep, radius):
        assert pairs(found) == brute(sep, radius, limit)
    assert np.array_equal(found.i, np.sort(found.i))
    assert (np.diff(found.sep_arcsec)[np.diff(found.i) == 0] >= 0).all()
    chosen = [np.sort(row[row <= radius + 1e-8])[:limit] for row in sep]
    assert np.allclose(found.sep_arcsec, np.concatenate([[], *chosen]), rtol=0, atol=2e-8) or undecided(sep, radius)


@given(field=fields())
def test_mutual_is_nearest_both_ways_and_its_own_transpose(field: tuple[Positions, Positions, float]) -> None:
    first, second, radius = field
    found = set(pairs(match(*first, *second, radius, "mutual")))
    there = set(pairs(match(*first, *second, radius)))
    back = {(i, j) for j, i in pairs(match(*second, *first, radius))}
    assert found == there & back
    assert found == {(i, j) for j, i in pairs(match(*second, *first, radius, "mutual"))}


@given(field=fields(), seed=st.integers(0, 1000), mode=st.sampled_from(["nearest", "mutual", "all", "knn"]))
def test_the_order_of_the_rows_and_the_threads_do_not_matter(
    field: tuple[Positions, Positions, float], seed: int, mode: str
) -> None:
    first, second, radius = field
    random = np.random.default_rng(seed)
    a, b = random.permutation(len(first[0])), random.permutation(len(second[0]))
    k = 3 if mode == "knn" else 1
    ids1, ids2 = np.arange(len(a)), np.arange(len(b))
    found = match(*first, *second, radius, mode, k, id1=ids1, id2=ids2)
    mixed = match(first[0][a], first[1][a], second[0][b], second[1][b], radius, mode, k, id1=a, id2=b, threads=4)
    assert {(i, j) for i, j in zip(a[mixed.i].tolist(), b[mixed.j].tolist(), strict=True)} == set(pairs(found))


@pytest.mark.parametrize("sort", [True, False])
def test_many_positions_in_the_order_of_the_sky_or_not(sort: bool) -> None:
    """Enough of them that the matcher puts them in an order of its own."""
    random = np.random.default_rng(7)
    ra, dec = random.uniform(359.5, 360.5, 3000) % 360, random.uniform(-0.5, 0.5, 3000)
    other = scattered((ra, dec), 20.0, 4000, random)
    if sort:
        order = np.argsort(dec)
        ra, dec = ra[order], dec[order]
    found = match(ra, dec, *other, 15.0, "knn", 3)
    expected = []
    for start in range(0, 3000, 250):
        sep = table_of_pairs((ra[start : start + 250], dec[start : start + 250]), other)
        expected += [(start + i, j) for i, j in brute(sep, 15.0, 3)]
    assert pairs(found) == expected
    assert len(expected) > 1000


TIES: dict[str, tuple[Any, list[int]]] = {
    "rows": (None, [0, 1, 2, 3]),
    "numbers": (np.array([40, 3, 10, 3000]), [1, 2, 0, 3]),
    "large numbers": (np.array([2**62 + 3, 2**62 + 1, 2**62 + 2, 2**62]), [3, 1, 2, 0]),
    "text": (np.array(["d", "b", "c", "a"]), [3, 1, 2, 0]),
    "Arrow": (pa.array(["d", "b", "c", "a"]), [3, 1, 2, 0]),
    "Arrow in pieces": (pa.chunked_array([["d", "b"], ["c", "a"]]), [3, 1, 2, 0]),
}


@pytest.mark.parametrize("ids", TIES)
def test_ties_go_to_the_smallest_id(ids: str) -> None:
    given_ids, order = TIES[ids]
    ra, dec = np.full(4, 10.0), np.array([1.0, -1.0, -1.0, 1.0]) / 3600
    for k in (1, 2, 3, 4):
        assert match([10.0], [0.0], ra, dec, 5.0, "knn", k, id2=given_ids).j.tolist() == order[:k]
    assert match([10.0], [0.0], ra, dec, 5.0, "all", id2=given_ids).j.tolist() == order
    assert match([10.0], [0.0], ra, dec, 5.0, id2=given_ids).j.tolist() == order[:1]
    assert match([10.0], [0.0], ra, dec, 5.0, "mutual", id2=given_ids).j.tolist() == order[:1]
    assert match(ra, dec, [10.0], [0.0], 5.0, "mutual", id1=given_ids).i.tolist() == order[:1]


def test_of_the_same_distance_and_id_the_first_row_wins() -> None:
    ra, dec = np.full(300, 10.0), np.tile([1.0, -1.0], 150) / 3600
    assert match([10.0], [0.0], ra, dec, 5.0, "knn", 5, id2=np.full(300, "x")).j.tolist() == [0, 1, 2, 3, 4]
    assert match(ra, dec, [10.0], [0.0], 5.0, "mutual", id1=np.full(300, "x")).i.tolist() == [0]


def test_a_great_many_at_one_place() -> None:
    ra, dec = np.full(400, 213.75), np.full(400, 41.81)
    found = match(ra, dec, ra, dec, 0.0, "all")
    assert len(found.i) == 400 * 400
    assert match(ra, dec, ra, dec, 1.0).j.tolist() == [0] * 400
    assert pairs(match(ra, dec, ra, dec, 1.0, "mutual")) == [(0, 0)]


@pytest.mark.parametrize("mode", ["nearest", "mutual", "all", "knn"])
def test_nothing_matches_nothing(mode: str) -> None:
    for first, second in [(0, 0), (0, 3), (3, 0)]:
        found = match(np.zeros(first), np.zeros(first), np.zeros(second), np.zeros(second), 648_000, mode)
        assert [len(part) for part in found] == [0, 0, 0]
        assert [part.dtype.kind for part in found] == ["i", "i", "f"]


@pytest.mark.parametrize(
    ("ra", "dec", "words"),
    [
        ([1.0, np.nan], [2.0, 3.0], "1 of 2 rows without a position .the first is row 1: RA nan, Dec 3.0"),
        ([1.0, 2.0], [np.nan, np.nan], "2 of 2 rows without a position .the first is row 0"),
        ([np.inf, 2.0], [0.0, 0.0], "1 of 2 rows without a position .the first is row 0: RA inf"),
        (
            [1.0, 2.0, 3.0],
            [0.0, 0.0, -90.001],
            "1 of 3 rows without a position .the first is row 2: RA 3.0, Dec -90.001",
        ),
    ],
)
def test_what_is_no_position_is_refused_with_its_row(ra: list[float], dec: list[float], words: str) -> None:
    with pytest.raises(UsageError, match=f"The first list has {words}"):
        match(ra, dec, [1.0], [1.0], 1.0)
    with pytest.raises(UsageError, match=f"The second list has {words}"):
        match([1.0], [1.0], ra, dec, 1.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"radius_arcsec": -1.0}, "radius of -1.0 arcsec: it must be a number from 0"),
        ({"radius_arcsec": math.nan}, "radius of nan"),
        ({"radius_arcsec": 648_001.0}, "radius of 648001"),
        ({"mode": "closest"}, "Unknown mode of a match 'closest'"),
        ({"k": 0}, "k = 0"),
        ({"ra1": [1.0, 2.0]}, "first list: RA, Dec and ids must be one-dimensional and equally long"),
        ({"dec2": [[1.0]]}, "second list: RA"),
        ({"id1": ["a", "b"]}, "first list: RA"),
        ({"id2": np.array([])}, "second list: RA"),
        ({"ra1": 1.0, "dec1": 1.0}, "first list: RA"),
    ],
)
def test_what_cannot_be_done_is_said(change: dict[str, Any], words: str) -> None:
    usual: dict[str, Any] = {"ra1": [1.0], "dec1": [1.0], "ra2": [1.0], "dec2": [1.0], "radius_arcsec": 1.0}
    with pytest.raises(UsageError, match=words):
        match(**{**usual, **change})


def test_any_right_ascension_is_taken_as_an_angle() -> None:
    assert pairs(match([-0.0001, 720.0001], [0.0, 0.0], [359.9999, 0.0001], [0.0, 0.0], 1e-6)) == [(0, 0), (1, 1)]


def _sin_cos(degrees: float) -> tuple[Decimal, Decimal]:
    """To 50 digits, from the series."""
    pi = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
    x = Decimal(degrees) * pi / 180
    sin, cos, term = Decimal(0), Decimal(0), Decimal(1)
    for n in range(70):
        if n % 2:
            sin += term if n % 4 == 1 else -term
        else:
            cos += term if n % 4 == 0 else -term
        term = term * x / (n + 1)
    return sin, cos


def exact(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    """The great-circle distance of two positions as they stand in float64, arcsec, from 50-digit vectors."""
    with localcontext(prec=60):
        vectors = []
        for ra, dec in ((ra1, dec1), (ra2, dec2)):
            (sin_ra, cos_ra), (sin_dec, cos_dec) = _sin_cos(ra), _sin_cos(dec)
            vectors.append((cos_dec * cos_ra, cos_dec * sin_ra, sin_dec))
        less = sum(((a - b) ** 2 for a, b in zip(*vectors, strict=True)), Decimal(0)).sqrt()
        more = sum(((a + b) ** 2 for a, b in zip(*vectors, strict=True)), Decimal(0)).sqrt()
    return math.degrees(2 * math.atan2(less, more)) * 3600


@given(
    ra=st.floats(0, 360),
    dec=st.floats(-90, 90) | st.sampled_from([-90.0, 89.999999, 90.0]),
    turn=st.floats(0, 360),
    sep=st.sampled_from([0.1 / 3600, 1 / 3600, 1e-2, 1.0, 45.0, 90.0, 135.0, 179.0, 179.9999]),
)
def test_separations_are_better_than_a_milliarcsecond(ra: float, dec: float, turn: float, sep: float) -> None:
    r, d, t = np.radians(sep), np.radians(dec), np.radians(turn)
    sin_dec = np.clip(np.sin(d) * np.cos(r) + np.cos(d) * np.sin(r) * np.cos(t), -1, 1)
    east = np.arctan2(np.sin(t) * np.sin(r) * np.cos(d), np.cos(r) - np.sin(d) * sin_dec)
    ra2, dec2 = float((ra + np.degrees(east)) % 360), float(np.degrees(np.arcsin(sin_dec)))
    found = match([ra], [dec], [ra2], [dec2], 648_000, "all").sep_arcsec
    assert abs(found[0] - exact(ra, dec, ra2, dec2)) < 1e-9  # arcsec: a millionth of what is asked for


@given(field=fields(), seed=st.integers(0, 1000), mode=st.sampled_from(["nearest", "mutual", "all", "knn"]))
def test_positional_errors_are_a_radius_of_each_pair(
    field: tuple[Positions, Positions, float], seed: int, mode: str
) -> None:
    first, second, radius = field
    random, sep = np.random.default_rng(seed), table_of_pairs(*field[:2])
    a, b = random.uniform(0, 1 + radius / 3, len(first[0])), random.uniform(0, 1 + radius / 3, len(second[0]))
    allowed = 2.0 * np.hypot(a[:, None], b[None])
    if undecided(sep, radius) or (np.abs(sep - allowed) < 1e-8).any():
        return
    near = np.where(sep <= allowed, sep, np.inf)
    found = pairs(match(*first, *second, radius, mode, 2 if mode == "knn" else 1, errors=Errors(a, b, 2.0)))
    expected = brute(near, radius, {"nearest": 1, "mutual": 1, "all": None, "knn": 2}[mode])
    if mode == "mutual":
        expected = [(i, j) for i, j in expected if (j, i) in brute(near.T, radius, 1)]
    assert found == expected
