"""Rows of spaxels back to a cube, and what ragged cubes need of features and decoding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mmu
from mmu.decoding import decode
from mmu.errors import UsageError
from mmu.schema import MODALITIES, Column, Schema, column_array, table_of
from mmu.schema.features import features_yaml
from mmu.spaxels import assembled

SPECTRUM = MODALITIES["spectrum"].column(axes={"wavelength": 3}, flux="Jy", without=("lambda",), with_=("maskbits",))
SCHEMA = Schema((SPECTRUM, Column("x", "int16"), Column("y", "int16")))
CUBE = MODALITIES["cube"].column(axes={"wavelength": 3, "y": None, "x": None}, flux="Jy")


def _rows(x: list[int], y: list[int]) -> pa.Table:
    number = np.arange(3 * len(x), dtype=np.float32).reshape(len(x), 3)
    bits = np.zeros((len(x), 3), np.int32)
    spectrum = {"flux": number, "ivar": number + 1, "lsf_sigma": number, "mask": bits > 0, "maskbits": bits}
    return table_of(SCHEMA, {"spectrum": spectrum, "x": np.array(x), "y": np.array(y)})


def test_spaxels_go_to_their_places_and_the_rest_is_bad() -> None:
    table = _rows([1, 0], [0, 2]).append_column("width", pa.array([3, 3]))
    cube = assembled(table, "spectrum")
    assert cube["flux"].shape == (3, 3, 3)
    assert cube["flux"][:, 0, 1].tolist() == [0, 1, 2]
    assert cube["flux"][:, 2, 0].tolist() == [3, 4, 5]
    assert cube["covered"].sum() == 2
    assert not cube["ivar"][:, ~cube["covered"]].any()
    assert cube["mask"][:, ~cube["covered"]].all()
    assert (cube["maskbits"][:, ~cube["covered"]] == -1).all()
    assert not cube["mask"][:, cube["covered"]].any()
    assert "lambda" not in cube


def test_wavelengths_come_from_the_grid() -> None:
    table = _rows([0], [0]).append_column("coeff0", pa.array([3.0])).append_column("coeff1", pa.array([0.5]))
    np.testing.assert_allclose(assembled(table, "spectrum")["lambda"], [1000, 10**3.5, 10000])


def test_a_spaxel_given_twice_is_told() -> None:
    with pytest.raises(UsageError, match="1 spaxels twice"):
        assembled(_rows([1, 1], [0, 0]), "spectrum")


def test_a_dataset_without_cubes_says_so(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    pq.write_metadata(pa.schema([pa.field("object_id", pa.string())]), tmp_path / "dataset" / "_common_metadata")
    (tmp_path / "hats.properties").write_text("dataproduct_type=object\n")
    with pytest.raises(UsageError, match="has no cubes"):
        mmu.open(tmp_path).cube("1")


def test_axes_that_differ_beyond_the_first_are_lists_in_the_card() -> None:
    members = {member["name"]: member for member in features_yaml(Schema((CUBE,)))[1]["struct"]}
    assert members["flux"] == {"name": "flux", "list": {"list": {"list": "float32"}}}
    assert members["lambda"] == {"name": "lambda", "list": "float32"}


def test_cubes_of_several_sizes_decode_to_one_array_a_row() -> None:
    column = CUBE.members[0]
    parts = [np.arange(3 * n * n, dtype=np.float32).reshape(1, 3, n, n) for n in (4, 5, 4)]
    rows = pa.concat_arrays([column_array(column, part) for part in parts])
    found = decode({"flux": rows})["flux"]
    assert found.dtype == object
    for one, part in zip(found, parts, strict=True):
        np.testing.assert_array_equal(one, part[0])
