"""`mmu list`: which surveys there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from mmu.survey import Release, Survey


def surveys() -> None:
    """List surveys and releases: what, how much, where, licence.

    Sizes are those of a whole release; `built` is before compression.
    A star marks what a build makes when no release is named.

    \b
    mmu list
    """
    from mmu.survey import get_survey, survey_names

    console = Console(highlight=False)
    for name in survey_names():
        survey = get_survey(name)
        console.print(f"{survey.name}: {survey.title}", style="bold", markup=False)
        console.print(f"  licence: {survey.licence}", markup=False)
        console.print(_table(survey))


def _table(survey: Survey) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=True, header_style="dim")
    table.add_column("", width=1)
    for heading, side in (("release", "left"), ("modalities", "left"), ("objects", "right"), ("raw", "right")):
        table.add_column(heading, justify=side, no_wrap=heading != "modalities")  # type: ignore[arg-type]
    table.add_column("built", justify="right", no_wrap=True)
    table.add_column("coverage", ratio=1)
    for release in survey.releases:
        mark = "*" if release.name in survey.to_build(None) else ""
        table.add_row(mark, *_cells(release))
    return table


def _cells(release: Release) -> tuple[str, ...]:
    from mmu.build.progress import human_bytes

    kinds = [kind for kind in release.schema.modalities if kind not in ("list", "picture", "map")]
    raw, built = human_bytes(release.raw_bytes), human_bytes(release.objects * release.object_bytes)
    return release.name, ", ".join(kinds) or "catalogue", f"{release.objects:,}", raw, built, release.coverage
