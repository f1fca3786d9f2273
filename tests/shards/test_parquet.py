"""A shard's bytes depend on its rows alone."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmu.schema import arrow_schema
from mmu.shards.parquet import ROW_GROUP_BYTES, checksum, rows_per_group, write_shard, writer_options
from tests.shards.sample import SCHEMA, records

ARROW = arrow_schema(SCHEMA)
RECORDS = records(60)


def narrow(table: pa.Table) -> pa.Table:
    return table.select(["_healpix_29", "object_id", "EBV", "coeff"])


@pytest.mark.parametrize("few", [False, True])
@given(seed=st.integers(0, 99), cuts=st.lists(st.integers(1, 59), max_size=5), group=st.integers(1, 70))
@settings(max_examples=15, deadline=None)
def test_bytes_do_not_depend_on_how_the_rows_come(
    few: bool, seed: int, cuts: list[int], group: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("shard")
    table = narrow(RECORDS) if few else RECORDS
    shuffled = table.take(pa.array(np.random.default_rng(seed).permutation(len(table))))
    edges = [0, *sorted(set(cuts)), len(table)]
    pieces = [shuffled.slice(a, b - a) for a, b in pairwise(edges)]
    one = write_shard(folder / "one.parquet", [table], table.schema, group)
    many = write_shard(folder / "many.parquet", pieces, table.schema, group)
    assert one == many
    assert (folder / "one.parquet").read_bytes() == (folder / "many.parquet").read_bytes()


def test_rows_are_sorted_complete_and_cut_at_fixed_counts(tmp_path: Path) -> None:
    path = tmp_path / "Dir=0" / "Npix=1.parquet"
    rows, size, digest, groups = write_shard(path, [RECORDS.slice(30), RECORDS.slice(0, 30)], ARROW, 25)
    expected = RECORDS.sort_by([("_healpix_29", "ascending"), ("object_id", "ascending")])
    with pq.ParquetFile(path) as file:
        assert [file.metadata.row_group(i).num_rows for i in range(groups)] == [25, 25, 10]
        assert file.read().equals(expected)
        flux = file.schema_arrow.field("image").type.field("flux")
        assert not file.schema_arrow.metadata
        assert flux.metadata[b"unit"] == b"nanomaggy"
        assert not flux.type.value_field.nullable
    assert (rows, size, digest) == (60, path.stat().st_size, checksum(path))
    assert [child.name for child in path.parent.iterdir()] == [path.name]


def test_equal_positions_go_by_identifier(tmp_path: Path) -> None:
    table = narrow(RECORDS).set_column(0, ARROW.field("_healpix_29"), pa.array([7] * 60))
    write_shard(tmp_path / "s.parquet", [table.slice(10), table.slice(0, 10)], table.schema, 100)
    ids = pq.read_table(tmp_path / "s.parquet")["object_id"].to_pylist()
    assert ids == sorted(ids)


def test_how_leaves_are_encoded(tmp_path: Path) -> None:
    write_shard(tmp_path / "s.parquet", [RECORDS], ARROW, 100)
    with pq.ParquetFile(tmp_path / "s.parquet") as file:
        group = file.metadata.row_group(0)
        columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    flux = columns["image.flux.list.element.list.element.list.element"]
    assert "BYTE_STREAM_SPLIT" in flux.encodings
    assert flux.statistics is None
    assert flux.compression == "ZSTD"
    assert columns["ra"].statistics.has_min_max
    assert columns["object_id"].statistics.has_min_max
    assert columns["rgb.bytes"].statistics is None
    assert columns["rgb.bytes"].dictionary_page_offset is None
    assert columns["ra"].has_column_index


def test_nothing_is_left_of_a_write_that_failed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no rows"):
        write_shard(tmp_path / "s.parquet", [RECORDS.slice(0, 0)], ARROW, 10)
    broken = narrow(RECORDS).rename_columns(["_healpix_29", "object_id", "EBV", "other"])
    with pytest.raises(KeyError):
        write_shard(tmp_path / "s.parquet", [broken], ARROW, 10)
    assert list(tmp_path.iterdir()) == []


def test_rows_per_group() -> None:
    assert rows_per_group(ARROW, 800_000, None) == ROW_GROUP_BYTES // 800_000
    assert rows_per_group(ARROW, 10**9, None) == 1
    assert rows_per_group(ARROW, 1, None) == 100_000
    assert rows_per_group(ARROW, 800_000, 256) == 256


def test_a_schema_of_texts_or_numbers_alone_can_be_written() -> None:
    assert writer_options(pa.schema([("object_id", pa.string())]))["use_byte_stream_split"] is False
    assert writer_options(pa.schema([("x", pa.float32())]))["use_dictionary"] is False
