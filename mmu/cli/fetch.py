"""`mmu fetch`: plan and download, without building; for clusters whose nodes have no internet."""

from __future__ import annotations

from rich.console import Console

from mmu.cli import options as o


def fetch(
    survey: o.SurveyName,
    out: o.Out,
    release: o.ReleaseName = None,
    region: o.RegionText = "all",
    max_objects: o.MaxObjects = None,
    ids: o.Ids = None,
    source: o.SourceText = None,
    cache: o.Cache = None,
    workers: o.Workers = 2,
    yes: o.Yes = False,
) -> None:
    """Download what a build would need into the cache, and stop.

    For clusters whose nodes have no internet: give `mmu build` the same
    options afterwards (and --cache, if given here), where there is none.

    \b
    mmu fetch gaia --max-objects 10 --out data --cache raw
    mmu fetch desi --region box:150,152,1,3 --out data --cache raw --yes
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
