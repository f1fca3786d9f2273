"""Matches: which object, its record in each dataset, and the columns of pairs handed back to their datasets."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from crossmatch import api
from mmu.errors import UsageError
from mmu.look.match import Match, open_match, own_columns
from tests.look.made import Z, image_column, images, made, spectra, spectrum_column, spot

COUNT = 4


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stamps and spectra of the same places but one, a match of them, and its pairs."""
    root = tmp_path_factory.mktemp("match")
    planes = [{"g": spot(10 + i, 10), "r": spot(10 + i, 10)} for i in range(COUNT)]
    made(root / "ls", (image_column(),), {"image": images(planes)}, COUNT)
    flux = [np.full(300, float(i)) for i in range(COUNT - 1)]
    values = {"spectrum": spectra(flux), "Z": np.arange(COUNT - 1) / 10}
    made(root / "ls_spec", (spectrum_column(), Z), values, COUNT - 1)
    found = api.crossmatch(root / "ls", root / "ls_spec", out=root / "out", how="left")
    api.materialize(found)
    return root


def opened(path: Path) -> Match:
    found = open_match(path)
    assert found is not None
    return found


@pytest.mark.parametrize("folder", ["out", "out/association", "out/pairs"])
def test_an_object_in_every_dataset_that_has_it(root: Path, folder: str) -> None:
    match = opened(root / folder)
    assert match.materialised == folder.endswith("pairs")
    stamp, spectrum = match.subjects(match.row_of("obj-002"))
    assert (stamp.survey, spectrum.survey) == ("ls", "ls_spec")
    assert (stamp.id, spectrum.id) == ("obj-002", "obj-002")
    np.testing.assert_array_equal(np.asarray(stamp.record["image"]["flux"])[0], spot(12, 10))
    np.testing.assert_array_equal(spectrum.record["spectrum"]["flux"], 2.0)
    assert stamp.separation is None
    assert spectrum.separation == pytest.approx(0.0, abs=1e-3)
    assert spectrum.redshift == pytest.approx(0.2)
    assert (stamp.of("image"), stamp.of("spectrum"), spectrum.of("spectrum")) == (["image"], [], ["spectrum"])
    alone = match.subjects(match.row_of("obj-003"))
    assert [one.survey for one in alone] == ["ls"]


def test_which_object(root: Path) -> None:
    match = opened(root / "out")
    assert match.objects["datasets"][match.best()].as_py() == 2
    seen = match.objects["datasets"].to_numpy()
    assert sorted(match.random(9)) == sorted(np.flatnonzero(seen == 2).tolist())
    with pytest.raises(UsageError, match="no object 'obj-0022'; the ids most like it: obj-002"):
        match.row_of("obj-0022")


def test_pairs_do_without_the_datasets(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "out", tmp_path / "out")
    shutil.copytree(root / "ls", tmp_path / "ls")
    for account in (tmp_path / "out").glob("*/_mmu/match.json"):
        account.write_text(account.read_text().replace(str(root), "/nowhere"))
    match = opened(tmp_path / "out")
    assert match.materialised
    assert [one.survey for one in match.subjects(0)] == ["ls", "ls_spec"]
    shutil.rmtree(tmp_path / "out" / "pairs")
    with pytest.raises(UsageError, match="ls, a dataset of the match, cannot be opened"):
        opened(tmp_path / "out").subjects(0)


def test_a_dataset_is_no_match(root: Path) -> None:
    assert open_match(root / "ls") is None


def test_the_longest_name_has_the_column() -> None:
    columns = ["object_id", "desi_Z", "desi_provabgs_Z", "desi_provabgs_id", "gaia_pm"]
    names = ["desi", "desi_provabgs", "gaia"]
    assert own_columns(columns, "desi", names) == {"Z": "desi_Z"}
    assert own_columns(columns, "desi_provabgs", names) == {"Z": "desi_provabgs_Z", "id": "desi_provabgs_id"}
