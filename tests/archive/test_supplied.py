"""Files that a user gives besides the archive's, and digests that a declaration knows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmu.archive.fetch import Fetcher
from mmu.archive.source import FolderSource
from mmu.archive.supplied import check_supplements, supplement_digests, supplement_files, with_supplements
from mmu.errors import AbsentUpstreamError, DownloadError, UsageError
from mmu.survey import File, Policy, Supplement, get_survey

ONE = Supplement("tables", ("a.txt", "b.txt"), "two tables", "with", "without")
SURVEY = replace(get_survey("gaia"), supplements=(ONE,))
PATH = "south/image.fits"


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    folder = tmp_path / "tables"
    folder.mkdir()
    for name in ONE.files:
        (folder / name).write_text(name)
    return folder


def test_they_are_files_of_the_source(tables: Path, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/c.txt").write_text("c")
    source = with_supplements(FolderSource(tmp_path / "archive"), {"tables": tables})
    with Fetcher(source, tmp_path / "cache", Policy()) as fetcher:
        got = [fetcher.get(file) for file in supplement_files(SURVEY, {"tables": tables})]
        assert [one.path for one in got] == ["tables/a.txt", "tables/b.txt"]
        assert [one.local.read_text() for one in got] == ["a.txt", "b.txt"]
        assert not any(one.owned for one in got), "a build removes no file of the user's"
        assert fetcher.get(File("c.txt", 1)).local.read_text() == "c"
        for path in ("tables/none.txt", "a.txt"):
            with pytest.raises(AbsentUpstreamError):
                fetcher.get(File(path, 1))
        assert source.has("tables/a.txt", fetcher.gate)
        known = got[0]
        assert not source.changed(known, fetcher.gate)
        (tables / "a.txt").write_text("longer")
        assert source.changed(known, fetcher.gate)


def test_nothing_given_changes_nothing(tmp_path: Path) -> None:
    source = FolderSource(tmp_path)
    assert with_supplements(source, {}) is source
    assert supplement_files(SURVEY, {}) == ()
    assert supplement_digests(SURVEY, {}) == {}


def test_the_digest_is_of_the_contents_not_the_place(tables: Path, tmp_path: Path) -> None:
    before = supplement_digests(SURVEY, {"tables": tables})
    tables = tables.rename(tmp_path / "moved")
    assert supplement_digests(SURVEY, {"tables": tables}) == before
    (tables / "b.txt").write_text("other")
    assert supplement_digests(SURVEY, {"tables": tables}) != before


def test_what_cannot_be_used_is_told(tables: Path) -> None:
    check_supplements(SURVEY, {"tables": tables})
    (tables / "b.txt").unlink()
    with pytest.raises(UsageError, match=r"no file b\.txt .* must hold a\.txt, b\.txt"):
        check_supplements(SURVEY, {"tables": tables})
    with pytest.raises(UsageError, match="tables"):
        check_supplements(SURVEY, {"table": tables})
    with pytest.raises(UsageError, match="nothing besides"):
        check_supplements(get_survey("gaia"), {"tables": tables})


def test_a_known_digest_must_hold(archive: Any, make: Callable[..., Fetcher], image: bytes) -> None:
    archive.add(PATH, image)
    known = File(PATH, len(image), sha256=hashlib.sha256(image).hexdigest().upper())
    with pytest.raises(DownloadError, match=r"sha256 is .* the survey's declaration says 000"):
        make().get(replace(known, sha256="0" * 64))
    assert make().get(known).local.read_bytes() == image


def test_a_folder_may_hold_other_bytes(tmp_path: Path, image: bytes) -> None:
    (tmp_path / "image.fits").write_bytes(image)
    with Fetcher(FolderSource(tmp_path), tmp_path / "cache", Policy()) as fetcher:
        assert fetcher.get(File("image.fits", 1, sha256="0" * 64)).sha256 == hashlib.sha256(image).hexdigest()
