"""The tutorials, executed: every file, command and program, in order, each tutorial in a folder of its own."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from tests.documents import ROOT, Block, Workshop, alike, blocks, hold

TUTORIALS = sorted((ROOT / "docs/tutorials").glob("*.md"))
PORT = "8765"  # as the tutorial on clusters has it


@pytest.mark.slow
@pytest.mark.parametrize("document", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial(document: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    workshop = Workshop(tmp_path)
    try:
        for block in blocks(document):
            workshop.do(Block(block.kind, block.title, block.text.replace(PORT, port), block.printed))
    finally:
        workshop.end()


@pytest.mark.parametrize("document", TUTORIALS, ids=lambda path: path.stem)
def test_it_shows_what_commands_print(document: Path) -> None:
    assert sum(bool(block.printed) for block in blocks(document)) >= 2


def test_links_between_files_hold() -> None:
    for document in (ROOT / "docs").rglob("*.md"):
        for target in re.findall(r"\]\((?!https?:|#)([^)\s#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_what_is_shown_is_held_to() -> None:
    hold("a: 1,068 objects, 56.2 MB, 3 s\n...\n", "first\na:  1,068 objects, 7 kB, 12 min\n")
    assert alike("accuracy 0.91", "accuracy 0.93")
    assert not alike("accuracy 0.91", "accuracy 0.61")
    assert not alike("1,068 objects", "1,067 objects")
    with pytest.raises(AssertionError):
        hold("verified", "broken")
