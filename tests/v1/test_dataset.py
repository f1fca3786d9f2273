"""A v1 tree opened as a dataset: the same verbs, whatever wrote the files, and nothing but what was asked for read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest

import mmu
from mmu.dataset import Dataset
from mmu.errors import FormatError, UsageError
from mmu.v1 import V1Dataset, open_v1, records
from mmu.v1 import dataset as reading
from tests.v1.conftest import ROWS
from tests.v1.trees import images, inside, light_curves, spectra, write


@pytest.fixture
def old(ours: Path) -> Dataset:
    return mmu.open(ours / "hdf5" / "dr1_south")


def test_what_v1_carries_of_ours_comes_back_as_ours(ours: Path, old: Dataset) -> None:
    new, table = mmu.open(ours), old.table("all")
    assert (type(old), len(old), old.release) == (V1Dataset, ROWS, "dr1_south")
    assert [leaf.order for leaf in old.partitions] == [4] * len(old.partitions)
    expected = new.table("all")
    back = dict(zip(table["object_id"].to_pylist(), range(ROWS), strict=True))
    table = table.take([back[str(target)] for target in expected["TARGETID"].to_pylist()])
    for name in ("ra", "dec", "TYPE"):
        assert table[name].to_pylist() == expected[name].to_pylist()
    assert table["ZWARN"].to_pylist() == [-1 if one is None else one for one in expected["ZWARN"].to_pylist()]
    for found, row in zip(table["image"].to_pylist(), expected["image"].to_pylist(), strict=True):
        assert found["band"] == row["band"]
        assert found["flux"] == row["flux"]
        assert found["mask"] == [row["mask"][0]] * len(row["band"])  # v1's map keeps one for all bands
    for member in ("flux", "mask"):
        assert [row[member] for row in table["spectrum"].to_pylist()] == [
            row[member] for row in expected["spectrum"].to_pylist()
        ]
    fields = {field.name: field for field in old.schema.field("image").type}
    assert fields["flux"].metadata[b"unit"] == b"nanomaggy"
    assert fields["mask"].metadata[b"polarity"] == b"True = good"
    assert fields["flux"].type == new.schema.field("image").type.field("flux").type
    assert [field.name for field in old.table().schema] == ["object_id", "ra", "dec", "TYPE", "ZWARN", "healpix"]


def test_its_releases_and_its_survey_are_told_apart(ours: Path, tmp_path: Path) -> None:
    assert isinstance(mmu.open(ours), Dataset)
    assert not isinstance(mmu.open(ours), V1Dataset)  # the catalogue, where there is one
    spectra(tmp_path / "sdss" / "boss")
    assert mmu.open(tmp_path / "sdss").release == "boss"
    spectra(tmp_path / "sdss" / "eboss")
    assert mmu.open(tmp_path / "sdss", "eboss").releases == ["boss", "eboss"]
    with pytest.raises(UsageError, match=r"holds several releases; give one of .*boss, .*eboss"):
        mmu.open(tmp_path / "sdss")
    with pytest.raises(UsageError, match=r"Unknown release in .* 'segue'; the known ones are: boss, eboss"):
        mmu.open(tmp_path / "sdss", "segue")
    with pytest.raises(UsageError, match="is not the release 'boss'"):
        mmu.open(tmp_path / "sdss" / "eboss", "boss")


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_byte_order_and_ids_that_no_float_holds(tmp_path: Path, order: str) -> None:
    data = mmu.open(spectra(tmp_path, order))
    table = data.table()
    assert table["object_id"].to_pylist() == [str(2**60 + pixel + row) for pixel in (5, 800) for row in range(3)]
    assert table["BITS"].to_pylist() == [2**62 + 1, 3, -1] * 2
    assert table["SURVEY"].to_pylist() == ["sdss", "boss", "caf\\xe9"] * 2
    assert data.schema.field("spectrum").type.field("flux").type.value_type == pa.float32()
    assert (data.array("Z").dtype, data.array("ra").dtype) == (np.float32, np.float64)
    assert data.record(str(2**60 + 6))["spectrum"]["flux"].tolist() == [2000.0, 2000.5, 2001.0, 2001.5]


def test_padding_that_shows_is_dropped(tmp_path: Path) -> None:
    data = mmu.open(spectra(tmp_path / "sdss"))
    for column in ("spectrum.flux", "spectrum.lambda"):  # also where the wavelengths are not asked for
        assert [len(row) for row in data.array(column)] == [6, 4, 0, 9, 7, 0]
    assert not np.concatenate(list(data.array("spectrum.mask"))).any()
    assert data.columns[-1] == "spectrum_lsf"  # not as long as the flux is
    image = mmu.open(images(tmp_path / "ls")).table("all")["image"].to_pylist()
    assert [row["band"] for row in image] == [["des-g", "des-r", "des-z"], ["des-g", "des-r"]]
    assert [np.shape(row["flux"]) for row in image] == [(3, 4, 4), (2, 4, 4)]
    assert [np.shape(row["mask"]) for row in image] == [(3, 4, 4), (2, 4, 4)]


def test_an_image_is_gathered_and_what_is_none_keeps_its_name(tmp_path: Path) -> None:
    data = mmu.open(images(tmp_path, (b"des-g", b"des-r", b"des-z")))
    assert data.columns == ["object_id", "ra", "dec", "image", "DCHISQ", "image_rgb"]
    batch = next(data.batches())
    assert batch["image"]["flux"].shape == batch["image"]["mask"].shape == (2, 3, 4, 4)
    assert (batch["image"]["mask"][:, 0] == batch["image"]["mask"][:, 2]).all()
    assert batch["image_rgb"].shape == (2, 4, 4, 3)
    assert batch["object_id"].tolist() == ["0421p022-7410", "0421p022-7411"]
    assert data.table(["image.scale"])["image"].to_pylist() == [{"scale": [np.float32(0.262)] * 3}] * 2
    with h5py.File(tmp_path / "healpix=0042" / "001-of-001.hdf5") as file:
        assert np.array_equal(batch["image"]["flux"], file["image_array"])
        assert np.array_equal(batch["image"]["mask"][:, 1], file["image_mask"])
    assert "True = good" in data.describe()


def test_a_file_a_record(tmp_path: Path) -> None:
    data = mmu.open(light_curves(tmp_path))
    table = data.table("all")
    assert table["object_id"].to_pylist() == ["SN0", "SN1"]
    assert table["bands"].to_pylist() == [["B", "V"]] * 2
    assert table["obj_type"].to_pylist() == ["Ia", "Ia"]
    assert [np.shape(one) for one in table["time"].to_pylist()] == [(2, 3), (2, 5)]
    assert table["ra"].to_pylist() == [10.0, 11.0]
    assert len(list(data.batches(["time"]))) == 1  # of more than one file


def test_a_group_a_record(tmp_path: Path) -> None:
    spaxel = np.dtype([("flux", ">f4", (5,)), ("x", "i8"), ("unit", "S8")])
    path = write(tmp_path / "healpix=40" / "0001-of-0001.hdf5")
    with h5py.File(path, "w") as file:
        for number, name in enumerate(["8485-1901", "7815-3702"]):
            group = file.create_group(name)
            group.attrs["z"] = 0.1 * number
            group.attrs["object_id"] = name
            group.create_dataset("ra", data=10.0 + number)
            group.create_dataset("dec", data=2.0)
            table = np.zeros(4 + number, spaxel)
            table["flux"], table["x"], table["unit"] = np.arange(5), np.arange(4 + number), b"1/A"
            group.create_dataset("spaxels", data=table)
    data = mmu.open(tmp_path)
    assert data.array("object_id").tolist() == ["7815-3702", "8485-1901"]
    assert data.array("z").tolist() == [0.1, 0.0]
    cube = data.record("7815-3702")["spaxels"]
    assert (cube["flux"].shape, cube["flux"].dtype) == ((5, 5), np.float32)
    assert (cube["x"].tolist(), cube["unit"].tolist()) == ([0, 1, 2, 3, 4], ["1/A"] * 5)
    assert data.table(["spaxels.x"], ids=["8485-1901"])["spaxels"].to_pylist() == [{"x": [0, 1, 2, 3]}]


def test_lists_of_variable_length(tmp_path: Path) -> None:
    path = write(tmp_path / "healpix=9" / "001-of-001.hdf5", object_id=[3, 4], **inside(9, 2))
    with h5py.File(path, "a") as file:
        for name, kind in (("flux", "<f8"), ("other", ">f8")):
            lists = file.create_dataset(f"spectrum_{name}", (2,), h5py.vlen_dtype(kind))
            lists[0], lists[1] = [1.0, 2.0], [3.0]
        file["spectrum_id"], file["name"] = [8, 9], ["one", "zwei"]
    data = open_v1(tmp_path)
    assert [row.tolist() for row in data.array("spectrum.flux")] == [[1.0, 2.0], [3.0]]
    assert data.array("name").tolist() == ["one", "zwei"]
    assert data.array("spectrum_id").tolist() == [8, 9]  # one a record, so no member
    assert list(data.left_out) == ["spectrum_other"]  # h5py does not swap their bytes


def test_only_what_is_asked_for_is_read(tmp_path: Path, old: Dataset, ours: Path) -> None:
    table = old.table()
    ra, dec = table["ra"].to_numpy(), table["dec"].to_numpy()
    region = f"cone:{ra[3]},{dec[3]},0.01"
    expected = {str(one) for one in mmu.open(ours).table(["TARGETID"], region=region)["TARGETID"].to_pylist()}
    assert set(old.table(["object_id"], region=region)["object_id"].to_pylist()) == expected
    ids = table["object_id"].to_pylist()[5:40:7]
    found = old.table(["object_id", "spectrum.flux"], ids=ids)
    assert found["object_id"].to_pylist() == ids
    assert found["spectrum"].to_pylist() == [
        {"flux": row["flux"]} for row in old.table(["spectrum"], ids=ids)["spectrum"].to_pylist()
    ]
    assert len(old.table(region="cone:200,80,1")) == 0
    with pytest.raises(UsageError, match="has no object 'nobody'"):
        old.table(ids=["nobody"])
    with pytest.raises(UsageError, match="Unknown column of dr1_south 'flux'"):
        old.table(["flux"])
    with pytest.raises(UsageError, match="without shards"):
        old.shard(old.partitions[0])


def test_pieces_of_any_size_give_the_same(old: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = old.table("all")
    batches = list(old.batches(batch_rows=7))
    assert max(len(batch["ra"]) for batch in batches) <= 7
    assert np.concatenate([batch["object_id"] for batch in batches]).tolist() == whole["object_id"].to_pylist()
    ids = whole["object_id"].to_pylist()[::9]
    expected = old.table("all", ids=ids)
    monkeypatch.setattr(reading, "PIECE_BYTES", 1)
    monkeypatch.setattr(reading, "_NEAR_BYTES", 1)
    assert old.table("all").equals(whole)
    assert old.table("all", ids=ids).equals(expected)


def test_a_tree_is_opened_by_its_first_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for pixel in range(50):
        write(tmp_path / f"healpix={pixel}" / "001-of-001.hdf5", object_id=[pixel], **inside(pixel, 1))
    opened, inner = [], records.open_records

    def counted(path: Path, *more: Any) -> Any:
        opened.append(path)
        return inner(path, *more)

    monkeypatch.setattr(reading, "open_records", counted)
    data = mmu.open(tmp_path)
    assert (data.columns, len(opened)) == (["object_id", "ra", "dec"], 1)
    assert (len(data), len(data), len(opened)) == (50, 50, 51)


def test_records_without_an_id_are_named_by_their_place(tmp_path: Path) -> None:
    for part in (1, 2):
        write(tmp_path / "healpix=0009" / f"{part:03d}-of-002.h5", RA=[1.0, 2.0], DEC=[1.0, 2.0])
    data = mmu.open(tmp_path)
    assert data.array("object_id").tolist() == [f"4/9/{row}" for row in range(4)]
    assert data.table(["object_id", "RA"], ids=["4/9/3"]).to_pylist() == [{"object_id": "4/9/3", "RA": 2.0}]


def test_what_can_be_no_column_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "healpix=9" / "001-of-001.hdf5", object_id=[1, 2], **inside(9, 2))
    with h5py.File(path, "a") as file:
        file["z"], file["grid"], file["none"] = np.zeros(2, "c8"), np.arange(7), h5py.Empty("f4")
        file.create_dataset("to", (2,), h5py.ref_dtype)
        file["elsewhere"] = h5py.ExternalLink("other.hdf5", "/x")
        file.create_dataset("image", (1 << 20, 1 << 20), "f4", chunks=(1, 1 << 20))
    data = open_v1(tmp_path)
    assert data.columns == ["object_id", "ra", "dec"]
    assert set(data.left_out) == {"z", "grid", "none", "to", "elsewhere", "image"}
    assert "its shape is (7,), where there are 2 records" in data.left_out["grid"]
    assert "a link to another place" in data.left_out["elsewhere"]
    assert "bytes unpacked, more than" in data.left_out["image"]
    assert "complex64" in data.describe()
    assert len(data.table("all")) == 2


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a column less": ({"object_id": [3], **inside(10, 1)}, "there is no 'z', which the first file of the tree has"),
    "larger numbers": ({"object_id": [3], "z": [2**40], **inside(10, 1)}, "'z' is not as in the first file"),
    "other axes": ({"object_id": [3], "z": [[1]], **inside(10, 1)}, "'z' is not as in the first file"),
    "too short": ({"object_id": [3, 4], "z": [1], **inside(10, 2)}, "'z' has not the 2 records"),
    "ids that were rounded": ({"object_id": [1e17], "z": [1], **inside(10, 1)}, "ids as floating-point numbers"),
    "a link": (
        {"object_id": [3], "z": h5py.ExternalLink("other.hdf5", "/x"), **inside(10, 1)},
        "a link to another place",
    ),
    "nothing": ({}, "is empty"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_unlike_the_first_is_an_error_that_names_it(tmp_path: Path, case: str) -> None:
    write(tmp_path / "healpix=9" / "001-of-001.hdf5", object_id=[1], z=np.array([5], "i4"), **inside(9, 1))
    arrays, said = WRONG[case]
    write(tmp_path / "healpix=10" / "001-of-001.hdf5", **arrays)
    data = mmu.open(tmp_path)
    with pytest.raises((FormatError, UsageError), match=said) as caught:
        data.table("all")
    assert "001-of-001.hdf5" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damage_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = spectra(tmp_path) / "healpix=800" / "001-of-001.hdf5"
    path.write_bytes(path.read_bytes()[:900])
    data = mmu.open(tmp_path)
    assert data.columns[:3] == ["object_id", "ra", "dec"]
    with pytest.raises(FormatError, match=r"001-of-001.hdf5: not a whole HDF5 file"):
        len(data)
    (tmp_path / "healpix=5" / "001-of-001.hdf5").write_bytes(b"")
    with pytest.raises(FormatError, match=r"001-of-001.hdf5: not a whole HDF5 file"):
        mmu.open(tmp_path).table()


def test_a_bomb_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "healpix=9" / "001-of-001.hdf5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        for name in ("object_id", "ra", "dec"):
            file.create_dataset(name, (1 << 40,), "f8", chunks=(1 << 16,), compression="gzip")
    with pytest.raises(FormatError, match="bytes unpacked, more than the 1073741824 allowed; the file is refused"):
        mmu.open(tmp_path).table()


def test_a_list_that_all_rows_point_to_counts_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmu.v1.records.LEAST_BYTES", 1 << 20)
    path = write(tmp_path / "healpix=9" / "001-of-001.hdf5", object_id=np.arange(200), **inside(9, 200))
    with h5py.File(path, "a") as file:
        file.create_dataset("flux", (200,), h5py.vlen_dtype("f8"))[0] = np.zeros(20_000)
    assert "flux" in open_v1(tmp_path).left_out
