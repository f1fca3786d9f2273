"""A v1 tree written as a dataset of ours: the same records, in shards, for every reader."""

from __future__ import annotations

import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

import mmu
from crossmatch.api import check_pairs
from mmu.cli import main
from mmu.errors import FormatError, UsageError
from mmu.v1 import open_v1
from mmu.v1.convert import convert
from tests.shards import sample
from tests.v1.conftest import ROWS
from tests.v1.trees import images, inside, light_curves, spectra, write


@pytest.fixture(scope="module")
def made(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "sample_v1"
    convert(open_v1(tree), out, partition_bytes=20_000)
    return out


def test_the_records_are_the_same_in_the_order_of_the_sky(tree: Path, made: Path) -> None:
    new, old = mmu.open(made), mmu.open(tree).table("all")
    table = new.table("all")
    assert len(new.partitions) > 2
    assert (np.diff(table["_healpix_29"].to_numpy()) >= 0).all()
    where = {name: row for row, name in enumerate(table["object_id"].to_pylist())}
    back = table.take([where[name] for name in old["object_id"].to_pylist()])
    assert back.drop_columns(["_healpix_29"]).to_pydict() == old.to_pydict()
    assert [path.name for path in made.iterdir() if path.name.startswith(".")] == []


def test_shapes_are_those_that_all_records_have(made: Path, tmp_path: Path) -> None:
    said = mmu.open(made).describe()
    assert f"float[*, {sample.SIDE}, {sample.SIDE}]" in said  # of image.flux, whose bands differ
    assert f"uint8[{sample.SIDE}, {sample.SIDE}, 3]" in said
    new = convert(open_v1(images(tmp_path / "ls")), tmp_path / "out")
    assert "bool[*, 4, 4]" in new.describe()
    assert "float[5]" in new.describe()
    new = convert(open_v1(spectra(tmp_path / "boss")), tmp_path / "boss_v1")
    assert "spectrum_lsf                 float[2, *]" in new.describe()
    assert sorted(len(one) for one in new.array("spectrum.flux")) == [0, 0, 4, 6, 7, 9]
    curves = convert(open_v1(light_curves(tmp_path / "csp")), tmp_path / "csp_v1")
    assert "time                         double[2, *]" in curves.describe()
    assert {np.shape(one) for one in curves.table(["time"])["time"].to_pylist()} == {(2, 3), (2, 5)}


@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")
def test_it_loads_with_datasets_and_lsdb(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)
    rows = datasets.load_dataset(str(made), split="train", streaming=True)
    plane = datasets.Array3D((None, sample.SIDE, sample.SIDE), "float32")
    assert datasets.Features(rows.features)["image"]["flux"] == plane
    assert sum(1 for _ in rows) == ROWS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas warns of what lsdb and nested-pandas still use
        import lsdb

        catalogue = lsdb.open_catalog(made / "dr1_south", columns=["object_id"])
        assert len(catalogue.compute(progress_bar=False)) == ROWS


def test_it_is_streamed_and_matched(made: Path, tree: Path) -> None:
    stream = mmu.stream(
        [str(made), str(tree.parents[1])], columns={made.name: ["image.flux"]}, batch_size=16, tail="exact"
    )
    assert sum(len(batch.ids[made.name]) for batch in stream) == ROWS


def test_the_tree_itself_is_matched_and_the_rest_is_refused(tree: Path, made: Path, tmp_path: Path) -> None:
    found = mmu.crossmatch({"old": tree, "new": made}, radius_arcsec=0.1, out=tmp_path / "m")
    assert len(found) == ROWS
    assert len(mmu.crossmatch({"old": mmu.open(tree), "new": made}, radius_arcsec=0.1)) == ROWS
    for refused in (
        lambda: mmu.stream([str(tree), str(made)]),
        lambda: mmu.stream(mmu.open(tree)),
        lambda: check_pairs(f"old={tree}", f"new={made}"),
    ):
        with pytest.raises(UsageError, match=f"`mmu convert {tree} --out FOLDER` writes it as a dataset"):
            refused()


def test_the_command_line(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: object) -> None:
        monkeypatch.setattr("sys.argv", ["mmu", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code in (None, 0, 2)

    run("convert", tree, "--out", tmp_path / "made", "--quiet")
    assert f"dr1_south: {ROWS} objects" in capsys.readouterr().out
    run("convert", tree, "--out", tmp_path / "made")
    assert "dr1_south is there already" in capsys.readouterr().err
    run("info", tree, "--columns")
    said = capsys.readouterr().out
    assert f"<dr1_south: {ROWS} objects" in said
    assert "image.mask" in said


def test_what_cannot_be_converted_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path / "v1" / "healpix=9" / "001-of-001.hdf5", object_id=[1, 2], ra=[1.0, np.nan], dec=[1.0, 2.0])
    with pytest.raises(UsageError, match="1 of 2 records have no position; the first is 2"):
        convert(open_v1(tmp_path / "v1"), tmp_path / "out")
    write(tmp_path / "v1" / "healpix=9" / "001-of-001.hdf5", object_id=[1], z=[1], **inside(9, 1))
    path = write(tmp_path / "v1" / "healpix=10" / "001-of-001.hdf5", object_id=[2], **inside(10, 1))
    with pytest.raises(FormatError, match="there is no 'z'"):
        convert(open_v1(tmp_path / "v1"), tmp_path / "out")
    assert not (tmp_path / "out" / "v1").exists()
    with h5py.File(path, "a") as file:
        file["z"] = [2]
    assert len(convert(open_v1(tmp_path / "v1"), tmp_path / "out")) == 2
    assert [one.name for one in sorted((tmp_path / "out").iterdir())] == ["README.md", "v1"]
