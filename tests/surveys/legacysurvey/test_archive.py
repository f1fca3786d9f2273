"""Which files are read for a region, which objects are selected, and that the route to them does not matter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from mmu.errors import FormatError
from mmu.simulate import Field, Sky
from mmu.sky.region import parse_region
from mmu.survey import Candidates, Group, Release, cut_reasons, get_survey
from surveys.legacysurvey import SURVEY
from surveys.legacysurvey.archive import FAINT, MASKED, NOT_PRIMARY, POINT, UNOBSERVED, quality_cuts

SKY = Sky(fields=(Field("edge", 185.75, 0.0, 0.06), Field("north", 213.75, 35.685, 0.03)))
RELEASES = SURVEY.releases
ARCHIVE = SURVEY.archive


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every catalogue file of the simulated archive."""
    root = tmp_path_factory.mktemp("archive")
    found = {}
    for release in RELEASES:
        for path in SURVEY.simulator.files(release.name, SKY):
            if "/coadd/" not in path:
                found[path] = root / path
                found[path].parent.mkdir(parents=True, exist_ok=True)
                SURVEY.simulator.write(path, SKY, found[path])
    return found


def groups(release: Release, paths: dict[str, Path], region: str = "all", walk: bool = False) -> list[Group]:
    return list(ARCHIVE.groups(release, paths, parse_region(region), walk))


def selected(found: Candidates) -> dict[str, tuple[float, float, str]]:
    kept = np.flatnonzero(cut_reasons(found.cuts, len(found.ra)) < 0)
    return {str(found.object_id[k]): (found.ra[k], found.dec[k], str(found.unit[k])) for k in kept}


def all_selected(release: Release, paths: dict[str, Path], chosen: list[Group]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for group in chosen:
        part = selected(ARCHIVE.select(release, group, paths))
        assert not part.keys() & total.keys()
        total |= part
    return total


def test_the_survey_is_found_by_name() -> None:
    assert get_survey("legacysurvey") is SURVEY
    assert SURVEY.default_release.name == "dr10_south_21"
    assert SURVEY.text("card.md").startswith("## ")
    assert "dey2019" in SURVEY.text("cite.bib")


@pytest.mark.parametrize("release", RELEASES, ids=lambda r: r.name)
def test_both_routes_select_the_same_objects(release: Release, paths: dict[str, Path]) -> None:
    sweeps, bricks = groups(release, paths), groups(release, paths, walk=True)
    assert all("/sweep/" in group.files[0].path for group in sweeps)
    assert all("/tractor/" in group.files[0].path for group in bricks)
    one, other = all_selected(release, paths, sweeps), all_selected(release, paths, bricks)
    assert one == other
    assert len(one) > 20


def test_bricks_come_in_the_order_of_their_names(paths: dict[str, Path]) -> None:
    names = [group.name for group in groups(RELEASES[0], paths, walk=True)]
    assert names == sorted(names)
    assert {"1856p000", "1858p000"} <= set(names)


def test_the_planner_reads_whichever_catalogue_is_smaller(tmp_path: Path) -> None:
    name = "dr10/south/survey-bricks-dr10-south.fits.gz"
    SURVEY.simulator.write(name, Sky(), tmp_path / "bricks.fits.gz")
    paths = {name: tmp_path / "bricks.fits.gz"}
    (group,) = groups(RELEASES[0], paths, "cone:185.625,0,0.005")
    assert group.files[0].path == "dr10/south/tractor/185/tractor-1856p000.fits"
    names = [group.name for group in groups(RELEASES[0], paths, "cone:185.625,0,0.5")]
    assert names == ["sweep-180m005-190p000", "sweep-180p000-190p005"]
    assert groups(RELEASES[0], paths, "cone:10,40,1") == []


def test_a_brick_without_exposures_in_a_band_is_left_out_by_both_routes(paths: dict[str, Path], tmp_path: Path) -> None:
    release, name = RELEASES[0], "dr10/south/survey-bricks-dr10-south.fits.gz"
    with fits.open(paths[name]) as hdus:
        table = hdus[1].data.copy()
    table["nexp_i"][table["brickname"] == "1856p000"] = 0
    fits.BinTableHDU(table).writeto(tmp_path / "bricks.fits")
    changed = paths | {name: tmp_path / "bricks.fits"}
    sweeps, walked = groups(release, changed), groups(release, changed, walk=True)
    assert "1856p000" not in {group.name for group in walked}
    one, other = all_selected(release, changed, sweeps), all_selected(release, changed, walked)
    assert one == other
    assert not any(name.startswith("1856p000") for name in one)
    assert len(one) > 5


def test_cuts_are_made_in_order_and_for_the_stated_reason(paths: dict[str, Path]) -> None:
    found = ARCHIVE.select(RELEASES[0], groups(RELEASES[0], paths, walk=True)[0], paths)
    assert list(found.cuts) == [NOT_PRIMARY, FAINT, UNOBSERVED, POINT, MASKED]
    table = {
        "FLUX_Z": np.array([3.99, 3.97, -1.0, 0.0, np.nan, 3.58, 9, 9, 9, 9], "f4"),
        "MW_TRANSMISSION_Z": np.array([1, 1, 1, 1, 1, 0.9, 1, 1, 1, 1], "f4"),
        "NOBS_G": np.array([1, 1, 1, 1, 1, 1, 0, 1, 1, 1]),
        "TYPE": np.array(["SER"] * 7 + ["PSF", "REX", "DEV"]),
        "MASKBITS": np.array([0, 0, 0, 0, 0, 0, 0, 0, 1 << 11, 1 << 12], "i4"),
    }
    reason = cut_reasons(quality_cuts(table, "g", 21.0, (0, 11)), 10)
    assert reason.tolist() == [-1, 0, 0, 0, 0, 0, 1, 2, 3, -1]


def test_files_of_a_brick_are_those_the_archive_serves(paths: dict[str, Path]) -> None:
    for release, brick in zip(RELEASES, ("1858p000", "2136p357"), strict=True):
        served = SURVEY.simulator.files(release.name, SKY)
        files = ARCHIVE.files(release, brick)
        assert {file.path for file in files} <= served.keys()
        assert len(files) == 4 + 2 * len(release.facts["bands"])
        required = [file.path.rpartition("/")[2] for file in files if file.required]
        assert required == [f"tractor-{brick}.fits", f"legacysurvey-{brick}-maskbits.fits.fz"]
        assert [file.path for file in ARCHIVE.bootstrap(release)] == [p for p in served if "survey-bricks" in p]


def test_a_catalogue_without_a_column_is_an_error_that_names_it(paths: dict[str, Path], tmp_path: Path) -> None:
    group = groups(RELEASES[0], paths, walk=True)[0]
    with fits.open(paths[group.files[0].path]) as hdus:
        columns = [column for column in hdus[1].columns if column.name.upper() != "FLUX_Z"]
        fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "broken.fits")
    with pytest.raises(FormatError, match=r"broken\.fits: no column FLUX_Z in 1"):
        ARCHIVE.select(RELEASES[0], group, paths | {group.files[0].path: tmp_path / "broken.fits"})
    (tmp_path / "page.fits").write_text("<html>Not found</html>")
    with pytest.raises(FormatError, match=r"page\.fits: not a whole FITS file"):
        ARCHIVE.select(RELEASES[0], group, paths | {group.files[0].path: tmp_path / "page.fits"})
