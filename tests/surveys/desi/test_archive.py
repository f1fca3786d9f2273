"""DESI's archive: which files a region needs, and the same selection by either route."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from mmu.errors import FormatError
from mmu.simulate import Field, Sky
from mmu.sky.region import AllSky, Cone
from mmu.survey import File, Group, Release, cut_reasons
from surveys.desi import DR1_MAIN, EDR_SV3, SURVEY, archive, simulate

SKY = Sky(fields=(Field("equator", 185.625, 0.0, 0.14), Field("north", 213.75, 35.685, 0.07)))
ALL = AllSky()
RELEASES = [DR1_MAIN, EDR_SV3]
PASS = ("other survey", "not a target", "bad fibre", "not the primary spectrum")


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Writes catalogue files of the archive once; a file that is not there is left out."""
    root = tmp_path_factory.mktemp("desi")

    def paths(files: tuple[File, ...]) -> dict[str, Path]:
        found = {}
        for file in files:
            path = root / file.path
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    simulate.write(file.path, SKY, path)
                except FileNotFoundError:
                    continue
            found[file.path] = path
        return found

    return paths


def _selected(release: Release, groups: list[Group], simulated: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for group in groups:
        candidates = archive.select(release, group, simulated(group.files))
        assert tuple(candidates.cuts) == PASS
        kept = np.flatnonzero(cut_reasons(candidates.cuts, len(candidates.ra)) < 0)
        rows = zip(candidates.object_id[kept].tolist(), candidates.unit[kept].tolist(), strict=True)
        found |= dict(rows)
    return found


def _zall(release: Release) -> list[Group]:
    whole = File(f"{release.facts['redux']}/{release.facts['zall']}", 1)
    return [Group(f"zall-{cell:02d}", (whole,)) for cell in range(12)]


def _groups(release: Release, simulated: Any, region: Any = ALL, walk: bool = False) -> list[Group]:
    return list(archive.groups(release, simulated(archive.bootstrap(release)), region, walk))


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_redrock_files_and_the_summary_catalogue_select_the_same(release: Release, simulated: Any) -> None:
    pixelwise = _selected(release, _groups(release, simulated), simulated)
    summary = _selected(release, _zall(release), simulated)
    assert len(pixelwise) > 80
    assert pixelwise == summary


def test_both_routes_flag_the_catalogues_own_primary(simulated: Any) -> None:
    """The primary is chosen before fibres and object types are looked at, as in the catalogue."""
    table = fits.getdata(next(iter(simulated(_zall(DR1_MAIN)[0].files).values())), "ZCATALOG")
    among = table["SURVEY"] == "main"
    mine = archive.primary(table["TARGETID"], table["ZWARN"], table["TSNR2_LRG"], among)
    np.testing.assert_array_equal(mine, table["MAIN_PRIMARY"] & among)
    assert (np.unique(table["TARGETID"][among], return_counts=True)[1] > 1).sum() > 8


def test_ties_and_warnings_decide_as_the_archive_does() -> None:
    target = np.array([1, 1, 2, 2, 3, 3, 4, 4, 5])
    zwarn = np.array([0, 4, 4, 0, 0, 0, 4, 8, 4])
    tsnr2 = np.array([1, 9, 9, 1, 2, 2, 1, 2, 0], dtype=np.float32)
    best = archive.primary(target, zwarn, tsnr2, np.ones(9, dtype=bool))
    assert np.flatnonzero(best).tolist() == [0, 3, 4, 7, 8]
    assert not archive.primary(target, zwarn, tsnr2, np.zeros(9, dtype=bool)).any()


def test_a_region_costs_the_pixels_it_touches(simulated: Any) -> None:
    field = SKY.fields[0]
    everything = _groups(DR1_MAIN, simulated)
    few = _groups(DR1_MAIN, simulated, Cone(field.ra, field.dec, 0.02))
    assert 0 < len(few) < len(everything)
    assert set(few) <= set(everything)
    assert [group.name for group in everything] == sorted(group.name for group in everything)
    assert not any(file.required for group in everything for file in group.files)
    assert _groups(DR1_MAIN, simulated, Cone(10.0, -80.0, 1.0)) == []


def test_much_sky_is_planned_from_the_summary_catalogue_unless_walked(tmp_path: Path) -> None:
    rows = [(1, "main", "dark", 0, pixel) for pixel in range(40000)]
    dtype = [("TILEID", "i4"), ("SURVEY", "S7"), ("PROGRAM", "S6"), ("PETAL_LOC", "i2"), ("HEALPIX", "i4")]
    path = tmp_path / "tilepix.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(np.array(rows, dtype=dtype), name="TILEPIX")]).writeto(path)
    paths = {archive.bootstrap(DR1_MAIN)[0].path: path}
    whole = list(archive.groups(DR1_MAIN, paths, ALL, False))
    assert [group.name for group in whole] == [f"zall-{cell:02d}" for cell in range(10)]
    assert len(list(archive.groups(DR1_MAIN, paths, ALL, True))) == 40000


def test_the_early_release_weighs_all_of_sv_against_each_other(simulated: Any) -> None:
    files = [file.path for group in _groups(EDR_SV3, simulated) for file in group.files]
    assert any("/sv1/" in path for path in files)
    assert all("/main/" not in path for path in files)


def test_every_row_listed_is_counted_under_its_unit(simulated: Any) -> None:
    group = _groups(DR1_MAIN, simulated)[1]
    paths = simulated(group.files)
    candidates = archive.select(DR1_MAIN, group, paths)
    listed = sum(len(fits.getdata(path, "FIBERMAP")) for path in paths.values())
    assert len(candidates.object_id) == listed
    assert set(candidates.unit.tolist()) == {archive.unit_name(*_parts(path)) for path in paths}
    assert candidates.object_id.dtype.kind == "U"


def _parts(path: str) -> tuple[str, str, str]:
    _, survey, program, pixel = Path(path).stem.split("-")
    return pixel, survey, program


def test_a_group_without_files_gives_no_rows() -> None:
    candidates = archive.select(DR1_MAIN, Group("00001", (File("no/redrock-main-dark-1.fits", 1, required=False),)), {})
    assert len(candidates.object_id) == len(candidates.unit) == 0
    assert all(len(cut) == 0 for cut in candidates.cuts.values())


def test_units_name_their_files() -> None:
    paths = [file.path for file in archive.files(DR1_MAIN, "09144-main-dark")]
    assert paths[0] == "dr1/spectro/redux/iron/healpix/main/dark/91/9144/coadd-main-dark-9144.fits"
    assert paths[1].endswith("/redrock-main-dark-9144.fits")
    assert all(path in simulate.files("dr1_main", SKY) for path in _first_unit())


def _first_unit() -> list[str]:
    path = next(path for path in simulate.files("dr1_main", SKY) if "/redrock-" in path)
    return [file.path for file in archive.files(DR1_MAIN, archive.unit_name(*_parts(path)))]


def test_a_file_that_is_no_fits_is_told(tmp_path: Path) -> None:
    bad = tmp_path / "redrock-main-dark-1.fits"
    bad.write_text("<html>try again later</html>")
    group = Group("00001", (File("x", 1),))
    with pytest.raises(FormatError, match=r"redrock-main-dark-1\.fits"):
        archive.select(DR1_MAIN, group, {"x": bad})


def test_the_declaration_holds_together() -> None:
    for release in SURVEY.releases:
        names = {column.source.partition(".")[0] for column in release.hdf5}
        assert names <= set(release.schema.names)
        assert {"object_id", "spectrum_flux", "spectrum_lambda", "ZWARN", "EBV"} <= {c.name for c in release.hdf5}
    assert "SV3_DESI_TARGET" in EDR_SV3.schema
    assert "SV3_DESI_TARGET" not in DR1_MAIN.schema
    assert "Acknowledgement" in SURVEY.text("card.md")
    assert "@article" in SURVEY.text("cite.bib")
