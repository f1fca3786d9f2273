"""The files beside a card that belong to it: pictures and croissant.json, recorded in the card itself.

The record is a comment near the card's end, under its seal: each file's checksum, and that of the list of shards
that a picture shows. A picture whose shards have changed since is not shown, and goes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmu.shards.parquet import checksum
from mmu.shards.seal import CARD, unbroken

if TYPE_CHECKING:
    from mmu.remote.tree import Tree

FOLDER, KINDS = "pictures", ("coverage", "samples")
_OPENING = "\n<!-- files that belong to this card, their xxh3, and that of the shards shown:\n"
_CLOSING = "\n-->\n"
_RECORD = re.compile(f"{_OPENING}(.*?){_CLOSING}", re.DOTALL)


@dataclass(frozen=True)
class Piece:
    """A file beside a card: its checksum, and of what rows it is (empty if not of those of one release)."""

    xxh3: str
    rows: str = ""


Pieces = Mapping[str, Piece]
"""Path relative to the card -> what is recorded of the file."""


def record(pieces: Pieces) -> str:
    """The comment that a card ends with; empty for no files."""
    if not pieces:
        return ""
    lines = ",\n".join(f" {json.dumps(path)}: {json.dumps(astuple(pieces[path]))}" for path in sorted(pieces))
    return f"{_OPENING}{{\n{lines}\n}}{_CLOSING}"


def recorded(card: Path) -> dict[str, Piece]:
    """What a card records; nothing if there is no card, or it was changed."""
    if not (card.is_file() and unbroken(card, CARD)):
        return {}
    found = _RECORD.findall(card.read_text(encoding="utf-8"))
    return {path: Piece(*values) for path, values in json.loads(found[-1]).items()} if found else {}


def altered(tree: Tree) -> list[str]:
    """A sentence for each file that is missing beside a folder's README.md, or not as the card records it."""
    problems = []
    for path, piece in recorded(tree.local("README.md")).items():
        if tree.size(path) is None:
            problems.append(f"{tree.shown(path)} is missing.")
        elif tree.digest(path) != piece.xxh3:
            problems.append(f"{tree.shown(path)} was changed since it was written.")
    return problems


def picture_path(kind: str, release: str) -> str:
    """Where a picture of a release is, relative to the card."""
    return f"{FOLDER}/{kind}-{release}.png"


def pictures(root: Path, rows: Mapping[str, str], drawn: Pieces) -> dict[str, Piece]:
    """The pictures to show: those just drawn, and those shown before, if they are there and still of these rows.

    Args:
        rows: release -> checksum of its list of shards.
    """
    known = {**recorded(root / "README.md"), **drawn}
    wanted = {picture_path(kind, name): digest for name, digest in rows.items() for kind in KINDS}
    return {
        path: piece
        for path, piece in known.items()
        if wanted.get(path) == piece.rows and (root / path).is_file() and checksum(root / path) == piece.xxh3
    }


def drop_stale(root: Path, pieces: Pieces) -> None:
    """Remove pictures of ours that the card does not show."""
    for kind in KINDS:
        for path in (root / FOLDER).glob(f"{kind}-*.png"):
            if path.relative_to(root).as_posix() not in pieces:
                path.unlink()
