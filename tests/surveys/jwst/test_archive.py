"""Which files a field has, which objects are selected, and how a mosaic is divided into tiles."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mmu.archive import rendering
from mmu.errors import FormatError
from mmu.schema import IDENTITY
from mmu.simulate import Sky
from mmu.sky import healpix
from mmu.sky.region import parse_region
from mmu.survey import Release, cut_reasons, get_survey
from surveys.jwst import SURVEY, archive
from surveys.jwst.archive import FAINT, FEW_BANDS, catalogue_path, mosaic_of, object_ids, tiles

SKY = Sky()
ARCHIVE = SURVEY.archive
UDS = SURVEY.release("primer-uds")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The catalogues of the simulated archive."""
    root = tmp_path_factory.mktemp("archive")
    found = {}
    for release in SURVEY.releases:
        for mosaic in release.facts["mosaics"]:
            found[catalogue_path(mosaic)] = root / catalogue_path(mosaic)
            rendering.render(SURVEY.module, catalogue_path(mosaic), SKY, found[catalogue_path(mosaic)])
    return found


def test_the_survey_is_found_by_name_with_the_configurations_of_v1() -> None:
    assert get_survey("jwst") is SURVEY
    names = [release.name for release in SURVEY.releases]
    assert names == ["primer-cosmos", "primer-uds", "ceers", "ngdeep", "gds", "gdn"]
    assert [len(release.facts["bands"]) for release in SURVEY.releases] == [7, 7, 7, 6, 7, 7]
    assert "valentino2023" in SURVEY.text("cite.bib")
    assert 250_000 < sum(release.objects for release in SURVEY.releases) < 350_000


@pytest.mark.parametrize("release", SURVEY.releases, ids=lambda r: r.name)
def test_files_are_those_the_archive_serves(release: Release) -> None:
    served = SURVEY.simulator.files(release.name, SKY).keys()
    groups = list(ARCHIVE.groups(release, {}, parse_region("all"), walk=False))
    assert [group.name for group in groups] == sorted(release.facts["mosaics"])
    listed = {file for mosaic in release.facts["mosaics"] for file in ARCHIVE.files(release, f"{mosaic}_0003")}
    assert {file.path for file in listed} == served
    assert {file.path for file in listed if file.required} == {group.files[0].path for group in groups}
    assert ARCHIVE.bootstrap(release) == ()
    assert 0.9 < sum(file.bytes for file in listed) / release.raw_bytes < 1.1


def test_the_url_is_v1_s() -> None:
    path = archive.plane_path("gdn-grizli-v7.3", "f444w", "wht")
    assert SURVEY.root + path == (
        "https://grizli-v2.s3.amazonaws.com/JwstMosaics/v7/gdn-grizli-v7.3-f444w-clear_drc_wht.fits.gz"
    )
    assert mosaic_of("gdn-grizli-v7.3_0012") == "gdn-grizli-v7.3"


def test_cuts_are_made_for_the_stated_reason(paths: dict[str, Path], tmp_path: Path) -> None:
    bands = "f090w f115w f150w f200w f277w".split()
    nan = np.nan
    fluxes = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, nan], [1, 1, 1, 0, nan], [1, 1, 1, -1, 1], [1, 1, 1, 1, 1]])
    fluxes = np.concatenate([fluxes, [[1, 1, 1, nan, nan]]])
    columns = [fits.Column("id", "K", array=np.arange(1, 7)), fits.Column("ra", "D", array=np.full(6, 5.0))]
    columns += [fits.Column("dec", "D", array=np.zeros(6))]
    columns += [fits.Column("mag_auto", "D", array=[26.999, 27.0, 20, 20, nan, 28])]
    columns += [fits.Column(f"{b}_flux_aper_0", "D", array=fluxes[:, i]) for i, b in enumerate(bands)]
    columns += [fits.Column("f606w_flux_aper_0", "D", array=np.ones(6))]  # Hubble's do not count
    path = tmp_path / "catalogue.fits"
    fits.BinTableHDU.from_columns(columns).writeto(path)
    group = next(iter(ARCHIVE.groups(UDS, {}, parse_region("all"), walk=True)))
    found = ARCHIVE.select(UDS, group, {group.files[0].path: path})
    assert list(found.cuts) == [FEW_BANDS, FAINT]
    assert cut_reasons(found.cuts, 6).tolist() == [-1, 1, 0, -1, 1, 0]
    assert found.object_id.tolist()[0] == f"{group.name}_1"
    assert set(found.unit.tolist()) == {f"{group.name}_0000"}
    deeper = ARCHIVE.select(SURVEY.release("gds"), group, {group.files[0].path: path})
    assert cut_reasons(deeper.cuts, 6).tolist() == [-1, -1, 0, -1, 1, 0]


def test_every_cut_is_exercised_by_the_simulated_fields(paths: dict[str, Path]) -> None:
    reasons: Counter[str] = Counter()
    ids: list[str] = []
    for release in SURVEY.releases:
        before = len(ids)
        for group in ARCHIVE.groups(release, {}, parse_region("all"), walk=False):
            found = ARCHIVE.select(release, group, paths)
            number = cut_reasons(found.cuts, len(found.ra))
            reasons.update([*found.cuts][i] for i in number if i >= 0)
            ids += found.object_id[number < 0].tolist()
        assert len(ids) - before >= 12, release.name
    assert set(reasons) == {FEW_BANDS, FAINT}
    assert len(ids) == len(set(ids))


