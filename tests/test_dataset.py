"""Opening a dataset and reading parts of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmu.dataset import Dataset
from mmu.errors import UsageError
from mmu.opening import open
from mmu.sky.partition import Partition
from mmu.sky.region import parse_region
from tests.shards.sample import RELEASE, SIDE, SURVEY, WAVES, write

ROWS = 300


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "sample"
    write(folder, ROWS)
    write(folder, 20, SURVEY.releases[1])
    return folder


@pytest.fixture
def data(root: Path) -> Dataset:
    return open(root)


@pytest.mark.parametrize("name", ["", "dr1_south", "dr1_south_collection"])
def test_a_survey_a_release_and_a_collection_open(root: Path, name: str) -> None:
    data = open(root / name)
    assert (data.release, len(data)) == ("dr1_south", ROWS)
    assert data.releases == ["dr1_south", "dr2_north"]
    assert data.columns == ["_healpix_29", *RELEASE.schema.names]
    assert data.bytes == sum(path.stat().st_size for path in (root / "dr1_south" / "dataset").rglob("Npix=*"))
    assert "300 objects" in repr(data)


def test_a_name_opens_under_mmu_data(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMU_DATA", str(root.parent))
    assert open("sample").release == "dr1_south"
    assert open("sample:dr2_north").release == "dr2_north"
    assert open("sample", "dr2_north").release == "dr2_north"


def test_what_cannot_be_opened_is_said_in_words(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMU_DATA", raising=False)
    with pytest.raises(UsageError, match="MMU_DATA is not set"):
        open("nothing_here")
    monkeypatch.setenv("MMU_DATA", str(tmp_path))
    with pytest.raises(UsageError, match="nor is 'nothing_here' in MMU_DATA"):
        open("nothing_here")
    with pytest.raises(UsageError, match="holds no dataset"):
        open(tmp_path)
    with pytest.raises(UsageError, match="Did you mean 'dr1_south'"):
        open(root, "dr1_sout")
    with pytest.raises(UsageError, match="is not the release"):
        open(root / "dr1_south", "dr2_north")


def test_table_gives_scalars_in_sky_order(data: Dataset) -> None:
    table = data.table()
    assert table.column_names == ["_healpix_29", *RELEASE.schema.scalars]
    assert len(table) == ROWS
    keys = table["_healpix_29"].to_numpy()
    assert (np.diff(keys) >= 0).all()


def test_region_equals_filtering_everything_and_reads_less(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("cone:45.01,0.01,0.01", "box:44.99,45.02,-0.01,0.01", "healpix:12/0,1", "cone:200,50,1", "all"):
        table = data.table()
        inside = parse_region(text).contains(table["ra"].to_numpy(), table["dec"].to_numpy())
        expected = table.filter(pa.array(inside))["object_id"].to_pylist()
        assert data.table(["object_id"], region=text)["object_id"].to_pylist() == expected
    opened: list[str] = []
    shard = Dataset.shard

    def noted(self: Dataset, leaf: Partition) -> Path:
        opened.append(str(leaf))
        return shard(self, leaf)

    monkeypatch.setattr(Dataset, "shard", noted)
    data.table(region="healpix:4/0")
    assert 0 < len(opened) < len(data.partitions)


def test_ids_and_members_and_order_of_columns(data: Dataset) -> None:
    ids = ["obj-1-00007", "obj-1-00100"]
    table = data.table(["dec", "image.flux", "object_id"], ids=ids)
    assert table.column_names == ["dec", "image", "object_id"]
    assert [field.name for field in table.schema.field("image").type] == ["flux"]
    assert sorted(table["object_id"].to_pylist()) == ids
    assert data.table(["ra"], ids=ids).column_names == ["ra"]
    assert len(data.table(region="cone:200,50,1", ids=ids)) == 0


def test_unknown_columns_and_ids_are_said_in_words(data: Dataset) -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'image\.flux'"):
        data.table(["image.fluxx"])
    with pytest.raises(UsageError, match="no object 'nobody'"):
        data.table(ids=["nobody", "obj-1-00001"])
    with pytest.raises(UsageError, match="no object 'nobody'"):
        data.record("nobody")
    with pytest.raises(UsageError, match="Unknown column"):
        data.array("colour")


def test_batches_hold_every_row_once(data: Dataset) -> None:
    batches = list(data.batches(["object_id", "spectrum", "image.band"], batch_rows=13))
    assert max(len(batch["object_id"]) for batch in batches) == 13
    assert [name for batch in batches for name in batch["object_id"]] == data.table()["object_id"].to_pylist()
    assert batches[0]["spectrum"]["flux"].shape[1:] == (WAVES,)
    assert list(batches[0]["image"]) == ["band"]
    assert set(next(data.batches())) == set(data.columns)


def test_arrays_and_records(data: Dataset) -> None:
    flux = data.array("spectrum.flux")
    assert flux.shape == (ROWS, WAVES)
    ids = data.array("object_id")
    record = data.record(ids[17])
    assert np.array_equal(record["spectrum"]["flux"], flux[17])
    assert record["image"]["flux"].shape[1:] == (SIDE, SIDE)
    assert record["rgb"].shape == (SIDE, SIDE, 3)
    assert np.array_equal(record["image"]["flux"], data.array("image.flux")[17])


def test_describe_has_units_and_shapes(data: Dataset) -> None:
    lines = {line.split()[0]: line for line in data.describe().splitlines()}
    assert f"float[*, {SIDE}, {SIDE}]" in lines["image.flux"]
    assert "nanomaggy" in lines["image.flux"]
    assert "True = bad" in lines["spectrum.mask"]
    assert "picture" in lines["rgb"]


def test_a_catalogue_of_others_opens_with_less(root: Path, tmp_path: Path) -> None:
    """No row count, no partition list, an older file name: what other writers of the layout leave out."""
    other = tmp_path / "other"
    shutil.copytree(root / "dr1_south", other)
    (other / "partition_info.csv").unlink()
    (other / "hats.properties").unlink()
    (other / "properties").write_text("# HATS\nobs_collection=other\ndataproduct_type=object\n")
    data = open(other)
    assert len(data) == ROWS
    assert data.partitions == open(root).partitions
    first = data.shard(data.partitions[0])
    assert pq.read_schema(first).equals(data.schema)
