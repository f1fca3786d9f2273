"""`mmu card`: the card of a dataset, with pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def card(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A built dataset (OUT/SURVEY), or a match.")],
) -> None:
    """Write a dataset's card anew, with pictures, and croissant.json.

    The pictures are of its sky and of some of its objects; those that still
    show the data are kept. They need matplotlib
    (pip install 'multimodal-universe[plot]'); without it the card has none.

    \b
    mmu card data/desi
    """
    from mmu.shards.dress import dress

    dress(path)
    typer.echo(path / "README.md")
    for picture in sorted((path / "pictures").glob("*.png")):
        typer.echo(picture)
