"""`mmu cite`: what to cite and whom to thank for the data that was used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def cite(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SURVEY|PATH",
            help="Surveys (desi, or one release, desi:edr_sv3), folders of built datasets or of matches.",
        ),
    ] = None,
    pair: Annotated[
        list[Path] | None, typer.Option("--pair", metavar="DIR", help="A match: all its datasets. May be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write the BibTeX to this file.")
    ] = None,
    text: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write acknowledgements and licences to this file.")
    ] = None,
) -> None:
    """Print the papers to cite, and acknowledgements to paste.

    BibTeX, this software's among them; for a dataset only the papers of its
    own releases. What its licence asks for is told; licences that do not go
    together, or are not known, are warned of on standard error.

    \b
    mmu cite legacysurvey desi -o refs.bib
    mmu cite data/desi --pair data/ls_x_desi -o refs.bib --text thanks.txt
    """
    import mmu
    from mmu.shards.parquet import write_text

    found = mmu.cite(*(names or ()), pairs=pair or ())
    for path, words in ((out, found.bibtex), (text, found.text)):
        if path is None:
            typer.echo(words)
        else:
            write_text(path, words)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for words in found.warnings:
        console.print(f"warning: {words}", style="yellow", markup=False)
