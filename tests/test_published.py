"""Catalogues of the community (v1.5) through our verbs: opened, decoded, matched with one of ours, streamed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import mmu
from crossmatch.materialize import materialize
from mmu.errors import UsageError
from mmu.schema.plain import plain, plain_schema
from tests import published
from tests.shards import sample

ROWS = 24


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("survey") / "sample"
    sample.write(root, ROWS)
    return root


@pytest.fixture(scope="module")
def theirs(ours: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A catalogue of each kind at the positions of ours."""
    table = mmu.open(ours).table(["ra", "dec"])
    ra, dec, root = table["ra"].to_numpy(), table["dec"].to_numpy(), tmp_path_factory.mktemp("published")
    for kind in published.KINDS:
        published.write(root / f"mmu_{kind}", kind, ra, dec)
    return {kind: root / f"mmu_{kind}" for kind in published.KINDS}


def rows(kind: str) -> dict[str, Any]:
    return {f"{kind}-{row}": value for row, value in enumerate(published.values(kind, ROWS))}


@pytest.mark.parametrize("kind", published.KINDS)
def test_arrays_have_their_shapes_and_dtypes(theirs: dict[str, Path], kind: str) -> None:
    data, expected = mmu.open(theirs[kind]), rows(kind)
    assert len(data) == ROWS
    assert (data.schema.field(kind).metadata or {})[b"modality"] == kind.encode()
    batch = mmu.decode(data.table("all"))
    assert (batch["psf"].shape, batch["psf"].dtype) == ((ROWS, published.SIDE, published.SIDE), np.float32)
    flux, seen = batch[kind]["flux"], 0
    for name, one in zip(batch["object_id"], range(ROWS), strict=True):
        for member, values in expected[name].items():
            found = batch[kind][member][one]
            assert found.dtype == {"band": object, "mask": bool}.get(member, np.float32), member
            assert np.array_equal(found, np.array(values, found.dtype))
            seen += 1
    assert seen == ROWS * len(batch[kind])
    assert flux[0].shape[1:] == ((published.SIDE, published.SIDE) if kind == "image" else ())
    if kind == "spectrum":
        assert flux.shape == (ROWS, published.WAVES)
    assert sum(len(one["ra"]) for one in data.batches(batch_rows=7)) == ROWS
    record = data.record(f"{kind}-3")
    assert np.array_equal(record[kind]["flux"], np.array(expected[f"{kind}-3"]["flux"], "f4"))


def test_shapes_and_polarity_are_told_as_in_ours(theirs: dict[str, Path]) -> None:
    said = mmu.open(theirs["image"]).describe()
    assert "float[*, 6, 6]" in said
    assert "True = good" in said
    assert "True = bad" in mmu.open(theirs["spectrum"]).describe()


_LOOK = """
import hashlib, json, sys
if sys.argv[2] == "with":
    import datasets
import mmu
from mmu.schema.plain import plain_schema
out = {}
for kind in ("image", "spectrum", "lightcurve"):
    data = mmu.open(f"{sys.argv[1]}/mmu_{kind}")
    table = data.table("all")
    batches = [str(batch[kind]["flux"]) for batch in data.batches(batch_rows=5)]
    stream = mmu.stream(data.path, batch_size=5, tail="exact")
    streamed = [sorted(f"{k} {v}" for k, v in batch[stream.samples.sides[0].name].items()) for batch in stream]
    region = data.table("all", region="cone:45,0,0.02").num_rows
    types = [str(data.schema), str(table.schema.field(kind).type)]
    out[kind] = [types, str(table.to_pylist()), batches, streamed, region]
    assert "extension" not in str(table.schema), table.schema
marked = "datasets" in sys.modules
print(json.dumps([marked, hashlib.sha256(json.dumps(out).encode()).hexdigest()]))
"""


def test_all_is_the_same_with_and_without_datasets_in_the_process(theirs: dict[str, Path]) -> None:
    """It makes extension types of the marks within structs, which most of Arrow's functions do not take."""
    found = []
    for way in ("with", "without"):
        command = [sys.executable, "-c", _LOOK, str(theirs["image"].parent), way]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    assert [marked for marked, _ in found] == [True, False]
    assert found[0][1] == found[1][1]


