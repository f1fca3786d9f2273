"""A match cut into parts of the sky against one over all records at once: the same objects, whatever the parts."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import crossmatch.work as work
from crossmatch.api import crossmatch
from crossmatch.association import Association
from crossmatch.work import Threads, Where
from mmu.errors import MmuError, UsageError
from mmu.sky.region import parse_region
from tests.crossmatch.brute import Row, records_of, rows_of
from tests.crossmatch.catalogues import Positions, scattered, table_of, vertices, write_hats

HERE = Where(0, tile_rows=60)
ORDERS = st.lists(st.integers(0, 12), min_size=1, max_size=4)
PLACES = st.sampled_from(["corners", "fine corners", "pole", "RA 0", "everywhere"])


@dataclass(frozen=True)
class Case:
    """Catalogues where matching is hard, the orders of their partitions, and how to match them."""

    tables: dict[str, pa.Table]
    orders: tuple[Sequence[int], ...]
    radius: float
    tile_rows: int

    def written(self, root: Path) -> dict[str, Path]:
        both = zip(self.tables.items(), self.orders, strict=True)
        return {name: write_hats(root / name, table, orders, 5) for (name, table), orders in both}

    def records(self) -> dict[str, list[Row]]:
        return {name: records_of(table) for name, table in self.tables.items()}


@st.composite
def cases(draw: st.DrawFn, most: int = 3) -> Case:
    random, count = np.random.default_rng(draw(st.integers(0, 1 << 30))), draw(st.integers(2, most))
    radius = 10 ** draw(st.floats(-0.5, 3.55))
    centres = _centres(draw(PLACES), random)
    tables: dict[str, pa.Table] = {}
    for name in "abc"[:count]:
        ra, dec = scattered(centres, radius * draw(st.sampled_from([0.3, 1.0])), draw(st.integers(0, 20)), random)
        if draw(st.booleans()) and tables:  # the same positions as another's, so that there are ties
            other = next(iter(tables.values()))
            ra, dec = np.r_[ra, other["ra"].to_numpy()], np.r_[dec, other["dec"].to_numpy()]
        twice = random.integers(0, max(len(ra), 1), min(len(ra), draw(st.integers(0, 3))))
        tables[name] = table_of((np.r_[ra, ra[twice]], np.r_[dec, dec[twice]]), name)
    orders = tuple(draw(ORDERS) for _ in tables)
    return Case(tables, orders, radius, draw(st.sampled_from([8, 20, 1000])))


def _centres(where: str, random: np.random.Generator) -> Positions:
    if where in ("corners", "fine corners"):
        return vertices(int(random.integers(0, 4) if where == "corners" else random.integers(8, 14)), 2, random)
    if where == "everywhere":
        return random.uniform(0, 360, 5), np.degrees(np.arcsin(random.uniform(-1, 1, 5)))
    return (np.zeros(2), np.array([90.0, -90.0])) if where == "pole" else (np.zeros(2), np.array([0.0, 41.8103]))


def rows(found: Association) -> list[Row]:
    """Without where the records are: that is looked at by itself."""
    left_out = tuple(f"_{name}" for name in ("order", "pixel", "row"))
    table = found.table()
    return list(table.select([name for name in table.column_names if not name.endswith(left_out)]).to_pylist())


def same(found: list[Row], expected: list[Row]) -> None:
    """Equal, but for what the last digits of a distance are."""
    assert [row["object_id"] for row in found] == [row["object_id"] for row in expected]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            near = value is not None and theirs[name] is not None and name.endswith("_sep_arcsec")
            assert value == (pytest.approx(theirs[name], abs=1e-8) if near else theirs[name]), name


def check(case: Case, root: Path, **how: Any) -> Association:
    given_paths = case.written(root)
    found = crossmatch(given_paths, radius_arcsec=case.radius, where=Where(0, tile_rows=case.tile_rows), **how)
    same(rows(found), rows_of(case.records(), case.radius, **how))
    references_hold(found, given_paths)
    return found


def references_hold(found: Association, paths: dict[str, Path]) -> None:
    """Each record is in the partition and the row that its object says."""
    for name, path in paths.items():
        columns = [f"{name}_{key}" for key in ("order", "pixel", "row", "id")]
        for order, number, row, record in zip(*found.table(columns).to_pydict().values(), strict=True):
            if record is None:
                assert (order, number, row) == (None, None, None)
                continue
            there = path / f"dataset/Norder={order}/Dir={number // 10000 * 10000}/Npix={number}.parquet"
            assert str(pq.ParquetFile(there).read(["object_id"])[0][row].as_py()) == record


@settings(max_examples=25)
@given(case=cases(), how=st.sampled_from(["inner", "left", "outer"]), mode=st.sampled_from(["nearest", "mutual"]))
def test_any_cut_of_the_sky_gives_the_same_objects(case: Case, how: str, mode: str) -> None:
    with tempfile.TemporaryDirectory() as root:
        found = check(case, Path(root), how=how, mode=mode)
    if how == "outer":
        assert [tally.records for tally in found.tallies] == [len(records) for records in case.records().values()]


@settings(max_examples=12)
@given(
    case=cases(most=2),
    how=st.sampled_from(["inner", "left", "outer"]),
    mode=st.sampled_from([("all", 1), ("knn", 1), ("knn", 3)]),
)
def test_several_neighbours_of_an_object_are_rows_of_their_own(case: Case, how: str, mode: tuple[str, int]) -> None:
    with tempfile.TemporaryDirectory() as root:
        check(case, Path(root), how=how, mode=mode[0], k=mode[1])


@settings(max_examples=12)
@given(
    case=cases(),
    how=st.sampled_from(["inner", "left", "outer"]),
    required=st.sampled_from([["a"], ["b"], ["a", "b"]]),
)
def test_an_object_may_have_to_be_in_some_datasets(case: Case, how: str, required: list[str]) -> None:
    with tempfile.TemporaryDirectory() as root:
        check(case, Path(root), how=how, required=required)


def line(*east: float) -> Positions:
    """Positions along the equator, arcsec east of a corner of four partitions."""
    return (185.625 + np.array(east) / 3600) % 360, np.zeros(len(east))


def three(root: Path, **how: Any) -> Association:
    """Three datasets along a line: c is within reach of b, but not of a."""
    places = {"a": line(0), "b": line(0.9, 50), "c": line(1.8, 50.5)}
    paths = {name: write_hats(root / name, table_of(at, name), [3]) for name, at in places.items()}
    return crossmatch(paths, where=HERE, **how)


def test_records_are_matched_to_the_anchor_and_never_chained(tmp_path: Path) -> None:
    found = three(tmp_path, how="outer").table(["object_id", "a_id", "b_id", "c_id", "datasets"]).to_pylist()
    assert sorted(tuple(row.values()) for row in found) == [
        ("a0000000", "a0000000", "b0000000", None, 2),
        ("b:b0000001", None, "b0000001", "c0000001", 2),
        ("c:c0000000", None, None, "c0000000", 1),
    ]


def test_only_objects_of_all_datasets_or_of_the_required_ones(tmp_path: Path) -> None:
    assert len(three(tmp_path)) == 0
    assert three(tmp_path, how="left").table()["object_id"].to_pylist() == ["a0000000"]
    assert len(three(tmp_path, how="left", required=["c"])) == 0
    assert three(tmp_path, how="outer", required=["b", "c"]).table()["object_id"].to_pylist() == ["b:b0000001"]


def two_fields(root: Path, count: int = 400) -> dict[str, Path]:
    """Catalogues round corners of large partitions, the second one of fine partitions."""
    random = np.random.default_rng(11)
    places = {name: scattered(vertices(1, 10, np.random.default_rng(2)), 30.0, count, random) for name in "ab"}
    orders = {"a": [0, 2, 1], "b": [9, 11]}
    return {name: write_hats(root / name, table_of(at, name), orders[name]) for name, at in places.items()}


def test_where_it_runs_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = two_fields(tmp_path)
    here = crossmatch(paths, radius_arcsec=20, how="outer", where=HERE)
    assert len(here) > 500
    threads = crossmatch(paths, radius_arcsec=20, how="outer", where=Where(tile_rows=60))
    monkeypatch.setattr(work, "open_executor", lambda workers, scheduler: Threads(16))
    sixteen = crossmatch(paths, radius_arcsec=20, how="outer", where=Where(16, tile_rows=60))
    whole = crossmatch(paths, radius_arcsec=20, how="outer", where=Where(0))
    assert here.table() == threads.table() == sixteen.table() == whole.table()
    assert [t.records for t in here.tallies] == [t.records for t in whole.tallies] == [400, 400]
    for tally in ("matched", "ambiguous", "shared", "pairs", "histogram"):
        assert getattr(here.tallies[1], tally) == getattr(sixteen.tallies[1], tally) == getattr(whole.tallies[1], tally)


@pytest.mark.slow
def test_two_processes_find_the_same(tmp_path: Path) -> None:
    paths = two_fields(tmp_path)
    here = crossmatch(paths, radius_arcsec=20, where=HERE)
    assert crossmatch(paths, radius_arcsec=20, where=Where(2, tile_rows=100)).table() == here.table()


def rewritten(folder: Path, kind: str) -> None:
    """The same catalogue as others write it."""
    for path in sorted(folder.rglob("Npix=*.parquet")):
        table = pq.ParquetFile(path).read()
        if kind == "no statistics":
            pq.write_table(table, path, row_group_size=7, write_statistics=False)
        elif kind == "folders":
            path.unlink()
            path.with_suffix("").mkdir()
            for part, start in enumerate(range(0, len(table), 9)):
                pq.write_table(table.slice(start, 9), path.with_suffix("") / f"part{part}.parquet", row_group_size=4)
        elif kind == "by place only":
            pq.write_table(table.sort_by([("_healpix_29", "ascending"), ("object_id", "descending")]), path)
        elif kind == "shuffled":
            order = np.random.default_rng(len(table)).permutation(len(table))
            pq.write_table(table.take(pa.array(order)), path, row_group_size=7)
        else:
            pq.write_table(table.set_column(1, "object_id", numbers(table["object_id"])), path)
            pq.write_metadata(pq.read_schema(path), folder / "dataset" / "_common_metadata")


def numbers(ids: pa.ChunkedArray) -> pa.Array:
    """Ids as large numbers, which a float would spoil."""
    return pa.array([2**60 + int(text[1:]) for text in ids.to_pylist()], pa.int64())


@pytest.mark.parametrize(
    "kind", ["no statistics", "folders", "shuffled", "by place only", "numbers", "no order-29 pixels"]
)
@pytest.mark.parametrize("side", ["a", "b"])
def test_catalogues_as_others_write_them(tmp_path: Path, kind: str, side: str) -> None:
    random = np.random.default_rng(5)
    places = {name: scattered(vertices(1, 4, np.random.default_rng(3)), 30.0, 60, random) for name in "ab"}
    places[side] = tuple(np.r_[axis, axis[:5]] for axis in places[side])
    tables = {name: table_of(at, name) for name, at in places.items()}
    bare = {name: kind.startswith("no order") and name == side for name in tables}
    paths = {name: write_hats(tmp_path / name, tables[name], [0, 3], 7, not bare[name]) for name in tables}
    if not bare[side]:
        rewritten(paths[side], kind)
    if kind == "numbers":
        tables[side] = tables[side].set_column(1, "object_id", numbers(tables[side]["object_id"]))
    records = {name: records_of(table) for name, table in tables.items()}
    for how in ("left", "outer"):
        found = crossmatch(paths, radius_arcsec=40, how=how, where=HERE)
        expected = rows_of(records, 40.0, how)
        assert len(expected) >= len(tables["a"])
        same(rows(found), expected)
    assert [tally.records for tally in found.tallies] == [len(tables["a"]), len(tables["b"])]


def test_an_object_of_several_rows_is_counted_once(tmp_path: Path) -> None:
    """As where spaxels are rows: one id, one place, again and again; the first row is meant."""
    random = np.random.default_rng(8)
    at = scattered(vertices(2, 3, random), 60.0, 20, random)
    table = table_of(at, "a")
    table = table.take(pa.array(np.repeat(np.arange(20), random.integers(1, 9, 20))))
    paths = {"a": write_hats(tmp_path / "a", table, [1], 6), "b": write_hats(tmp_path / "b", table_of(at, "b"), [4])}
    for names in ("ab", "ba"):
        found = crossmatch({name: paths[name] for name in names}, how="outer", where=HERE)
        assert len(found) == 20
        assert [(tally.records, tally.matched) for tally in found.tallies] == [(20, 0), (20, 20)]
        references_hold(found, paths)
        assert found.table()[f"{names[1]}_flags"].to_pylist() == [0] * 20


@pytest.mark.parametrize("region", ["cone:0,0,0.02", "box:359.99,0.02,-0.01,0.03", "healpix:8/311296"])
@pytest.mark.parametrize("how", ["left", "outer"])
def test_only_objects_of_a_region_but_with_all_their_neighbours(tmp_path: Path, region: str, how: str) -> None:
    random = np.random.default_rng(9)
    places = {name: scattered((np.zeros(1), np.zeros(1)), 60.0, 80, random) for name in "ab"}
    paths = {name: write_hats(tmp_path / name, table_of(at, name), [2, 5]) for name, at in places.items()}
    found = crossmatch(paths, radius_arcsec=30, how=how, region=region, where=HERE)
    expected = rows_of({name: records_of(table_of(at, name)) for name, at in places.items()}, 30.0, how)
    inside = [row for row in expected if parse_region(region).contains(row["ra"], row["dec"])]
    assert 5 < len(inside) < len(expected)
    same(rows(found), inside)


def test_pairs_of_chance_are_as_many_as_expected(tmp_path: Path) -> None:
    random = np.random.default_rng(10)
    paths = {}
    for name in "ab":
        ra, dec = random.uniform(10, 12, 4000), np.degrees(np.arcsin(random.uniform(0.0, np.sin(np.radians(2)), 4000)))
        paths[name] = write_hats(tmp_path / name, table_of((ra, dec), name), [4, 5], 1000)
    tally = crossmatch(paths, radius_arcsec=30, where=Where(0)).tallies[1]
    assert sum(tally.histogram) == tally.pairs
    area = 4.0 * 3600**2
    expected = 4000 * 4000 * np.pi * 30**2 / area
    assert abs(tally.pairs - expected) < 4 * np.sqrt(expected)
    assert abs(tally.chance - tally.pairs) < 4 * np.sqrt(expected)


def test_true_pairs_are_no_chance(tmp_path: Path) -> None:
    random = np.random.default_rng(12)
    truth = random.uniform(10, 12, 2000), random.uniform(0, 2, 2000)
    paths = {}
    for name in "ab":
        paths[name] = write_hats(tmp_path / name, table_of(scattered(truth, 0.1, 2000, random), name), [4], 1000)
    tally = crossmatch(paths, radius_arcsec=2, where=Where(0)).tallies[1]
    assert tally.matched == 2000
    assert tally.chance < 5


@pytest.mark.parametrize("empty", ["a", "b"])
def test_a_dataset_without_records(tmp_path: Path, empty: str) -> None:
    places = {"a": line(0, 50), "b": line(0.5)}
    places[empty] = line()
    paths = {name: write_hats(tmp_path / name, table_of(at, name), [3]) for name, at in places.items()}
    assert len(crossmatch(paths, where=HERE)) == 0
    full = len(places["ab".replace(empty, "")][0])
    assert len(crossmatch(paths, how="outer", where=HERE)) == full
    assert len(crossmatch(paths, how="left", where=HERE)) == len(places["a"][0])
    for mode in ("all", "knn", "mutual"):
        assert len(crossmatch(paths, mode=mode, how="outer", where=HERE)) == full


def test_a_record_without_a_position_is_told_with_its_file_and_row(tmp_path: Path) -> None:
    paths = {name: write_hats(tmp_path / name, table_of(line(0, 1, 2), name), [3]) for name in "ab"}
    file = next(paths["b"].rglob("Npix=*.parquet"))
    table = pq.ParquetFile(file).read()
    dec = pa.array([0.0, float("nan")] + [0.0] * (len(table) - 2))
    pq.write_table(table.set_column(table.column_names.index("dec"), "dec", dec), file)
    with pytest.raises(MmuError, match=rf"{file.name}: 1 of {len(table)} rows have no position .the first is row 1"):
        crossmatch(paths, where=HERE)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"radius_arcsec": 0.0}, "radius of 0.0 arcsec: it must be above 0"),
        ({"radius_arcsec": 3601.0}, "at most 3600"),
        ({"how": "right"}, "Unknown way to join 'right'"),
        ({"mode": "closest"}, "Unknown mode"),
        ({"k": 2}, "k = 2 is for mode 'knn'"),
        ({"mode": "all"}, "takes two datasets, not 3"),
        ({"required": ["d"]}, "Unknown dataset to require 'd'"),
        ({"region": "circle:1,2,3"}, "Unknown region"),
        ({"epochs": True}, "No dataset has proper motions"),
        ({"epochs": {"d": 2000.0}}, "Unknown dataset 'd'"),
        ({"errors": {"a": "sigma"}}, "Unknown column of .*'sigma'"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, how: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        three(tmp_path, **how)
