"""`mmu sky`: where datasets are on the sky, and what they share of it."""

from __future__ import annotations

import os
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from mmu.cli import options as o

if TYPE_CHECKING:
    from mmu.dataset import Dataset
    from mmu.look.sky import Coverage


def sky(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Datasets: folders, or NAME[:RELEASE] under --data.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="FILE.png, .pdf or .svg.")] = Path("sky.png"),
    order: Annotated[
        int | None,
        typer.Option(metavar="N", help="HEALPix order of the map, 0 to 14; one that suits the datasets if left out."),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the picture when it is written.")] = False,
    data: o.Data = None,
) -> None:
    """Draw where datasets lie on the sky, and their overlap.

    Density maps, with the number of objects and of square degrees. Areas are
    those of the map's cells that hold an object: a sparse catalogue covers
    more at a smaller order.

    \b
    mmu sky data/desi
    mmu sky data/legacysurvey data/desi data/gaia --out overlap.pdf
    """
    import mmu
    from mmu.look.sky import coverage_of, draw_coverage
    from mmu.look.style import picture_kind

    if data is not None:
        os.environ["MMU_DATA"] = str(data.absolute())
    picture_kind(out)
    datasets = _named([mmu.open(path) for path in paths])
    console = Console(highlight=False, soft_wrap=True)
    coverage = coverage_of(datasets, order)
    console.print(_table(coverage))
    if len(datasets) > 1:
        console.print(f"all {len(datasets)} together: {coverage.shared(*datasets):,.4g} sq deg")
    console.print(f"wrote {draw_coverage(coverage, out)}", markup=False)
    if open_:
        webbrowser.open(out.absolute().as_uri())


def _named(datasets: list[Dataset]) -> dict[str, Dataset]:
    """By survey; by survey and release where two are of one."""
    from mmu.look.subject import name_of

    surveys = [name_of(dataset) for dataset in datasets]
    return {
        name if surveys.count(name) == 1 else f"{name}:{dataset.release}": dataset
        for name, dataset in zip(surveys, datasets, strict=True)
    }


def _table(coverage: Coverage) -> Table:
    from mmu.look.sky import area_text, cell_area

    table = Table(box=None, padding=(0, 2, 0, 0))
    names = list(coverage.densities)
    shared = [f"with {name}" for name in names] if len(names) > 1 else []
    for heading in ("dataset", "objects", "per sq deg", "sq deg", *shared):
        table.add_column(heading, justify="left" if heading == "dataset" else "right")
    for name, one in coverage.densities.items():
        density = f"{one.objects / one.area:,.4g}" if one.objects else ""
        areas = ["" if other == name else f"{coverage.shared(name, other):,.4g}" for other in names if shared]
        table.add_row(name, f"{one.objects:,}", density, f"{one.area:,.4g}", *areas)
    table.caption = f"cells of HEALPix order {coverage.order}, {area_text(cell_area(coverage.order))} each"
    return table
