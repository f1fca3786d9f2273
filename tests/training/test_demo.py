"""The demo's training: every command runs and leaves what a report shows; what fails is said, and stops the rest."""

from __future__ import annotations

import importlib
import io
import json
import re
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

import mmu
from mmu.cli import app
from mmu.report import write_report
from tests.training import skies
from training import demo


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


class Here:
    """A command that runs in this process, which has PyTorch already."""

    def __init__(self, words: Any, stdout: Any, **more: Any) -> None:
        name, *rest = words[2:]
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(said):
            if name == "mmu":
                self.returncode = CliRunner().invoke(app, rest).exit_code
            else:
                main: Any = importlib.import_module(name).main
                self.returncode = main(rest)
        stdout.write(said.getvalue().encode())

    def poll(self) -> int:
        return self.returncode


def test_everything_that_a_report_shows_is_there(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    skies.legacysurvey(tmp_path / "legacysurvey", 60)
    skies.desi(tmp_path / "desi", 60)
    mmu.crossmatch(tmp_path / "legacysurvey", tmp_path / "desi", out=tmp_path / "pairs")
    monkeypatch.setattr(demo, "SKY", ("--splits", "train=0.5,test=0.5"))
    monkeypatch.setattr(demo, "SEEN", ("--split", "train", *demo.SKY))
    monkeypatch.setattr(demo, "QUESTIONS", demo.QUESTIONS[:2])
    monkeypatch.setattr(subprocess, "Popen", Here)
    monkeypatch.setattr(demo, "GLANCE_S", 0.0)
    assert demo.train(tmp_path, tmp_path / "pairs", console, steps=2) == []
    words = said(console)
    assert words.count("python -m training.train_codec") == 3
    assert "mmu tokenize" in words
    assert "tok_redshift given tok_image12_legacysurvey: " in words
    held = json.loads((tmp_path / "model" / "heldout.json").read_text())
    assert [(one["target"], one["given"]) for one in held] == [
        ("tok_redshift", ["tok_image12_legacysurvey"]),
        ("tok_spectrum_desi", ["tok_image12_legacysurvey"]),
    ]
    pictures = {path.stem for path in (tmp_path / "model").glob("*.png")}
    assert {"image_universal-legacysurvey", "spectrum-desi", "tok_redshift-from-tok_image12_legacysurvey"} <= pictures
    page = write_report([tmp_path / "model"], tmp_path / "report.html").read_text()
    assert "Held-out predictions of model" in page
    assert page.count("<img") == len(pictures)


def test_what_fails_is_said_and_the_rest_is_not_begun(tmp_path: Path, console: Console) -> None:
    (problem,) = demo.train(tmp_path, tmp_path / "pairs", console)
    assert re.search("no dataset .*(legacysurvey|desi)", problem)
    assert ".log has all" in problem
    assert "pretrain" not in said(console)
    assert not (tmp_path / "tokens").exists()


def test_chains_run_beside_each_other_and_each_in_its_order(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    class Process:
        def __init__(self, words: Any, **more: Any) -> None:
            begun.append(words[-1])
            self.left, self.returncode = 3 if words[-1] == "slow" else 1, 0

        def poll(self) -> int | None:
            self.left -= 1
            return None if self.left > 0 else self.returncode

    monkeypatch.setattr(demo, "GLANCE_S", 0.0)
    monkeypatch.setattr(subprocess, "Popen", Process)
    demo._together([[("mmu", "slow"), ("mmu", "last")], [("mmu", "quick"), ("mmu", "next")]], tmp_path, console)
    assert begun == ["slow", "quick", "next", "last"]
