"""One sky for all: what a survey lists is in the truth, and a galaxy is in each survey that should see it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.spatial import cKDTree

from mmu.archive.fetch import Fetcher
from mmu.archive.source import open_source
from mmu.build.executor import Inline
from mmu.build.planner import make_plan
from mmu.build.progress import Progress
from mmu.build.spec import BuildSpec
from mmu.simulate import Sky
from mmu.sky.healpix import unit_vectors
from mmu.survey import get_survey, survey_names
from tests.simulate.agreement import common_objects

REGION = "cone:185.68,0.06,0.1"
NEAR = 0.5 / 206265  # half an arcsecond, as a chord
OURS = [name for name in survey_names() if get_survey(name).module.startswith("surveys.")]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pa.Table]:
    """What each survey's default release selects in one region."""
    found = {}
    for name in OURS:
        spec = BuildSpec(name, tmp_path_factory.mktemp(name), source="simulated", regions=(REGION,), workers=0)
        source = open_source(spec.source, spec.survey, spec.release)
        with Fetcher(source, Path(spec.raw), spec.survey.policy) as fetcher:
            plan = make_plan(spec, fetcher, Inline(), Progress(quiet=True))
        found[name] = plan.objects.select(["object_id", "ra", "dec"])
    return found


@pytest.fixture(scope="module")
def truth() -> pa.Table:
    return Sky().truth_table()


def rows_in(table: pa.Table, ra: pa.ChunkedArray, dec: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Row of the nearest object within half an arcsecond, len(table) where there is none."""
    tree = cKDTree(unit_vectors(table["ra"], table["dec"]))
    return np.asarray(tree.query(unit_vectors(ra, dec), distance_upper_bound=NEAR)[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", OURS)
def test_every_object_is_one_of_the_truth(name: str, places: dict[str, pa.Table], truth: pa.Table) -> None:
    table = places[name]
    assert len(table) > 0
    assert (rows_in(truth, table["ra"], table["dec"]) < len(truth)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in OURS if name not in ("legacysurvey", "gaia")])
def test_galaxies_are_in_the_imaging_survey_that_sees_them_all(
    name: str, places: dict[str, pa.Table], truth: pa.Table
) -> None:
    table = places[name]
    row = rows_in(truth, table["ra"], table["dec"])
    kind, magnitude = np.asarray(truth["kind"])[row], np.asarray(truth["mag_z"])[row]
    bright = table.filter(pa.array((kind == "galaxy") & (magnitude < 20.3)))
    seen = rows_in(places["legacysurvey"], bright["ra"], bright["dec"]) < len(places["legacysurvey"])
    assert len(bright) > 0
    assert seen.mean() > 0.9, f"{(~seen).sum()} of {len(bright)} are not there"


@pytest.mark.slow
def test_one_galaxy_is_in_many(places: dict[str, pa.Table]) -> None:
    shared, best = common_objects(places)
    assert {"legacysurvey", "sdss", "gz10"} <= best.keys()
    assert len(best) >= 5
    assert all(count > 0 for name, count in shared.items() if name != "gaia")