def test_marks_that_arrow_knows_become_what_they_stand_for() -> None:
    """With extension types, nulls and slices: the values are those of the storage."""

    class Square(pa.ExtensionType):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(pa.list_(pa.list_(pa.float32())), "datasets.features.features.Array2DExtensionType")

        def __arrow_ext_serialize__(self) -> bytes:
            return b'[[2, 2], "float32"]'

    planes = [[[1.0, 2.0], [3.0, 4.0]], None, [[5.0, 6.0], [7.0, 8.0]], [[9.0, 0.0], [1.0, 1.0]]]
    marked = pa.ExtensionArray.from_storage(Square(), pa.array(planes, pa.list_(pa.list_(pa.float32()))))
    lists = pa.ListArray.from_arrays(pa.array([0, 1, None, 4], pa.int32()), marked)
    struct = pa.StructArray.from_arrays([lists], ["flux"], mask=pa.array([False, False, True]))
    table = pa.table({"image": struct, "top": marked.slice(1)})
    for piece in (table, table.slice(1), table.slice(2, 1)):
        found = plain(piece)
        assert found.to_pylist() == piece.to_pylist()
        assert "extension" not in str(found.schema)
        found.validate(full=True)
    schema = plain_schema(table.schema)
    assert schema.field("top").metadata == {b"shape": b"[2, 2]"}
    assert schema.field("image").type.field("flux").metadata == {b"shape": b"[null, 2, 2]"}


@pytest.mark.parametrize("kind", published.KINDS)
def test_it_is_matched_with_one_of_ours_and_streamed(ours: Path, theirs: dict[str, Path], kind: str) -> None:
    found = mmu.crossmatch(ours, theirs[kind], radius_arcsec=0.1)
    assert len(found) == ROWS
    name = f"mmu_{kind}"
    stream = mmu.stream(
        [str(ours), str(theirs[kind])],
        radius_arcsec=0.1,
        columns={"sample": ["EBV"], name: [f"{kind}.flux"]},
        batch_size=5,
        tail="exact",
    )
    expected, ids = rows(kind), []
    for batch in stream:
        flux = batch[name][f"{kind}.flux"]
        for at, one in enumerate(batch.ids[name]):
            wanted = np.array(expected[one]["flux"], "f4")
            row = flux[at] if not isinstance(flux, tuple) else flux[0][flux[1][at] : flux[1][at + 1]]
            assert np.array_equal(row[: len(wanted)], wanted)
            ids.append(one)
    assert sorted(ids) == sorted(expected)


def test_pairs_with_one_of_ours_are_written_out(ours: Path, theirs: dict[str, Path], tmp_path: Path) -> None:
    found = mmu.crossmatch(ours, theirs["image"], radius_arcsec=0.1, out=tmp_path / "m")
    pairs = materialize(found, ["sample.EBV", "mmu_image.image", "mmu_image.psf"])
    batch, expected = mmu.decode(pairs.table("all")), rows("image")
    assert len(pairs) == ROWS
    for at, one in enumerate(batch["mmu_image_id"]):
        assert np.array_equal(batch["mmu_image_image"]["mask"][at], np.array(expected[one]["mask"]))
    assert batch["mmu_image_psf"].shape == (ROWS, published.SIDE, published.SIDE)


IDS = {"integers": ("object_id", 2**60 + 1), "gaia": ("source_id", 2**60 + 1), "its own": ("SPECID", 7)}


@pytest.mark.parametrize("case", IDS)
def test_ids_of_any_name_and_type_are_found_as_text(tmp_path: Path, case: str) -> None:
    name, first = IDS[case]
    ids = np.arange(ROWS) + first
    ra, dec = np.linspace(44, 46, ROWS), np.linspace(-1, 1, ROWS)
    published.write(tmp_path / "mmu_any", "spectrum", ra, dec, id_name=name, ids=ids)
    data = mmu.open(tmp_path / "mmu_any")
    assert data.keys == (name, "ra", "dec")
    found = data.table([name, "Z"], ids=[str(first + 4), str(first + 9)])
    assert sorted(found[name].to_pylist()) == [first + 4, first + 9]
    assert data.record(str(first + 4))["spectrum"]["flux"].shape == (published.WAVES,)
    with pytest.raises(UsageError, match="has no object '999'"):
        data.table(ids=["999"])
    match = mmu.crossmatch({"a": tmp_path / "mmu_any", "b": {"ra": ra[4:5], "dec": dec[4:5], "object_id": ["x"]}})
    assert match.table(["a_id", "b_id"]).to_pylist() == [{"a_id": str(first + 4), "b_id": "x"}]


def test_one_without_ids_says_so(tmp_path: Path) -> None:
    published.write(tmp_path / "mmu_any", "spectrum", np.array([1.0]), np.array([2.0]), id_name="index", ids=[1])
    data = mmu.open(tmp_path / "mmu_any")
    text = (data.path / "hats.properties").read_text().replace("hats_cols_survey_id=index\n", "")
    (data.path / "hats.properties").write_text(text)
    data = mmu.open(tmp_path / "mmu_any")
    assert len(data.table(region="cone:1,2,0.1")) == 1
    with pytest.raises(UsageError, match="has no column of ids: none of object_id, source_id"):
        data.table(ids=["1"])
