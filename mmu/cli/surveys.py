"""`mmu list`: which surveys there are."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def surveys() -> None:
    """List the surveys and their releases: modalities, objects, size, coverage, licence."""
    from mmu.build.progress import human_bytes
    from mmu.survey import get_survey, survey_names

    table = Table(box=None, pad_edge=False)
    for heading in ("survey", "release", "modalities", "objects", "raw", "built", "coverage", "licence"):
        table.add_column(
            heading, justify="right" if heading in ("objects", "raw", "built") else "left", no_wrap=heading == "release"
        )
    for name in survey_names():
        survey = get_survey(name)
        for release in survey.releases:
            built = release.objects * release.bytes_per_row
            kinds = [m for m in release.schema.modalities if m not in ("list", "picture")]
            table.add_row(
                survey.name,
                release.name,
                ", ".join([*kinds, "catalogue"]),
                f"{release.objects:,}",
                human_bytes(release.raw_bytes),
                human_bytes(built),
                release.coverage,
                survey.licence_id,
            )
    Console(highlight=False).print(table)
