"""Multimodal Universe v1's own files as a source: its layouts, and its traps."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from crossmatch.places import SKY
from crossmatch.sources import Memory, Wanted, open_source
from crossmatch.tables import from_v1, is_v1
from mmu.dataset import Dataset
from mmu.errors import FormatError, UsageError
from mmu.shards.hdf5 import write_hdf5
from mmu.sky import healpix
from surveys.manga.hdf5 import write_group
from tests.shards import sample

PIXELS = (5, 12, 800)


def write(path: Path, **arrays: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values


def inside(pixel: int, count: int) -> dict[str, Any]:
    """Positions in an nside-16 pixel."""
    ra, dec = healpix.centres(4, np.full(count, pixel))
    return {"ra": ra + np.arange(count) / 100, "dec": dec}


def tree(root: Path, folder: str = "healpix={}", kind: str = "i8") -> Path:
    """A release with two files in each of three pixels; ids are 1000 times the pixel, plus the row."""
    for pixel in PIXELS:
        for part in (1, 2):
            ids = np.arange(3) + 1000 * pixel + 3 * (part - 1)
            path = root / folder.format(pixel) / f"{part:03d}-of-002.hdf5"
            write(path, object_id=ids.astype(kind), **inside(pixel, 3))
    return root


def rows(source: Memory) -> dict[str, tuple[int, int, int]]:
    places = source.places.to_pylist()
    return {one["object_id"]: (one["order"], one["pixel"], one["row"]) for one in places}


EXPECTED = {str(1000 * pixel + row): (4, pixel, row) for pixel in PIXELS for row in range(6)}


@pytest.mark.parametrize("folder", ["healpix={}", "healpix={:04d}"])
@pytest.mark.parametrize("kind", ["i8", ">i8", "S9", "f8"])
def test_every_file_of_every_pixel_is_read(tmp_path: Path, folder: str, kind: str) -> None:
    found = open_source("old", str(tree(tmp_path / "dr1", folder, kind)), Wanted())
    assert isinstance(found, Memory)
    assert found.address == str(tmp_path / "dr1")
    assert rows(found) == EXPECTED
    assert (np.diff(found.places[SKY].to_numpy()) >= 0).all()


def test_files_of_a_pixel_are_counted_in_the_order_of_their_names(tmp_path: Path) -> None:
    write(tmp_path / "healpix=7" / "002-of-002.h5", object_id=[3], **inside(7, 1))
    write(tmp_path / "healpix=7" / "001-of-002.h5", object_id=[1, 2], **inside(7, 2))
    write(tmp_path / "healpix=0007" / "001-of-001.hdf5", object_id=[0], **inside(7, 1))
    (tmp_path / "healpix=7" / "notes.txt").touch()
    assert rows(from_v1("old", tmp_path, Wanted())) == {str(row): (4, 7, row) for row in range(4)}


def test_a_record_in_the_wrong_folder_is_where_its_position_is(tmp_path: Path) -> None:
    write(tmp_path / "healpix=12" / "001-of-001.hdf5", object_id=np.array([b"far"]), **inside(2000, 1))
    found = from_v1("old", tmp_path, Wanted())
    assert rows(found) == {"far": (4, 12, 0)}
    assert found.places[SKY][0].as_py() >> 50 == 2000


def test_a_survey_folder_will_do_where_it_has_one_release(tmp_path: Path) -> None:
    tree(tmp_path / "survey" / "hdf5" / "dr1")
    assert is_v1(tmp_path / "survey")
    assert is_v1(tmp_path / "survey" / "hdf5")
    assert rows(from_v1("old", tmp_path / "survey", Wanted())) == EXPECTED
    tree(tmp_path / "survey" / "dr2")
    with pytest.raises(UsageError, match=r"holds several releases; give one of .*dr2, .*dr1"):
        from_v1("old", tmp_path / "survey", Wanted())
    (tmp_path / "other").mkdir()
    assert not is_v1(tmp_path / "other")
    assert not is_v1(tmp_path / "nowhere")


def test_what_a_build_writes_has_the_places_of_its_shards(tmp_path: Path) -> None:
    sample.write(tmp_path / "sample", 120)
    write_hdf5(tmp_path / "sample", sample.SURVEY, sample.RELEASE, max_bytes=10_000)
    assert not is_v1(tmp_path / "sample")  # better opened as the catalogue it is
    found = open_source("old", tmp_path / "sample" / "hdf5" / "dr1_south", Wanted())
    assert isinstance(found, Memory)
    table = Dataset(tmp_path / "sample" / "dr1_south").table(["TARGETID", "ra", "dec"])
    order = np.argsort(table["TARGETID"].to_numpy())
    places = found.places.sort_by("object_id")
    assert places["object_id"].to_pylist() == [str(one) for one in table["TARGETID"].take(order).to_pylist()]
    for name in ("ra", "dec"):
        assert places[name].to_pylist() == table[name].take(order).to_pylist()
    assert any(len(list(path.iterdir())) > 1 for path in (tmp_path / "sample" / "hdf5" / "dr1_south").iterdir())


def galaxy(name: str, ra: float) -> dict[str, Any]:
    return {"object_id": name, "ra": ra, "dec": 2.0, "healpix": 40}


@pytest.mark.parametrize("kept", ["attributes", "datasets", "both"])
def test_a_group_a_record(tmp_path: Path, kept: str) -> None:
    path = tmp_path / "healpix=40" / "0001-of-0001.hdf5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        for number, name in enumerate(["8485-1901", "7815-3702"]):
            group = file.create_group(name)
            for key, value in galaxy(name, 10.0 + number).items():
                if kept != "datasets":
                    group.attrs[key] = value
                if kept != "attributes":
                    group.create_dataset(key, data=value)
            group.create_dataset("spaxels", (9216,), np.dtype([("flux", "f4", (4563,)), ("unit", "S8")]))
    assert rows(from_v1("manga", tmp_path, Wanted())) == {"7815-3702": (4, 40, 0), "8485-1901": (4, 40, 1)}


def test_a_group_as_we_write_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_spaxels", "_images", "_maps"):
        monkeypatch.setattr(f"surveys.manga.hdf5.{name}", lambda *args: [])
    path = tmp_path / "healpix=40" / "001-of-001.hdf5"
    path.parent.mkdir()
    cube = {"flux": np.zeros((1, 2, 2))}
    record = galaxy("7815-3702", 10.0) | {"nsa_z": 0.1, "cube": cube, "image": None}
    with h5py.File(path, "w") as file:
        write_group(file.create_group("7815-3702"), record)
    assert rows(from_v1("manga", tmp_path, Wanted())) == {"7815-3702": (4, 40, 0)}


def test_a_file_a_record(tmp_path: Path) -> None:
    for number, name in enumerate(["SN2005a", "SN2006b"]):
        path = tmp_path / "healpix=0012" / f"example_{name}.hdf5"
        write(path, object_id=name, ra=np.float32(10 + number), dec=2.0, time=np.zeros((3, 7)))
    assert rows(from_v1("csp", tmp_path, Wanted())) == {"SN2005a": (4, 12, 0), "SN2006b": (4, 12, 1)}


def test_sources_of_gaia_are_named_by_source_id_and_move(tmp_path: Path) -> None:
    motion = {"pmra": np.array([3.0, np.nan]), "pmdec": np.array([-4.0, np.nan]), "ra_error": np.array([5.0, 7.0])}
    path = tmp_path / "healpix=9" / "001-of-001.hdf5"
    write(path, source_id=np.array([10**18 + 1, 10**18 + 3]), RADIUS=[1.0, 2.0], **motion, **inside(9, 2))
    with h5py.File(path, "a") as file:
        file["ra_error"].attrs["units"] = "mas"
    found = from_v1("gaia", tmp_path, Wanted(motion=True, epoch=2016.0, errors=("ra_error",)))
    assert sorted(rows(found)) == [str(10**18 + 1), str(10**18 + 3)]
    assert found.places.sort_by("row")["error"].to_pylist() == pytest.approx([0.005, 0.007])
    assert (found.moves, found.epoch) == (True, 2016.0)
    write(tmp_path / "healpix=10" / "001-of-001.hdf5", source_id=[5], ra_error=[1.0], **inside(10, 1))
    with pytest.raises(FormatError, match=r"there is no '(pmra|pmdec)', which the first file of the tree has"):
        from_v1("gaia", tmp_path, Wanted(motion=True, errors=("ra_error",)))


def test_records_without_an_id_are_named_by_their_place(tmp_path: Path) -> None:
    write(tmp_path / "healpix=9" / "001-of-001.hdf5", RA=[1.0, 2.0], DEC=[1.0, 2.0])
    assert rows(from_v1("tess", tmp_path, Wanted())) == {f"4/9/{row}": (4, 9, row) for row in range(2)}


def test_what_is_not_read_may_be_of_any_kind(tmp_path: Path) -> None:
    path = tmp_path / "healpix=9" / "001-of-001.hdf5"
    write(path, object_id=[1], **inside(9, 1))
    with h5py.File(path, "a") as file:
        file.create_dataset("spectrum", (1,), h5py.vlen_dtype("f4"))
        file.create_dataset("image", (1 << 20, 1 << 20), "f4", chunks=(1, 1 << 20))
    assert from_v1("chandra", tmp_path, Wanted()).rows == 1


WRONG = {
    "a link": ({"object_id": h5py.ExternalLink("other.hdf5", "/x"), **inside(9, 1)}, "a link to another place"),
    "no position": ({"object_id": [1, 2], "ra": [1.0, np.nan], "dec": [1.0, 2.0]}, "healpix=9: 1 of 2 .* is row 1: ra"),
    "no dec": ({"object_id": [1], "ra": [1.0]}, "nor a group for each record, but 'object_id'"),
    "other arrays": ({"x": [1], "y": [1.0]}, "holds neither ra and dec, nor a group for each record, but 'x'"),
    "nothing": ({}, "is empty"),
    "lengths": ({"object_id": [1, 2], **inside(9, 1)}, "its shape is .2,., where there are 1 records"),
    "shape": ({"object_id": [[1], [2]], **inside(9, 2)}, "'object_id' is not one value a record"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path, case: str) -> None:
    arrays, said = WRONG[case]
    write(tmp_path / "healpix=9" / "001-of-001.hdf5", **arrays)
    with pytest.raises((FormatError, UsageError), match=said) as caught:
        from_v1("old", tmp_path, Wanted())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("folder", ["healpix=3072", "healpix=x"])
def test_a_folder_that_is_no_pixel_is_said(tmp_path: Path, folder: str) -> None:
    write(tmp_path / folder / "001-of-001.hdf5", object_id=[1], **inside(9, 1))
    with pytest.raises(UsageError, match="is not named after an nside-16 pixel"):
        from_v1("old", tmp_path, Wanted())


def test_folders_without_files_are_said(tmp_path: Path) -> None:
    (tmp_path / "healpix=9").mkdir()
    with pytest.raises(UsageError, match=r"no \.hdf5 or \.h5 file in them"):
        from_v1("old", tmp_path, Wanted())


def test_the_fingerprint_follows_names_sizes_and_times(tmp_path: Path) -> None:
    path = tree(tmp_path) / "healpix=5" / "001-of-002.hdf5"
    before = from_v1("old", tmp_path, Wanted()).fingerprint
    assert from_v1("old", tmp_path, Wanted()).fingerprint == before
    os.utime(path, ns=(1, 1))
    assert from_v1("old", tmp_path, Wanted()).fingerprint != before
