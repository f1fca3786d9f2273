"""`mmu show` and `mmu sky` as a person meets them."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crossmatch import api
from mmu.cli import main
from tests.look.made import Z, image_column, images, made, spectra, spectrum_column, spot


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two datasets of three objects, at work in their folder."""
    made(tmp_path / "ls" / "dr1", (image_column(),), {"image": images([{"g": spot(9, 9)}] * 3)}, 3)
    values = {"spectrum": spectra([np.ones(200)] * 3), "Z": [0.1, 0.2, 0.3]}
    made(tmp_path / "desi" / "edr", (spectrum_column(), Z), values, 3)
    made(tmp_path / "none" / "dr1", (image_column(),), {"image": images([])}, 0)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["mmu", *map(str, words)])
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("MMU_DATA", "")  # so that what --data sets is undone
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    return int(end.value.code or 0), said.out, said.err


@pytest.mark.parametrize(
    ("words", "written"),
    [
        (("ls",), "ls-dr1.png"),
        (("desi", "--object", "obj-001"), "desi-edr-obj-001.png"),
        (("desi", "--object", "obj-001", "--object", "obj-002", "--out", "two.svg"), "two.svg"),
        (("ls", "--random", "2", "--out", "pictures"), "pictures/ls-dr1.png"),
        (("desi", "--release", "edr", "--count", "1"), "desi-edr.png"),
    ],
)
def test_show(
    folder: Path, words: tuple[str, ...], written: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert run(monkeypatch, capsys, "show", *words) == (0, f"wrote {written}\n", "")
    assert (folder / written).is_file()


def test_show_opens_what_it_wrote(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert run(monkeypatch, capsys, "show", "ls", "--count", 1, "--open")[0] == 0
    assert opened == [(folder / "ls-dr1.png").as_uri()]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show", "ls", "--object", "obj-01"), "no object 'obj-01'; the ids most like it: obj-001"),
        (("show", "ls", "--object", "obj-001", "--random", "2"), "take one of them"),
        (("show", "ls", "--out", "a.jpeg"), ".png, .pdf, .svg"),
        (("show", "nowhere"), "There is no dataset 'nowhere'"),
        (("sky", "ls", "--out", "a.gif"), ".png, .pdf, .svg"),
        (("sky", "none"), "nothing to show"),
        (("sky", "ls", "--order", "29"), "0 to 14"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_cannot_be_drawn_is_said_in_a_sentence(
    words: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, said = run(monkeypatch, capsys, *words)
    assert code == 2
    assert told in " ".join(said.split())
    assert "Traceback" not in said


@pytest.mark.usefixtures("folder")
def test_an_empty_dataset(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, capsys, "show", "none") == (0, "nothing to show: none has no objects\n", "")


def test_a_real_catalogue_of_others(
    real_data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its ids have a name of their own, and its columns say nothing of themselves."""
    catalogue = real_data / "hats" / "lsdb_small_sky_source"
    assert run(monkeypatch, capsys, "show", catalogue, "--out", "theirs.png") == (0, "wrote theirs.png\n", "")
    assert np.asarray(Image.open(folder / "theirs.png").convert("L")).std() > 10  # not blank
    code, _, said = run(monkeypatch, capsys, "show", catalogue, "--object", "nothing", "--out", "none.png")
    assert (code, "has no object 'nothing'; the ids most like it" in said) == (2, True)
    code, said, _ = run(monkeypatch, capsys, "sky", catalogue, "--out", "sky.png")
    assert (code, "17,161" in said) == (0, True)
    code, _, _ = run(monkeypatch, capsys, "report", catalogue, "--out", "report.html")
    text = (folder / "report.html").read_text()
    assert (code, "could not all be read" in text, "17,161" in text) == (0, False, True)


def test_show_a_match(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    api.crossmatch(folder / "ls", folder / "desi", out=folder / "out")
    code, said, _ = run(monkeypatch, capsys, "show", "out", "--out", "best.png")
    assert (code, said) == (0, "wrote best.png\n")
    code, said, _ = run(monkeypatch, capsys, "show", "out", "--random", 2, "--out", "some.png")
    assert (code, said) == (0, "wrote some-1.png\nwrote some-2.png\n")
    code, said, _ = run(monkeypatch, capsys, "show", "out", "--object", "obj-001")
    assert (code, said) == (0, "wrote out-obj-001.png\n")


def test_sky(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = run(monkeypatch, capsys, "sky", "ls", "desi", "none", "--data", folder, "--order", 10)
    assert code == 0
    lines = said.splitlines()
    assert lines[0].split() == ["dataset", "objects", "per", "sq", "deg", "sq", "deg", "with", "ls", "with", "desi",
                                "with", "none"]  # fmt: skip
    assert lines[1].split()[:2] == ["ls", "3"]
    assert lines[1].split()[3] == lines[1].split()[4]  # all of it is shared with the other
    assert lines[-1] == "wrote sky.png"
    assert (folder / "sky.png").is_file()
