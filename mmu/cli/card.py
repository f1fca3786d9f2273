"""`mmu card`: the card of a dataset, with pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def card(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A built dataset (OUT/SURVEY), or a match.")],
) -> None:
    """Draw a dataset's sky and some of its objects, and write its card and croissant.json anew.

    Pictures need matplotlib (pip install 'multimodal-universe[plot]'); without it the card has none.
    Those that still show the data are kept.
    """
    from mmu.shards.dress import dress

    dress(path)
    typer.echo(path / "README.md")
    for picture in sorted((path / "pictures").glob("*.png")):
        typer.echo(picture)
