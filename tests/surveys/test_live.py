"""The real archives, when asked for: `pytest -m live tests/surveys/test_live.py` (needs the internet)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmu.build.run import dry_run
from mmu.build.spec import BuildSpec

# A place each release has data for, as small as one unit.
PLACES = [
    ("legacysurvey", "dr10_south_21", "cone:150.1,2.2,0.02"),
    ("legacysurvey", "dr9_north_21", "cone:180.0,50.0,0.02"),
    ("desi", "dr1_main", "cone:150.1,2.2,0.05"),
    ("desi", "edr_sv3", "cone:150.1,2.2,0.05"),
]


@pytest.mark.live
@pytest.mark.parametrize(("survey", "release", "region"), PLACES)
def test_the_public_archive_answers_as_declared(survey: str, release: str, region: str, tmp_path: Path) -> None:
    cost = dry_run(BuildSpec(survey, tmp_path, release, regions=(region,), workers=0))
    assert cost.objects > 0


@pytest.mark.live
def test_gaia_lists_its_files(tmp_path: Path) -> None:
    """Its catalogue files are gigabytes; the list that the plan starts from is enough."""
    from mmu.archive.fetch import Fetcher
    from mmu.archive.source import open_source
    from mmu.survey import get_survey

    survey = get_survey("gaia")
    with Fetcher(open_source(None, survey, survey.default_release), tmp_path, survey.policy) as fetcher:
        for file in survey.archive.bootstrap(survey.default_release):
            assert len(fetcher.get(file).local.read_text().splitlines()) >= 3386