def test_objects_of_overlapping_mosaics_are_kept_under_two_ids(paths: dict[str, Path]) -> None:
    found = [ARCHIVE.select(UDS, group, paths) for group in ARCHIVE.groups(UDS, {}, parse_region("all"), walk=False)]
    (north, south) = found
    separation = healpix.separation_deg(north.ra[:, None], north.dec[:, None], south.ra, south.dec)
    pairs = np.argwhere(separation < 0.05 / 3600)
    assert len(pairs) > 0
    assert not set(north.object_id.tolist()) & set(south.object_id.tolist())


def test_a_mosaic_across_a_pixel_border_is_divided_there(paths: dict[str, Path]) -> None:
    pixels = set()
    for group in ARCHIVE.groups(UDS, {}, parse_region("all"), walk=False):
        found = ARCHIVE.select(UDS, group, paths)
        pixels |= set(healpix.pixel(found.ra, found.dec, 4).tolist())
    assert len(pixels) > 1


def test_tiles_hold_a_bounded_number_of_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "TILE_OBJECTS", 100)
    rng = np.random.default_rng(7)
    ra, dec = rng.uniform(150, 150.3, 3000), rng.uniform(2, 2.3, 3000)
    selected = rng.random(3000) < 0.35
    ra[5], dec[7] = np.nan, 91
    selected[[5, 7]] = False
    found = tiles(ra, dec, selected)
    counts = np.bincount(found[selected])
    assert (counts[:-1] == 100).all()
    assert 0 < counts[-1] <= 100
    assert found.max() == len(counts) - 1
    place = np.where(selected, healpix.pixel(np.nan_to_num(ra), np.clip(dec, -90, 90)), -1)
    order = np.argsort(place[selected])
    assert (np.diff(found[selected][order]) >= 0).all()
    again = rng.permutation(3000)
    np.testing.assert_array_equal(
        tiles(ra[again], dec[again], selected[again])[selected[again]], found[again][selected[again]]
    )
    assert tiles(ra[:0], dec[:0], selected[:0]).tolist() == []
    assert set(tiles(ra[:9], dec[:9], np.zeros(9, bool)).tolist()) == {0}


def test_ids_are_text_that_does_not_depend_on_the_process() -> None:
    assert object_ids("gds-grizli-v7.2", np.array([1, 120345])).tolist() == [
        "gds-grizli-v7.2_1",
        "gds-grizli-v7.2_120345",
    ]
    longest = max(len(mosaic) for release in SURVEY.releases for mosaic in release.facts["mosaics"])
    width = {column.name: column.dtype for column in UDS.hdf5}
    assert longest + 8 <= int(width["object_id"][1:])
    assert longest <= int(width["mosaic"][1:])


def test_a_catalogue_of_another_model_is_an_error_that_names_it(tmp_path: Path) -> None:
    group = next(iter(ARCHIVE.groups(UDS, {}, parse_region("all"), walk=True)))
    names = ["id", "ra", "dec", "mag_auto", "f606w_flux_aper_0"]

    def attempt(columns: list[str], match: str) -> None:
        path = tmp_path / "cat.fits"
        table = fits.BinTableHDU.from_columns([fits.Column(name, "D", array=np.ones(2)) for name in columns])
        table.writeto(path, overwrite=True)
        with pytest.raises(FormatError, match=match):
            ARCHIVE.select(UDS, group, {group.files[0].path: path})

    attempt(names, r"cat\.fits: no column f090w_flux_aper_0 in 1, nor one of another NIRCam band")
    attempt(names[:3], r"cat\.fits: no column MAG_AUTO in 1")
    (tmp_path / "page.fits").write_text("<Error><Code>NoSuchKey</Code></Error>")
    with pytest.raises(FormatError, match=r"page\.fits: not a whole FITS file"):
        ARCHIVE.select(UDS, group, {group.files[0].path: tmp_path / "page.fits"})


def test_the_v1_layout_has_the_names_that_v1_loaders_read() -> None:
    columns = {column.name: column for column in SURVEY.release("ngdeep").hdf5}
    wanted = "object_id ra dec image_band image_flux image_ivar image_mask image_psf_fwhm image_scale".split()
    wanted += "mag_auto flux_radius flux_auto fluxerr_auto cxx_image cyy_image cxy_image f444w_flux_aper_0".split()
    assert set(wanted) <= columns.keys()
    kinds = {"band": "S5", "flux": "f4", "ivar": "f8", "mask": "?", "psf_fwhm": "f4", "scale": "f4"}
    for name, kind in kinds.items():
        assert (columns[f"image_{name}"].dtype, columns[f"image_{name}"].length) == (kind, 6)
    assert "f090w_flux_aper_0" not in columns
    assert UDS.schema.names[:3] == [column.name for column in IDENTITY]
    assert 16e6 < UDS.bytes_per_row * (UDS.row_group_rows or 0) < 32e6
    assert UDS.bytes_per_row * archive.TILE_OBJECTS < 1.3e9
