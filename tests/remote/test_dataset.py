"""Datasets at addresses, read as those on disk, with few bytes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mmu
from crossmatch import files
from mmu.errors import FormatError, UsageError
from mmu.remote import ranges
from mmu.remote.addresses import TABLES
from tests.archive.server import Archive, serving
from tests.crossmatch.catalogues import table_of, write_hats

ROWS = 4000


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """A catalogue with a wide column, on a web server."""
    monkeypatch.setattr(ranges, "FIRST_PAUSE_S", 0.0)
    random = np.random.default_rng(3)
    table = table_of((10 + random.random(ROWS), random.random(ROWS)), "s")
    wide = pa.FixedSizeListArray.from_arrays(pa.array(random.random(ROWS * 100)), 100)
    write_hats(tmp_path / "stars", table.append_column("wide", wide), (3, 4), group=500)
    with serving(tmp_path) as archive:
        yield archive


def test_it_reads_as_on_disk(web: Archive) -> None:
    here, there = mmu.open(web.folder / "stars"), mmu.open(f"{web.url}stars")
    assert (len(there), there.bytes, there.columns) == (len(here), here.bytes, here.columns)
    assert there.partitions == here.partitions
    assert there.table("all").equals(here.table("all"))
    assert there.address == f"{web.url}stars"
    ids = here.array("object_id")[[5, 3000]].tolist()
    assert there.table(["object_id", "wide"], ids=ids).equals(here.table(["object_id", "wide"], ids=ids))


def test_only_what_is_asked_for_is_fetched(web: Archive) -> None:
    data = mmu.open(f"{web.url}stars")
    whole, before = data.bytes, ranges.fetched()
    data.table(["object_id", "ra"])
    assert ranges.fetched() - before < whole / 8
    before = ranges.fetched()
    assert 0 < len(data.table("all", region="cone:10.5,0.5,0.05")) < 200
    assert ranges.fetched() - before < whole / 2
    before = ranges.fetched()
    next(iter(data.batches("all", batch_rows=10)))
    assert ranges.fetched() - before < whole / 3


def test_a_damaged_shard_is_told(web: Archive) -> None:
    data = mmu.open(f"{web.url}stars")
    path = web.folder / "stars" / "dataset" / data.partitions[0].path
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FormatError, match="is no Parquet file"):
        data.table()
    with pytest.raises(UsageError, match="holds no HATS catalogue"):
        mmu.open(f"{web.url}nothing")


def test_partitions_that_are_folders_of_files(web: Archive) -> None:
    here = mmu.open(web.folder / "stars")
    expected = here.table("all")
    path = here.shard(here.partitions[0])
    table = pq.read_table(path, partitioning=None)
    path.with_suffix("").mkdir()
    for number, start in enumerate(range(0, len(table), 300)):
        pq.write_table(table.slice(start, 300), path.with_suffix("") / f"part{number}.parquet")
    path.unlink()
    assert mmu.open(web.folder / "stars").table("all").equals(expected)
    shutil.rmtree(path.with_suffix(""))
    with pytest.raises(UsageError, match=r"is missing: .* is not whole"):
        mmu.open(web.folder / "stars").table("all")


def test_names_of_tables_are_those_that_can_be_read() -> None:
    assert {name.removesuffix(".gz") for name in TABLES} == set(files._OPENERS)
