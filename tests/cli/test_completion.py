"""Completion as bash asks for it: verbs, surveys, releases, datasets; and quickly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmu.cli import app
from mmu.survey import get_survey, survey_names

HEAVY = ("pyarrow", "astropy", "datasets", "dask", "pandas", "scipy", "healpy", "requests", "torch")
MOST_MODULES = 550
"""There were 437 on Python 3.11."""


def completed(*words: str, **environment: str) -> list[str]:
    """What bash is offered for the last of these words."""
    asked = {"_MMU_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    return CliRunner().invoke(app, [], prog_name="mmu", env={**asked, **environment}).output.split()


@pytest.fixture
def data(tmp_path: Path) -> str:
    """A folder of datasets, as far as completion looks."""
    for name, releases in {"desi": ["dr1_main", "edr_sv3"], "gaia": ["gaia_dr3"], "notes": []}.items():
        (tmp_path / name).mkdir()
        for folder in [*releases, *(f"{release}_margin" for release in releases)]:
            (tmp_path / name / folder).mkdir()
            (tmp_path / name / folder / "hats.properties").touch()
    return str(tmp_path)


def test_verbs() -> None:
    assert set(completed("mmu", "s")) >= {"status", "stream", "simulate"}


@pytest.mark.parametrize("verb", ["build", "fetch", "info", "simulate", "demo"])
def test_surveys(verb: str) -> None:
    assert completed("mmu", verb, "desi") == ["desi", "desi_provabgs"]
    assert set(completed("mmu", verb, "")) == set(survey_names())


def test_releases_are_those_of_the_survey() -> None:
    assert completed("mmu", "build", "desi", "--release", "dr") == ["dr1_main"]
    assert completed("mmu", "build", "sdss", "--release", "") == [one.name for one in get_survey("sdss").releases]


def test_words_of_options() -> None:
    assert completed("mmu", "build", "desi", "--source", "s") == ["simulated"]
    assert completed("mmu", "crossmatch", "a", "b", "--how", "") == ["inner", "left", "outer"]


@pytest.mark.parametrize("verb", ["crossmatch", "stream"])
def test_datasets(verb: str, data: str) -> None:
    assert completed("mmu", verb, "", MMU_DATA=data) == ["desi", "desi:dr1_main", "desi:edr_sv3", "gaia"]
    assert completed("mmu", verb, "--data", data, "gaia", "de") == ["desi", "desi:dr1_main", "desi:edr_sv3"]
    assert completed("mmu", verb, "desi:e", MMU_DATA=data) == ["desi:edr_sv3"]
    assert completed("mmu", verb, "", MMU_DATA="") == []


def test_bash_breaks_words_at_colons(data: str) -> None:
    assert completed("mmu", "stream", "desi", ":", MMU_DATA=data) == [":dr1_main", ":edr_sv3"]
    assert completed("mmu", "stream", "desi", ":", "e", MMU_DATA=data) == ["edr_sv3"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_shown(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: shell)
    shown = CliRunner().invoke(app, ["--show-completion"], prog_name="mmu").output
    assert "_MMU_COMPLETE" in shown
    assert f"complete_{shell}" in shown


def test_it_can_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typer._completion_shared._get_shell_name", lambda: "bash")
    done = CliRunner().invoke(app, ["--install-completion"], prog_name="mmu", env={"HOME": str(tmp_path)})
    assert done.exit_code == 0, done.output
    assert "mmu.sh" in (tmp_path / ".bashrc").read_text()
    assert "_MMU_COMPLETE=complete_bash" in (tmp_path / ".bash_completions/mmu.sh").read_text()


@pytest.mark.parametrize("words", [("build", ""), ("build", "desi", "--release", ""), ("stream", "")])
def test_it_imports_little_and_nothing_heavy(words: tuple[str, ...], data: str) -> None:
    """Imports are what the time goes to, which is another on each machine."""
    code = (
        "import atexit, json, sys\n"
        f"atexit.register(lambda: print(json.dumps([len(sys.modules), [m for m in {HEAVY} if m in sys.modules]])))\n"
        "sys.argv = ['mmu']\nfrom mmu.cli import main\nmain()"
    )
    asked = {"_MMU_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(("mmu", *words)), "COMP_CWORD": str(len(words))}
    environment = {**os.environ, **asked, "MMU_DATA": data}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    *offered, told = done.stdout.splitlines()
    modules, heavy = json.loads(told)
    assert offered, done.stderr
    assert heavy == []
    assert modules < MOST_MODULES
