"""`mmu fetch`: plan and download, without building; for clusters whose nodes have no internet."""

from __future__ import annotations

from rich.console import Console

from mmu.cli import options as o


def fetch(
    survey: o.SurveyName,
    out: o.Out,
    release: o.ReleaseName = None,
    source: o.SourceText = None,
    region: o.RegionText = "all",
    max_objects: o.MaxObjects = None,
    ids: o.Ids = None,
    cache: o.Cache = None,
    workers: o.Workers = 2,
    yes: o.Yes = False,
) -> None:
    """Download the raw files a build would need into the cache, and stop.

    Give `mmu build` the same options (and --cache, if given here) afterwards, where there is no internet.
    """
    from mmu.build.fetch import fetch_raw
    from mmu.build.progress import Progress, human_bytes
    from mmu.survey import get_survey

    console = Console(highlight=False, soft_wrap=True)
    for name in get_survey(survey).to_build(release):
        spec = o.spec_from(
            survey,
            out,
            release_name=name,
            source=source,
            regions=(region,),
            ids=o.read_ids(ids),
            max_objects=max_objects,
            cache=cache,
            workers=workers,
        )
        got = fetch_raw(spec, Progress(), confirm=lambda _: yes)
        size = human_bytes(got.bytes)
        console.print(f"{spec.raw}: {got.files:,} files, {size}; {got.reused:,} were there already.", markup=False)
        for path in got.absent:
            console.print(f"  absent upstream: {path}", markup=False)
