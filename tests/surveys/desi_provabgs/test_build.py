"""Builds with and without `--provabgs-basis`: what is written, what the card says, and that the two are two builds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mmu
from mmu.build.run import build
from mmu.build.spec import BuildSpec
from mmu.cli.options import _spelled_out, read_supplements
from mmu.errors import UsageError
from mmu.simulate import Field, Sky
from surveys.desi_provabgs import BASIS, SURVEY, simulate

SKY = Sky(fields=(Field("equator", 185.625, 0.0, 0.2),))
LABELS = ["Z_MW", "TAGE_MW", "AVG_SFR", "AVG_SSFR"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulated archive as a folder, and the basis tables beside it."""
    root = tmp_path_factory.mktemp("provabgs")
    (root / "archive" / simulate.PATH).parent.mkdir(parents=True)
    simulate.write(simulate.PATH, SKY, root / "archive" / simulate.PATH)
    simulate.write_basis(root / "basis")
    return root


def _spec(archive: Path, out: Path, *, basis: Path | None = None) -> BuildSpec:
    given = {} if basis is None else {BASIS: basis}
    return BuildSpec("desi_provabgs", out, source=str(archive / "archive"), workers=0, supplements=given)


def test_without_it_labels_are_null_and_the_card_says_so(archive: Path, tmp_path: Path) -> None:
    report = build(_spec(archive, tmp_path))
    assert report.counts["selected"] == report.counts["written"] > 20
    assert sum(report.counts["cut"].values()) == report.counts["read"] - report.counts["selected"]
    table = mmu.open(tmp_path / "desi_provabgs").table(LABELS)
    assert all(table[name].null_count == len(table) for name in LABELS)
    assert f"this build: {SURVEY.supplements[0].absent}" in (tmp_path / "desi_provabgs/README.md").read_text()
    with pytest.raises(UsageError, match="supplements was"):
        build(_spec(archive, tmp_path, basis=archive / "basis"))


def test_with_it_they_are_there_and_accounted_for(archive: Path, tmp_path: Path) -> None:
    build(_spec(archive, tmp_path, basis=archive / "basis"))
    table = mmu.open(tmp_path / "desi_provabgs").table(LABELS)
    assert all(np.isfinite(table[name].to_numpy()).all() for name in LABELS)
    assert f"this build: {SURVEY.supplements[0].given}" in (tmp_path / "desi_provabgs/README.md").read_text()
    ledger = json.loads((tmp_path / "desi_provabgs/provabgs/_mmu/build.json").read_text())
    assert ledger["spec"]["supplements"][BASIS].startswith("sha256 ")
    assert build(_spec(archive, tmp_path, basis=archive / "basis")).done_before
    with pytest.raises(UsageError, match="supplements was"):
        build(_spec(archive, tmp_path))


def test_ranges_of_rows_do_not_change_the_bytes(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(_spec(archive, tmp_path / "a", basis=archive / "basis"))
    monkeypatch.setitem(SURVEY.default_release.facts, "unit_rows", 7)
    report = build(_spec(archive, tmp_path / "b", basis=archive / "basis"))
    assert report.counts["failed"] == {}
    shards = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("Npix=*.parquet"))
    assert shards
    for path in shards:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_a_folder_that_lacks_a_table_is_refused_at_once(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file sfh_t_int\.txt"):
        _spec(archive, tmp_path, basis=tmp_path)


def test_the_option_is_spelled_as_the_survey_says() -> None:
    for words in (["--provabgs-basis", "d"], ["--provabgs-basis=d"]):
        args = ["desi_provabgs", *words, "--out", "x"]
        assert list(_spelled_out(args)) == ["desi_provabgs", "--supply", "provabgs-basis=d", "--out", "x"]
    for args in (["desi", "--provabgs-basis", "d"], ["desi_provabgs", "--provabgs-basis"], []):
        assert list(_spelled_out(args)) == args
    assert read_supplements(["a=/b=c"]) == {"a": Path("/b=c")}
    with pytest.raises(UsageError, match="NAME=DIR"):
        read_supplements(["a"])


def test_the_command_line_takes_it(archive: Path, tmp_path: Path) -> None:
    words = ["build", "desi_provabgs", "--source", archive / "archive", "--out", tmp_path, "-j", 0, "--provabgs-basis"]
    done = _mmu(*words, archive / "basis")
    assert done.returncode == 0, done.stderr
    assert mmu.open(tmp_path / "desi_provabgs").table(["Z_MW"])["Z_MW"].null_count == 0
    wrong = _mmu(*words, tmp_path)
    assert wrong.returncode == 2
    assert "the folder must hold" in wrong.stderr
    other = _mmu("build", "gaia", "--out", tmp_path, "--provabgs-basis", archive / "basis")
    assert other.returncode == 2
    assert "No such option" in other.stderr


def _mmu(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "mmu", *map(str, words)], capture_output=True, text=True, check=False)
