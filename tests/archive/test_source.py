"""The four kinds of source: told apart, named, and refused in words when they cannot be used."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mmu.archive.fetch import Fetcher
from mmu.archive.source import FolderSource, HttpSource, SimulatedSource, open_source
from mmu.errors import AbsentUpstreamError, DownloadError, UsageError
from mmu.kept import VARIABLE
from mmu.survey import File, Policy, Release, Survey

ROOT = "https://data.example.org/dr1"
FACTS = {
    "name": "toy",
    "module": "toysurvey",
    "root": ROOT,
    "hosts": (),
    "login": None,
    "service": None,
    "absent": (404,),
}
SURVEY = cast(Survey, SimpleNamespace(**FACTS))
RELEASE = cast(Release, SimpleNamespace(name="r1"))

SIMULATOR = """
import os

def files(release, sky):
    return {f"{release}/{sky.seed}.txt": 10, "crash.txt": 1, "bad.fits": 1, "fails.txt": 1}

def write(path, sky, destination):
    if path == "crash.txt":
        os._exit(3)
    if path == "fails.txt":
        raise ValueError("no such star")
    destination.write_text(f"{path} of {sky.seed} in another process: {os.getpid()}")
"""


class TestForms:
    @pytest.mark.parametrize(
        ("text", "kind", "name", "host"),
        [
            (None, HttpSource, "https://data.example.org/dr1/", "data.example.org"),
            ("https://mirror.example.org/x/", HttpSource, "https://mirror.example.org/x/", "mirror.example.org"),
            ("http://127.0.0.1:8000", HttpSource, "http://127.0.0.1:8000/", "127.0.0.1:8000"),
            ("http://localhost:8000", HttpSource, "http://localhost:8000/", "localhost:8000"),
            ("http://[::1]:8000", HttpSource, "http://[::1]:8000/", "[::1]:8000"),
            ("simulated", SimulatedSource, "simulated:2026", ""),
            ("simulated:7", SimulatedSource, "simulated:7", ""),
            ("simulated:7:noiseless", SimulatedSource, "simulated:7:noiseless", ""),
        ],
    )
    def test_each_is_known_by_its_name(self, text: str | None, kind: type, name: str, host: str) -> None:
        with open_source(text, SURVEY, RELEASE) as source:
            assert type(source) is kind
            assert (source.name, source.host) == (name, host)

    def test_a_folder_is_named_in_full(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "data").mkdir()
        monkeypatch.chdir(tmp_path)
        with open_source("data", SURVEY, RELEASE) as source:
            assert source.name == str(tmp_path / "data")
            assert source.host == ""

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "nowhere",
            "ftp://x.org",
            "file:///etc",
            "simulated:x",
            "simulated:-1",
            "simulated:",
            "simulated:²",
            "simulated:7:",
            "simulated:7:loud",
            "simulated:noiseless",
            "https:///x",
        ],
    )
    def test_anything_else_lists_the_four(self, text: str) -> None:
        with pytest.raises(UsageError, match=r"mirror.*simulated:SEED.*folder"):
            open_source(text, SURVEY, RELEASE)

    @pytest.mark.parametrize("text", ["http://example.org/", "http://127.0.0.1.example.org/", "http://10.0.0.1/"])
    def test_plain_http_stays_on_this_machine(self, text: str) -> None:
        with pytest.raises(UsageError, match="https://"):
            open_source(text, SURVEY, RELEASE)

    @pytest.mark.parametrize(
        "text", ["https://me:secret@x.org/", "https://x.org/?token=secret", "https://secret@x.org/"]
    )
    def test_credentials_in_a_url_are_refused_and_not_repeated(self, text: str) -> None:
        with pytest.raises(UsageError, match="credentials file") as caught:
            open_source(text, SURVEY, RELEASE)
        assert "secret" not in str(caught.value)


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "data" / "south"
        folder.mkdir(parents=True)
        (folder / "a.txt").write_text("words")
        return tmp_path / "data"

    @pytest.fixture
    def fetcher(self, folder: Path, tmp_path: Path) -> Iterator[Fetcher]:
        with Fetcher(FolderSource(folder), tmp_path / "cache", Policy()) as fetcher:
            yield fetcher

    def test_files_are_used_where_they_lie(self, folder: Path, fetcher: Fetcher) -> None:
        got = fetcher.get(File("south/a.txt", 5))
        assert (got.local, got.owned, got.bytes) == (folder / "south" / "a.txt", False, 5)
        assert got.sha256 == hashlib.sha256(b"words").hexdigest()

    def test_a_missing_file_is_absent(self, fetcher: Fetcher) -> None:
        with pytest.raises(AbsentUpstreamError, match=r"south/b\.txt"):
            fetcher.get(File("south/b.txt", 5))

    def test_a_bad_file_is_refused_and_left_alone(self, folder: Path, fetcher: Fetcher) -> None:
        (folder / "a.fits").write_text("<html>")
        with pytest.raises(DownloadError, match=r"a\.fits cannot be used: .*web page"):
            fetcher.get(File("a.fits", 5))
        assert (folder / "a.fits").exists()

    def test_the_archives_list_holds_there_too(self, folder: Path, fetcher: Fetcher) -> None:
        (folder / "list.md5").write_text(f"{'0' * 32}  a.txt\n")
        with pytest.raises(DownloadError, match="md5 is"):
            fetcher.get(File("south/a.txt", 5, checksums="list.md5"))

    def test_a_file_that_changes_is_looked_at_again(self, folder: Path, fetcher: Fetcher) -> None:
        before = fetcher.get(File("south/a.txt", 5))
        (folder / "south" / "a.txt").write_text("other words")
        assert fetcher.get(File("south/a.txt", 5)).sha256 != before.sha256

    @pytest.mark.parametrize(
        "path", ["../secret", "south/../../secret", "/etc/passwd", "C:\\x", "a\0b", "south/./a.txt"]
    )
    def test_no_path_leads_out(self, fetcher: Fetcher, path: str) -> None:
        with pytest.raises(UsageError, match="not a path inside an archive"):
            fetcher.get(File(path, 5))


class TestSimulated:
    @pytest.fixture
    def fetcher(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetcher]:
        package = tmp_path / "modules" / "toysurvey"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "simulate.py").write_text(SIMULATOR)
        monkeypatch.syspath_prepend(str(package.parent))
        monkeypatch.delenv(VARIABLE, raising=False)  # these are made here, not copied
        simulator: dict[str, Any] = {}
        exec(SIMULATOR, simulator)
        survey = cast(Survey, SimpleNamespace(name="toy", module="toysurvey", simulator=SimpleNamespace(**simulator)))
        with Fetcher(SimulatedSource(survey, RELEASE, 5, processes=1), tmp_path / "cache", Policy()) as fetcher:
            yield fetcher
        sys.modules.pop("toysurvey", None)

    def test_a_file_outside_the_list_is_absent(self, fetcher: Fetcher) -> None:
        with pytest.raises(AbsentUpstreamError, match=r"toy has no file r1/6\.txt"):
            fetcher.get(File("r1/6.txt", 10))

    @pytest.mark.slow
    def test_files_are_made_in_a_process_that_may_die(self, fetcher: Fetcher) -> None:
        got = fetcher.get(File("r1/5.txt", 10))
        assert got.local.read_text().startswith("r1/5.txt of 5 in another process")
        assert (got.url, got.owned, got.reused) == ("simulated:5/r1/5.txt", True, False)
        assert fetcher.get(File("r1/5.txt", 10)).reused
        with pytest.raises(DownloadError, match=r"bad\.fits failed its checks 3 times"):
            fetcher.get(File("bad.fits", 1))
        with pytest.raises(DownloadError, match=r"fails\.txt.*no such star"):
            fetcher.get(File("fails.txt", 1))
        with pytest.raises(DownloadError, match=r"making crash\.txt.*died"):
            fetcher.get(File("crash.txt", 1))
        fetcher.discard("r1/5.txt")
        assert not fetcher.get(File("r1/5.txt", 10)).reused
