"""The README, executed: every `mmu` command and every Python block, in order, in one folder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mmu.survey import get_survey, survey_names

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines() if line.startswith("mmu ")]
PROGRAMS = [text for kind, text in BLOCKS if kind == "python"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


def run(words: list[str], folder: Path) -> None:
    environment = {**os.environ, "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("line", COMMANDS)
def test_command(line: str, folder: Path) -> None:
    """As printed; where it would go to a public archive, the simulated one answers."""
    words = shlex.split(line, comments=True)[1:]
    if words[0] in ("build", "fetch") and "--source" not in words:
        words += ["--source", "simulated"]
    run([sys.executable, "-m", "mmu", *words], folder)


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_program(program: str, folder: Path) -> None:
    run([sys.executable, "-c", program], folder)


@pytest.mark.slow
def test_the_demo_runs(folder: Path) -> None:
    """Some of its surveys; the others are built by their contracts."""
    some = ["desi", "gaia", "gz10", "sdss"]
    run([sys.executable, "-m", "mmu", "demo", *some, "--out", "demo-output"], folder)
    assert sorted(path.stem for path in (folder / "demo-output/pictures").glob("*.png")) == some


def test_every_release_is_in_the_table() -> None:
    for survey in map(get_survey, survey_names()):
        for release in survey.releases if survey.module.startswith("surveys.") else ():
            assert f"`{release.name}`" in README


def test_files_it_links_to_exist() -> None:
    root = Path(__file__).resolve().parents[1]
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (root / target).exists(), target
