"""The arrows between the rooms: `mmu` imports none of ours, surveys only `mmu`, and never one another."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {
    "mmu": {"mmu"},
    "surveys": {"mmu"},
    "crossmatch": {"mmu", "crossmatch"},
    "training": {"mmu", "crossmatch", "training"},
}


def imports(path: Path) -> set[str]:
    """Dotted names a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_point_the_right_way(room: str) -> None:
    wrong = []
    for path in (ROOT / room).rglob("*.py"):
        own = ".".join(path.relative_to(ROOT).parts[:2]) if room == "surveys" else room
        for name in imports(path):
            if name.split(".")[0] in ALLOWED and not (name.split(".")[0] in ALLOWED[room] or name.startswith(own)):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_import_mmu_is_light() -> None:
    code = (
        "import sys, mmu; print([m for m in ('torch', 'astropy', 'pyarrow', 'dask', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_every_survey_folder_has_the_same_files() -> None:
    for folder in (ROOT / "surveys").iterdir():
        if folder.is_dir() and not folder.name.startswith("__"):
            missing = {"__init__.py", "archive.py", "read.py", "simulate.py", "card.md", "cite.bib"} - {
                p.name for p in folder.iterdir()
            }
            assert not missing, f"{folder.name} lacks {missing}"
