"""`mmu report`: words and exit codes, also without matplotlib."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmu.errors import UsageError
from mmu.report import write_report
from tests.build.toy import Toy, installed


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("data")
    with installed(folder):
        Toy(folder / "archive").build(folder / "data")
        yield folder / "data" / "toy"


def mmu(*words: object, cwd: Path, before: str = "pass") -> subprocess.CompletedProcess[str]:
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


def test_what_is_no_dataset_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = mmu("report", tmp_path / "empty", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "holds no dataset, no match and no run" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_cannot_be_done_writes_nothing(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for paths, out, said in (
        ([tmp_path / "nowhere"], tmp_path / "page.html", "There is no dataset"),
        ([toy, tmp_path / "empty"], tmp_path / "page.html", "holds no dataset, no match and no run"),
        ([toy], tmp_path, "is a folder"),
    ):
        with pytest.raises(UsageError, match=said):
            write_report(paths, out)
    assert not list(tmp_path.glob("*.html*"))
