"""`mmu list`: which surveys there are."""

from __future__ import annotations

from rich.console import Console

from mmu.survey import Release


def surveys() -> None:
    """List the surveys and their releases: modalities, objects, size, coverage, licence."""
    from mmu.survey import get_survey, survey_names

    console = Console(highlight=False)
    for name in survey_names():
        survey = get_survey(name)
        console.print(f"{survey.name}: {survey.title} ({survey.licence_id})", style="bold", markup=False)
        for release in survey.releases:
            mark = " (default)" if release is survey.default_release and len(survey.releases) > 1 else ""
            console.print(f"  {release.name}{mark}: {_size(release)}; {release.coverage}", markup=False)


def _size(release: Release) -> str:
    from mmu.build.progress import human_bytes

    kinds = [kind for kind in release.schema.modalities if kind not in ("list", "picture")]
    raw, built = human_bytes(release.raw_bytes), human_bytes(release.objects * release.bytes_per_row)
    return f"{', '.join(kinds) or 'catalogue'}; {release.objects:,} objects; {raw} raw, {built} built"
