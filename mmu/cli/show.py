"""`mmu show`: pictures of a dataset's objects, or of one object across matched datasets."""

from __future__ import annotations

import os
import re
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from mmu.cli import options as o
from mmu.errors import UsageError

if TYPE_CHECKING:
    from mmu.look.match import Match


def show(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH", help="A dataset: its folder, or NAME[:RELEASE] under --data; or the OUT of a match."
        ),
    ],
    objects: Annotated[
        list[str] | None, typer.Option("--object", metavar="ID", help="This object; may be repeated.")
    ] = None,
    random: Annotated[int | None, typer.Option(metavar="N", min=1, help="So many objects at random.")] = None,
    count: Annotated[int, typer.Option(metavar="N", min=1, help="Else so many, the first on the sky.")] = 12,
    release: o.ReleaseName = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE|DIR", help="FILE.png, .pdf or .svg, or a folder; this one if left out."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of --random: another seed, other objects.")] = 0,
    open_: Annotated[bool, typer.Option("--open", help="Open the pictures when they are written.")] = False,
    data: o.Data = None,
) -> None:
    """Draw objects of a dataset or of a match.

    Of a dataset a sheet of several, or a page of one; of a match an object in
    all its datasets: the one that most have, unless --object or --random say
    which; one picture each.

    \b
    mmu show data/legacysurvey
    mmu show data/desi --object 39627787841044711 --out spectrum.pdf
    mmu show data/ls_x_desi --random 3 --out pictures
    """
    from mmu.look.match import open_match

    if objects and random:
        raise UsageError("--object and --random are both given; take one of them.")
    if data is not None:
        os.environ["MMU_DATA"] = str(data.absolute())
    match = open_match(Path(path)) if Path(path).is_dir() and release is None else None
    console, written = Console(highlight=False, soft_wrap=True), 0
    pictures = _of_match(match, path, objects, random, seed, out) if match else None
    for picture in pictures or _of_dataset(path, release, objects, random, count, seed, out):
        console.print(f"wrote {picture}", markup=False)
        written += 1
        if open_:
            webbrowser.open(picture.absolute().as_uri())
    if not written:
        console.print(f"nothing to show: {path} has no objects", markup=False)


def _of_dataset(
    path: str,
    release: str | None,
    objects: list[str] | None,
    random: int | None,
    count: int,
    seed: int,
    out: Path | None,
) -> Iterator[Path]:
    import mmu
    from mmu.look import draw
    from mmu.look.choose import random_ids
    from mmu.look.subject import name_of

    dataset = mmu.open(path, release)
    ids = random_ids(dataset, random, seed) if random else list(dict.fromkeys(objects or ())) or None
    name = f"{name_of(dataset)}-{dataset.release}" + (f"-{ids[0]}" if ids and len(ids) == 1 else "")
    drawn = draw(dataset, _file(out, name), count, ids)
    if drawn is not None:
        yield drawn


def _of_match(
    match: Match, path: str, objects: list[str] | None, random: int | None, seed: int, out: Path | None
) -> Iterator[Path]:
    from mmu.look import draw_subjects

    if not len(match.objects):
        return
    if objects:
        chosen = [match.row_of(one) for one in dict.fromkeys(objects)]
    else:
        chosen = match.random(random, seed) if random else [match.best()]
    for number, row in enumerate(chosen):
        subjects = match.subjects(row)
        name = f"{Path(path).absolute().name}-{match.objects['object_id'][row].as_py()}"
        target = _file(out, name)
        if len(chosen) > 1 and target == out:
            target = out.with_stem(f"{out.stem}-{number + 1}")
        yield draw_subjects(subjects, target)


def _file(out: Path | None, name: str) -> Path:
    """FILE as given, or a file in the folder given, whose name is safe whatever an id holds."""
    safe = re.sub(r"[^\w.+-]+", "_", name)
    if out is None:
        return Path(f"{safe}.png")
    return out / f"{safe}.png" if out.is_dir() or not out.suffix else out
