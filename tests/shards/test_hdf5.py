"""The v1 layout, read back with h5py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest

from mmu.errors import FormatError
from mmu.schema.column import HEALPIX
from mmu.shards.hdf5 import write_hdf5
from mmu.sky.healpix import pixel
from mmu.survey import Hdf5Column, Release
from tests.shards.sample import BANDS, LISTED, RELEASE, SIDE, SURVEY, WAVES, write

ROWS = 120


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    write(folder, ROWS)
    return folder


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, object]]:
    table: pa.Table = write(tmp_path_factory.mktemp("again"), ROWS)
    return {row["TARGETID"]: row for row in table.to_pylist()}


@pytest.fixture
def files(root: Path) -> Iterator[list[h5py.File]]:
    opened = [h5py.File(path) for path in write_hdf5(root, SURVEY, RELEASE)]
    yield opened
    for file in opened:
        file.close()


def test_names_dtypes_shapes_and_values_are_v1s(files: list[h5py.File], rows: dict[int, dict[str, object]]) -> None:
    assert sum(len(file["object_id"]) for file in files) == ROWS
    for file in files:
        folder = Path(file.filename).parent.name
        assert folder == f"healpix={file['healpix'][0]}"
        assert Path(file.filename).name == "001-of-001.hdf5"
        assert np.array_equal(file["healpix"], pixel(file["ra"][:], file["dec"][:], 4))
        kinds = {name: (dataset.dtype.str[1:], dataset.shape[1:]) for name, dataset in file.items()}
        assert kinds["object_id"] == ("i8", ())
        assert kinds["image_array"] == ("f4", (len(BANDS), SIDE, SIDE))
        assert kinds["image_mask"] == ("b1", (SIDE, SIDE))
        assert kinds["image_band"] == ("S5", (len(BANDS),))
        assert kinds["image_rgb"] == ("u1", (SIDE, SIDE, 3))
        assert kinds["spectrum_flux"] == ("f4", (WAVES,))
        assert kinds["catalog_FLUX_G"] == ("f4", (LISTED,))
        for index, target in enumerate(file["object_id"][:]):
            row = rows[int(target)]
            image, count = row["image"], len(row["image"]["band"])  # type: ignore[index]
            assert [text.decode() for text in file["image_band"][index][:count]] == image["band"]  # type: ignore[index]
            assert file["image_array"][index][:count].tolist() == image["flux"]  # type: ignore[index]
            assert not file["image_array"][index][count:].any()
            assert file["image_mask"][index].tolist() == image["mask"][0]  # type: ignore[index]
            assert file["ZWARN"][index] == (-1 if row["ZWARN"] is None else row["ZWARN"])
            assert file["TYPE"][index].decode() == row["TYPE"]


def test_units_and_polarity_are_attributes(files: list[h5py.File]) -> None:
    assert files[0]["image_array"].attrs["units"] == "nanomaggy"
    assert files[0]["image_mask"].attrs["mask_polarity"] == "True = good"
    assert files[0]["spectrum_mask"].attrs["mask_polarity"] == "True = bad"
    assert files[0].attrs["schema_version"] == "1"
    assert "units" not in files[0]["TYPE"].attrs


def test_large_pixels_are_split_and_old_parts_go(root: Path) -> None:
    whole = write_hdf5(root, SURVEY, RELEASE)
    sizes: dict[str, int] = {}
    for path in whole:
        with h5py.File(path) as file:
            sizes[path.parent.name] = len(file["object_id"])
    parts = write_hdf5(root, SURVEY, RELEASE, max_bytes=20_000)
    assert len(parts) > len(whole)
    assert set((root / "hdf5").rglob("*.hdf5")) == set(parts)
    for path in parts:
        with h5py.File(path) as file:
            sizes[path.parent.name] -= len(file["object_id"])
    assert not any(sizes.values())
    again = {path: path.read_bytes() for path in parts}
    assert {path: path.read_bytes() for path in write_hdf5(root, SURVEY, RELEASE, max_bytes=20_000)} == again


def test_identifiers_are_added_where_the_map_has_none(root: Path) -> None:
    release = replace(RELEASE, hdf5=(Hdf5Column("ra", "ra", "f8"),))
    with h5py.File(write_hdf5(root, SURVEY, release)[0]) as file:
        assert sorted(file) == ["healpix", "object_id", "ra"]
        assert file["object_id"].dtype == "S32"
        assert file["object_id"][0].startswith(b"obj-1-")
    assert HEALPIX.name == "_healpix_29"


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        (Hdf5Column("ident", "object_id", "S4"), "longer than 4 bytes"),
        (Hdf5Column("flux", "image.flux", "f4"), "give a `length`"),
        (Hdf5Column("flux", "image.flux", "f4", length=2), "2 are allowed"),
    ],
)
def test_what_does_not_fit_is_an_error_and_leaves_no_file(root: Path, column: Hdf5Column, problem: str) -> None:
    release: Release = replace(RELEASE, hdf5=(column,))
    before = set((root / "hdf5").rglob("*"))
    with pytest.raises(FormatError, match=problem):
        write_hdf5(root, SURVEY, release)
    assert set((root / "hdf5").rglob("*")) == before
