"""The README, executed: every command of ours and every Python block, in order, in one folder."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest

from mmu.survey import get_survey, survey_names
from tests.archive.server import serving
from tests.documents import ROOT, Block, Workshop, blocks
from tests.remote.hub import TOKEN, HubHandler

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = blocks(ROOT / "README.md")
BEGINNINGS = ("mmu ", "python -m training.")
COMMANDS = [line for one in BLOCKS if one.kind == "sh" for line in one.text.splitlines() if line.startswith(BEGINNINGS)]
PROGRAMS = [one for one in BLOCKS if one.kind == "python"]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with serving(tmp_path_factory.mktemp("hub"), HubHandler) as hub:
        variables = {
            "HF_ENDPOINT": hub.url.rstrip("/"),
            "HF_TOKEN": TOKEN,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
        }
        made = Workshop(tmp_path_factory.mktemp("readme"), variables)
        yield made
        made.end()


@pytest.mark.slow
@pytest.mark.parametrize("line", COMMANDS)
def test_command(line: str, workshop: Workshop) -> None:
    """As printed; where it would go to a public archive, the simulated one answers.

    Builds run in one process: starting workers takes longer than these few objects, and the tutorials do it too.
    """
    words = shlex.split(line, comments=True)
    if words[1] in ("build", "fetch") and "--source" not in words:
        words += ["--source", "simulated"]
    if words[1] == "build" and not {"-j", "--workers"} & set(words):
        words += ["-j", "0"]
    workshop.run(words)


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_program(program: Block, workshop: Workshop) -> None:
    workshop.do(program)


@pytest.mark.slow
def test_the_demo_runs(workshop: Workshop) -> None:
    """Some of its surveys, in one process; the others are built by their contracts."""
    some = ["desi", "gaia", "gz10", "sdss"]
    workshop.run(["mmu", "demo", *some, "--out", "demo-output", "--workers", "0"])
    assert sorted(path.stem for path in (workshop.folder / "demo-output/pictures").glob("*.png")) == sorted(
        [*some, "match-object", "sky"]
    )


def test_every_release_is_in_the_table() -> None:
    for survey in map(get_survey, survey_names()):
        for release in survey.releases if survey.module.startswith("surveys.") else ():
            assert f"`{release.name}`" in README


def test_files_it_links_to_exist() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
