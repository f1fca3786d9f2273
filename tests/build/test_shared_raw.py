"""Releases that are built one after the other share their raw files; a catalogue of all is fetched once."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmu.cli import app
from mmu.survey import get_survey
from tests.archive.server import serving, simulate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdss-archive")
    simulate("sdss", "segue1", folder, "specObj")
    return folder


@pytest.mark.slow
def test_all_releases_fetch_the_catalogue_once_and_leave_nothing(folder: Path, tmp_path: Path) -> None:
    with serving(folder) as archive:
        options = ["--max-objects", "1", "-j", "0", "-q", "--source", archive.url, "--out", str(tmp_path)]
        result = CliRunner().invoke(app, ["build", "sdss", *options])
        fetched = [asked.path for asked in archive.asked if asked.path.endswith("specObj-dr17.fits")]
    assert result.exit_code == 1, "the archive has the catalogue only"
    assert len(fetched) == 1
    for release in get_survey("sdss").builds:
        assert (tmp_path / "sdss" / release / "_mmu/build.json").is_file()
    assert not list((tmp_path / ".cache").rglob("*.fits"))


@pytest.mark.slow
def test_one_release_leaves_what_was_fetched_for_the_others(folder: Path, tmp_path: Path) -> None:
    """As on a cluster: `mmu fetch` with the archive in reach, then builds without it, one release at a time."""
    with serving(folder) as archive:
        where = ["--source", archive.url, "--out", str(tmp_path)]
        build = ["-j", "0", "-q", "--max-objects", "1", *where]
        result = CliRunner().invoke(app, ["build", "sdss", "--release", "segue1", "--keep-raw", *build])
        assert result.exit_code == 1, "the archive has the catalogue only"
        raw = tmp_path / ".cache/sdss/all"
        catalogue = next(raw.rglob("specObj-dr17.fits"))
        other = raw / "sdss/spectro/redux/other.fits"  # as `mmu fetch` has put it there for another release
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_bytes(b"another release's")
        for release, left in (("segue2", True), ("boss", True), ("eboss", False)):
            if not left:
                other.unlink()
            asked = len(archive.asked)
            CliRunner().invoke(app, ["build", "sdss", "--release", release, *build])
            assert (tmp_path / "sdss" / release / "_mmu/build.json").is_file()
            assert not [seen.path for seen in archive.asked[asked:] if "specObj" in seen.path]
            assert (other.is_file(), catalogue.is_file()) == (left, left)
        assert not (tmp_path / ".cache").exists(), "with nothing of another release there, all of it goes"
