"""`mmu convert`: a dataset of ours from a Multimodal Universe v1 tree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mmu.cli import options as o


def convert(
    tree: Annotated[Path, typer.Argument(metavar="V1_TREE", help="ROOT, or ROOT/RELEASE, with folders healpix=P.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the new dataset: OUT/RELEASE.")],
    release: Annotated[str | None, typer.Option(metavar="NAME", help="Which, where ROOT holds several.")] = None,
    partition_bytes: Annotated[str, typer.Option(metavar="SIZE", help="Largest shard, uncompressed.")] = "1GiB",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the result.")] = False,
) -> None:
    """Write files of Multimodal Universe v1 as a dataset in shards.

    They are HDF5 files, in folders healpix=P; the dataset is like any other:
    it can be loaded, matched, and streamed.

    \b
    mmu convert v1/sdss/boss --out data/sdss_v1
    """
    from mmu.build.progress import Progress
    from mmu.v1 import open_v1
    from mmu.v1.convert import convert as write

    made = write(open_v1(tree, release), out.expanduser().absolute(), o.parse_bytes(partition_bytes), Progress(quiet))
    Console(highlight=False, soft_wrap=True).print(f"{made.path}: {made}", markup=False)
