"""The wheel holds exactly our four packages, with the texts that stand beside each survey."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_wheel(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"mmu", "surveys", "crossmatch", "training"}
    for folder in (ROOT / "surveys").iterdir():
        if (folder / "__init__.py").exists():
            assert {f"surveys/{folder.name}/card.md", f"surveys/{folder.name}/cite.bib"} <= set(names)
