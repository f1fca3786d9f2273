"""`mmu report`: words and exit codes, also without matplotlib."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.build.toy import Toy, installed


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("data")
    with installed(folder):
        Toy(folder / "archive").build(folder / "data")
        yield folder / "data" / "toy"


def mmu(*words: object, cwd: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    code = f"import sys; {before}; from mmu.cli import main; sys.argv[0] = 'mmu'; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, cwd=cwd, check=False
    )


def test_without_matplotlib_there_are_numbers_and_charts(toy: Path, tmp_path: Path) -> None:
    absent = "sys.modules['matplotlib'] = None"
    done = mmu("report", toy, "-o", tmp_path / "page.html", cwd=tmp_path, before=absent)
    assert done.returncode == 0, done.stderr
    assert "wrote" in done.stdout
    page = (tmp_path / "page.html").read_text()
    assert "multimodal-universe[plot]" in page
    assert "<img" not in page
    assert page.count("<svg") >= 2
    assert "It adds up" in page


def test_what_is_no_dataset_is_one_sentence(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for words, said in (
        (("report", tmp_path / "empty"), "holds no dataset and no match"),
        (("report", tmp_path / "nowhere"), "There is no dataset"),
        (("report", toy, "-o", tmp_path), "is a folder"),
        (("report", toy, tmp_path / "empty"), "holds no dataset and no match"),
    ):
        done = mmu(*words, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert not list(tmp_path.glob("*.html"))


def test_pictures_can_be_kept(toy: Path, tmp_path: Path) -> None:
    done = mmu("report", toy, "--pictures", tmp_path / "pictures", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").is_file()
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["toy.png"]
