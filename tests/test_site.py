"""The site's hooks: links that work on the code host work on the site, and its reference misses no public name."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType, SimpleNamespace

import pytest

import crossmatch
import mmu
from mmu.cli import app
from tests.documents import ROOT


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    pytest.importorskip("mkdocs", reason="the docs extra is not installed")
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs/hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("page", "written", "on_the_site"),
    [
        ("index.md", "docs/reliability.md", "reliability.md"),
        ("index.md", "build_scripts/README.md", "job-scripts.md"),
        ("index.md", "docs/demo.jpg", "demo.jpg"),
        ("index.md", "CITATION.cff", "CITATION.cff"),
        ("index.md", "https://hats.readthedocs.io", "https://hats.readthedocs.io"),
        ("tutorials/add-a-survey.md", "../../CONTRIBUTING.md", "../contributing.md"),
        ("tutorials/add-a-survey.md", "../reference/survey.md", "../reference/survey.md"),
        ("reliability.md", "#kills", "#kills"),
    ],
)
def test_links(hooks: ModuleType, page: str, written: str, on_the_site: str) -> None:
    moved = hooks.on_page_markdown(f"[text]({written})", SimpleNamespace(file=SimpleNamespace(src_uri=page)))
    assert moved == f"[text]({on_the_site})"


def test_the_command_line_has_every_verb_and_option(hooks: ModuleType) -> None:
    page = hooks.command_line()
    for command in app.registered_commands:
        assert f"\n## mmu {command.name}\n" in page
    for words in ("--partition-bytes SIZE", "mmu crossmatch data/legacysurvey data/desi", "--install-completion"):
        assert words in page
    assert "\b" not in page


def test_the_reference_has_every_public_name() -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs/reference").glob("*.md"))
    told = {name.rpartition(".")[2] for name in re.findall(r"^::: (\S+)", pages, re.MULTILINE)}
    told |= set(re.findall(r"heading: (\w+)", pages))
    from mmu import errors

    assert {*mmu.__all__, *crossmatch.__all__} - told - set(dir(errors)) == set()
