"""`mmu info`: what a survey offers, or what a built dataset holds against what was expected."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from mmu.cli import completion

if TYPE_CHECKING:
    from mmu.dataset import Dataset


def info(
    what: Annotated[
        str,
        typer.Argument(
            metavar="SURVEY|PATH",
            help="A survey's name, or a dataset: its folder, ORG/NAME[:RELEASE] on the Hub, hf://, https://.",
            autocompletion=completion.surveys,
        ),
    ],
    columns: Annotated[bool, typer.Option("--columns", help="Every column: type, shape, unit, meaning.")] = False,
) -> None:
    """Describe a survey, or a dataset that was built.

    Of a survey: its releases, cuts and sizes. Of a dataset: what it holds,
    what was cut and why, and what share of the whole release it is.

    \b
    mmu info desi --columns
    mmu info data/desi
    """
    from mmu.survey import survey_names

    console = Console(highlight=False, soft_wrap=True)
    if what in survey_names() and not any(Path(what).glob("*/hats.properties")):
        _describe_survey(what, columns, console)
    else:
        _describe_dataset(what, columns, console)


def _describe_survey(name: str, columns: bool, console: Console) -> None:
    from mmu.build.progress import human_bytes
    from mmu.schema.document import column_table
    from mmu.survey import get_survey

    survey = get_survey(name)
    console.print(
        f"{survey.title} ({survey.homepage})\nlicence: {survey.licence}\narchive: {survey.root}", markup=False
    )
    for release in survey.releases:
        console.print(
            f"\n{release.name}: {release.title}\n  {release.objects:,} objects, {len(release.schema)} columns, "
            f"{human_bytes(release.object_bytes)} each; {human_bytes(release.raw_bytes)} raw; {release.coverage}",
            markup=False,
        )
        for line in release.selection:
            console.print(f"  - {line}", markup=False)
        if columns:
            console.print(column_table(release.schema), markup=False)


def _describe_dataset(what: str, columns: bool, console: Console) -> None:
    import mmu

    dataset = mmu.open(what)
    releases = [dataset] if _is_one(dataset, what) else [dataset.sibling(name) for name in dataset.releases]
    for release in releases:
        console.print(str(release), markup=False)
        if (build := release.account) is not None and "counts" in build:
            _describe_build(build, console)
    if columns:
        console.print(dataset.describe(), markup=False)


def _is_one(dataset: Dataset, what: str) -> bool:
    """True if one release was named, rather than the dataset with all its releases."""
    from mmu.remote.dataset import RemoteDataset

    if isinstance(dataset, RemoteDataset):
        return dataset.named
    path = Path(what)
    return dataset.path.resolve() == path.resolve() or (path / "collection.properties").is_file()


def _describe_build(build: dict[str, Any], console: Console) -> None:
    from mmu.build.progress import human_bytes

    counts = build["counts"]
    console.print(
        f"  read {counts['read']:,}, selected {counts['selected']:,}, written {counts['written']:,}, "
        f"{human_bytes(build['bytes'])}; source {build['spec']['source']}",
        markup=False,
    )
    console.print(_against_expected(build, counts["written"]), markup=False)
    for kind in ("cut", "excluded", "failed"):
        for reason, count in counts[kind].items():
            console.print(f"  {kind} {count:,}: {reason}", markup=False)


def _against_expected(build: dict[str, object], written: int) -> str:
    """How much of the whole release this is."""
    from mmu.errors import MmuError
    from mmu.survey import get_survey

    try:
        release = get_survey(str(build["survey"])).release(str(build["release"]))
    except MmuError:
        return "  (this installation does not know the survey, so there is no expectation)"
    share = written / release.objects if release.objects else 0.0
    return f"  {share:.3%} of the {release.objects:,} objects of the whole release"
