"""MaNGA's archive: which observations there are, which are wanted, and where their files lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

from mmu.errors import FormatError
from mmu.simulate import Sky
from mmu.sky.region import AllSky, Cone
from mmu.survey import cut_reasons
from surveys.manga import MANGA, MANGA_SPAXELS, SURVEY, archive, simulate
from surveys.manga.simulate_targets import CRITICAL, targets

RELEASES = [MANGA, MANGA_SPAXELS]


def _candidates(fetch: Any, release: Any = MANGA) -> Any:
    group = next(archive.groups(release, {}, AllSky(), False))
    return archive.select(release, group, fetch(group.files))


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_every_observation_is_wanted_or_cut_for_a_reason(release: Any, fetch: Any, sky: Sky) -> None:
    found = _candidates(fetch, release)
    reasons = cut_reasons(found.cuts, len(found.object_id))
    truth = {target.name: (0 if not target.tried else -1 if target.done else 1) for target in targets(sky)}
    assert dict(zip(found.object_id.tolist(), reasons.tolist(), strict=True)) == truth
    assert list(found.cuts) == [archive.NOT_ANALYSED, archive.NOT_DONE]
    assert {-1, 0, 1} == set(truth.values())
    assert (found.unit == found.object_id).all()


def test_quality_is_a_column_and_not_a_cut(selected: Any, sky: Sky) -> None:
    rows = selected(MANGA)
    bad = [target.name for target in targets(sky) if target.quality]
    kept = dict(zip(rows["object_id"].to_pylist(), rows["drp3qual"].to_pylist(), strict=True))
    assert [kept[name] & CRITICAL for name in bad] == [CRITICAL]
    by_name = dict(zip(rows["object_id"].to_pylist(), rows["dapqual"].to_pylist(), strict=True))
    assert all((by_name[name] == CRITICAL) == (name in bad) for name in by_name)


def test_rows_hold_the_truth_and_nan_where_the_archive_has_minus_9999(selected: Any, sky: Sky) -> None:
    rows = selected(MANGA)
    for target in targets(sky):
        if not target.done:
            continue
        row = rows.filter(pa.compute.equal(rows["object_id"], target.name)).to_pylist()[0]
        assert (row["ra"], row["dec"]) == (target.ra, target.dec)
        assert (row["objra"], row["objdec"]) == (target.truth["ra"], target.truth["dec"])
        assert row["z"] == target.truth["z"]
        assert np.isfinite(row["nsa_z"]) == target.in_nsa
        assert np.isfinite(row["nsa_elpetro_flux"]).all() == target.in_nsa
        assert row["mangaid"] == target.mangaid


def test_a_galaxy_observed_twice_has_two_ids_and_one_mangaid(selected: Any) -> None:
    names = selected(MANGA)["mangaid"].to_pylist()
    assert len(names) - len(set(names)) == 1


def test_tables_are_the_same_whatever_the_region() -> None:
    everywhere = list(archive.groups(MANGA, {}, AllSky(), False))
    assert list(archive.groups(MANGA, {}, Cone(10, 10, 0.1), True)) == everywhere
    assert archive.bootstrap(MANGA) == ()


def test_paths_are_the_archives() -> None:
    cube, maps = archive.files(MANGA, "8485-1901")
    assert cube.path == "dr17/manga/spectro/redux/v3_1_1/8485/stack/manga-8485-1901-LOGCUBE.fits.gz"
    assert maps.path == (
        "dr17/manga/spectro/analysis/v3_1_1/3.1.0/HYB10-MILESHC-MASTARSSP/8485/1901/"
        "manga-8485-1901-MAPS-HYB10-MILESHC-MASTARSSP.fits.gz"
    )
    assert (cube.required, maps.required) == (True, False)
    assert archive.files(MANGA_SPAXELS, "8485-1901") == (cube,)
    group = next(archive.groups(MANGA, {}, AllSky(), False))
    assert [file.path for file in group.files] == [simulate.DRPALL, simulate.DAPALL]


@pytest.mark.parametrize(("broken", "wanted"), [("cut", r"drpall.*truncated"), ("column", "DAPDONE")])
def test_a_damaged_or_foreign_table_is_told(broken: str, wanted: str, fetch: Any, tmp_path: Path) -> None:
    group = next(archive.groups(MANGA, {}, AllSky(), False))
    paths = fetch(group.files)
    if broken == "cut":
        path = tmp_path / "drpall.fits"
        path.write_bytes(paths[simulate.DRPALL].read_bytes()[:20000])
        changed = paths | {simulate.DRPALL: path}
    else:
        path = tmp_path / "dapall.fits"
        rows = np.array([(b"1-2",)], dtype=[("PLATEIFU", "S12")])
        fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(rows, name=MANGA.facts["daptype"])]).writeto(path)
        changed = paths | {simulate.DAPALL: path}
    with pytest.raises(FormatError, match=wanted):
        archive.select(MANGA, group, changed)


def test_an_empty_dapall_cuts_everything(fetch: Any, tmp_path: Path) -> None:
    group = next(archive.groups(MANGA, {}, AllSky(), False))
    path = tmp_path / "dapall.fits"
    rows = np.empty(0, dtype=[("PLATEIFU", "S12"), ("DAPDONE", "?"), ("DAPQUAL", "i8")])
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(rows, name=MANGA.facts["daptype"])]).writeto(path)
    found = archive.select(MANGA, group, fetch(group.files) | {simulate.DAPALL: path})
    assert found.cuts[archive.NOT_ANALYSED].all()
    assert not found.cuts[archive.NOT_DONE].any()


def test_the_declaration_holds_together() -> None:
    assert [release.name for release in SURVEY.releases] == ["manga", "manga_spaxels"]
    assert MANGA_SPAXELS.many
    assert MANGA.row_group_rows == 1
    assert {column.source.partition(".")[0] for column in MANGA_SPAXELS.hdf5} <= set(MANGA_SPAXELS.schema.names)
    assert "Acknowledgement" in SURVEY.text("card.md")
