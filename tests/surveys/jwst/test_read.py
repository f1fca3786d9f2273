"""Stamps, inverse variances and catalogue columns of simulated mosaics, checked against the files they come from."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.nddata import Cutout2D

import mmu
from mmu import stamps
from mmu.archive import rendering
from mmu.build.run import build
from mmu.build.spec import BuildSpec
from mmu.build.verify import verify
from mmu.errors import FormatError
from mmu.fits.headers import Hdu
from mmu.schema import arrow_field
from mmu.simulate import Sky
from mmu.sky.region import parse_region
from mmu.survey import Records, Release, cut_reasons
from surveys.jwst import SURVEY
from surveys.jwst import archive as layout
from surveys.jwst.archive import catalogue_path, plane_path
from surveys.jwst.columns import PSF_FWHM, SIZE
from surveys.jwst.mosaic import Plane, add_photon_noise, count_rate, exposure_stamps, open_plane
from surveys.jwst.read import NO_BAND, cut_band, read, read_catalogue

SKY = Sky()
UDS, GDS, NGDEEP = (SURVEY.release(name) for name in ("primer-uds", "gds", "ngdeep"))
MOSAIC = "primer-uds-south-grizli-v7.2"
UNIT = f"{MOSAIC}_0000"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A mosaic's catalogue and the planes of some of its bands, written when first asked for."""
    root = tmp_path_factory.mktemp("archive")

    def get(mosaic: str, *bands: str) -> dict[str, Path]:
        names = [catalogue_path(mosaic)]
        names += [plane_path(mosaic, band, kind) for band in bands for kind in ("sci", "wht", "exp")]
        for name in names:
            if not (root / name).exists():
                rendering.render(SURVEY.module, name, SKY, root / name)
        return {name: root / name for name in names}

    return get


def rows_of(release: Release, mosaic: str, paths: dict[str, Path]) -> pa.Table:
    groups = SURVEY.archive.groups(release, {}, parse_region("all"), walk=False)
    found = SURVEY.archive.select(release, next(g for g in groups if g.name == mosaic), paths)
    kept = np.flatnonzero(cut_reasons(found.cuts, len(found.ra)) < 0)
    names = found.object_id[kept].astype(object)
    return pa.table({"object_id": names, "ra": found.ra[kept], "dec": found.dec[kept]})


@pytest.fixture(scope="module")
def paths(archive: Any) -> dict[str, Path]:
    found: dict[str, Path] = archive(MOSAIC, "f200w", "f356w", "f444w")
    return found


@pytest.fixture(scope="module")
def rows(paths: dict[str, Path]) -> pa.Table:
    return rows_of(UDS, MOSAIC, paths)


@pytest.fixture(scope="module")
def records(paths: dict[str, Path], rows: pa.Table) -> Records:
    return read(UDS, UNIT, paths, rows)


def member(table: pa.Table, name: str) -> Any:
    """A member of the image struct as one array, (N, bands, 96, 96) for planes."""
    values = table["image"].combine_chunks().field(name)
    depth = 0
    while pa.types.is_list(values.type):
        values, depth = values.flatten(), depth + 1
    shape = (len(table), -1, SIZE, SIZE) if depth == 3 else (len(table), -1)
    return values.to_numpy(zero_copy_only=False).reshape(shape)


def stored(path: Path) -> tuple[Any, fits.Header]:
    with fits.open(path) as hdus:
        return np.array(hdus[0].data), hdus[0].header


def test_records_have_the_schema_and_the_order_of_the_rows(records: Records, rows: pa.Table) -> None:
    table = records.table
    assert records.excluded == {}
    assert len(rows) >= 12
    assert table.schema.equals(pa.schema([arrow_field(c) for c in UDS.schema]), check_metadata=True)
    for name in ("object_id", "ra", "dec"):
        assert table[name].to_pylist() == rows[name].to_pylist()
    assert table["object_id"].to_pylist() == [f"{MOSAIC}_{number}" for number in table["id"].to_pylist()]
    assert set(table["mosaic"].to_pylist()) == {MOSAIC}
    assert table["image_photon_noise"].to_pylist() == [[True] * 3] * len(table)


def test_bands_absent_upstream_are_left_out(records: Records) -> None:
    assert member(records.table, "band").tolist() == [["f200w", "f356w", "f444w"]] * len(records.table)
    assert member(records.table, "flux").shape[1] == 3
    assert records.table["f115w_flux_aper_0"].null_count == 0  # the catalogue knows of them all the same
    expected = np.array([PSF_FWHM[band] for band in ("f200w", "f356w", "f444w")], np.float32)
    np.testing.assert_array_equal(member(records.table, "psf_fwhm"), np.tile(expected, (len(records.table), 1)))


def test_stamps_are_the_pixels_of_the_mosaic(paths: dict[str, Path], records: Records) -> None:
    table, flux = records.table, member(records.table, "flux")
    for place, band in enumerate(("f200w", "f356w", "f444w")):
        image, header = stored(paths[plane_path(MOSAIC, band, "sci")])
        positions = stamps.coordinates(header).all_world2pix(table["ra"], table["dec"], 0)
        for index, position in enumerate(zip(*positions, strict=True)):
            theirs = Cutout2D(image, position, SIZE, mode="partial", fill_value=0)
            np.testing.assert_array_equal(flux[index, place], theirs.data)
            assert np.abs(np.array(theirs.to_cutout_position(position)) - 47.5).max() <= 0.5 + 1e-9


def test_inverse_variance_is_the_archive_s_recipe(paths: dict[str, Path], records: Records) -> None:
    """DJA's own lines (2023-07-18), on the whole mosaic, but with the exposure map where grizli samples it."""
    table = records.table
    ivar, mask = member(table, "ivar"), member(table, "mask")
    for place, band in enumerate(("f200w", "f356w", "f444w")):
        (sci, _), (wht, header), (exp, cards) = (
            stored(paths[plane_path(MOSAIC, band, kind)]) for kind in ("sci", "wht", "exp")
        )
        phot_scale = 1 / (cards["PHOTMJSR"] * cards["PHOTSCAL"]) * cards["PHOTFNU"] / cards["OPHOTFNU"]
        nearest = [np.minimum((np.arange(length) + 2) // 4, length // 4 - 1) for length in sci.shape]
        full_exp = exp[np.ix_(*nearest)].astype(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            full = 1 / (1 / wht.astype(float) + np.maximum(sci, 0) / (phot_scale * full_exp))
        full[~(np.isfinite(full) & (full_exp > 0))] = 0
        positions = stamps.coordinates(header).all_world2pix(table["ra"], table["dec"], 0)
        for index, position in enumerate(zip(*positions, strict=True)):
            theirs = Cutout2D(full, position, SIZE, mode="partial", fill_value=0).data
            np.testing.assert_allclose(ivar[index, place], theirs, rtol=1e-5)
        assert (full[wht > 0] < wht[wht > 0]).mean() > 0.3
    np.testing.assert_array_equal(mask, ivar > 0)
    assert 0 < (~mask).mean() < 0.5


def test_stamps_over_the_edge_are_padded_never_lost(paths: dict[str, Path]) -> None:
    local = {kind: paths[plane_path(MOSAIC, "f444w", kind)] for kind in ("sci", "wht", "exp")}
    image, header = stored(local["sci"])
    places = np.array([[300.3, 1970.2], [2398.7, 1000.3], [-500.3, 50.3]])
    ra, dec = stamps.coordinates(header).all_pix2world(places, 0).T
    flux, ivar = (np.zeros((3, SIZE, SIZE), np.float32) for _ in range(2))
    cut_band(local, "f444w", ra, dec, flux, ivar)
    padded = np.pad(image, 600)
    for stamp, (x, y) in zip(flux, stamps.stamp_starts(places, SIZE), strict=True):
        np.testing.assert_array_equal(stamp, padded[y + 600 : y + 600 + SIZE, x + 600 : x + 600 + SIZE])
    assert (ivar[0, -18:] == 0).all()
    assert (ivar[1, :, 49:] == 0).all()
    assert (ivar[2] == 0).all()
    assert (ivar[0] > 0).any()


def test_short_and_long_bands_have_their_own_scale(archive: Any) -> None:
    mosaic = "gds-grizli-v7.2"
    paths = archive(mosaic, "f200w", "f444w")
    table = read(GDS, f"{mosaic}_0000", paths, rows_of(GDS, mosaic, paths)).table
    assert len(table) >= 12
    np.testing.assert_allclose(member(table, "scale"), np.tile([0.02, 0.04], (len(table), 1)), rtol=1e-6)
    flux = member(table, "flux").astype(float)
    bright = np.argsort(table["mag_auto"].to_numpy())[:6]
    near = flux[bright, :, 44:52, 44:52].sum(axis=(2, 3)), flux[bright, :, 40:56, 40:56].sum(axis=(2, 3))
    assert (near[0] > 0).all()
    for name, inside in zip(("f200w", "f444w"), (near[1][:, 0], near[0][:, 1]), strict=True):  # 0.32 arcsec a side
        aperture = table[f"{name}_flux_aper_0"].to_numpy()[bright] * 100
        np.testing.assert_allclose(inside, aperture, rtol=0.35)  # a square, and a circle of 0.36 arcsec


def test_point_sources_are_centred_to_a_fiftieth_of_a_pixel(paths: dict[str, Path]) -> None:
    """Stars of the truth, in the stamps cut at their true positions."""
    objects = SKY.in_cone(185.635, -0.010, 0.015)
    stars = objects[(objects["kind"] == "star") & (objects["mag_i"] < 20.5)]
    shape = (len(stars), SIZE, SIZE)
    flux, ivar = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    local = {kind: paths[plane_path(MOSAIC, "f444w", kind)] for kind in ("sci", "wht", "exp")}
    cut_band(local, "f444w", stars["ra"], stars["dec"], flux, ivar)
    with open_plane(local["sci"], "f") as plane:
        place = stamps.pixel_positions(plane.coordinates(), stars["ra"], stars["dec"])
    expected = place - stamps.stamp_starts(place, SIZE)
    whole = (ivar[:, 40:56, 40:56] > 0).all(axis=(1, 2))
    alone = [
        np.hypot((objects["ra"] - star["ra"]) * 3600, (objects["dec"] - star["dec"]) * 3600)[
            objects["true_id"] != star["true_id"]
        ].min()
        > 3
        for star in stars
    ]
    axis = np.arange(40, 56)
    usable = np.flatnonzero(whole & np.array(alone))
    core = flux[usable][:, 40:56, 40:56].astype(float)
    found = np.stack([(core.sum(1) * axis).sum(1), (core.sum(2) * axis).sum(1)], 1) / core.sum((1, 2))[:, None]
    assert len(found) >= 1
    offset = found - expected[usable]
    brightest = np.argmax(core.sum((1, 2)))
    assert np.abs(offset[brightest]).max() < 0.02
    assert np.abs(expected - 47.5).max() <= 0.5


def test_exposures_are_taken_from_the_nearest_sample(tmp_path: Path) -> None:
    full = np.add.outer(np.arange(40) * 100, np.arange(48)).astype(np.uint32) + 3_000_000_000
    header = fits.Header({"SAMPLE": 4, "PHOTFNU": 1e-8})
    fits.PrimaryHDU(full[::4, ::4], header).writeto(tmp_path / "exp.fits")
    starts = np.array([[-5, 7], [20, 30]])
    with open_plane(tmp_path / "exp.fits", "iuf") as plane:
        found = exposure_stamps(plane, (40, 48), starts, 8)
        for stamp, (x, y) in zip(found, starts, strict=True):
            for i, j in np.ndindex(8, 8):
                row, column = (min(max(round((at + 0.01) / 4), 0), n) for at, n in ((y + i, 9), (x + j, 11)))
                assert stamp[i, j] == np.float32(full[4 * row, 4 * column])
        with pytest.raises(FormatError, match=r"exp.fits: expected a map of \(20, 12\) for a mosaic of \(80, 48\)"):
            exposure_stamps(plane, (80, 48), starts, 8)
        assert isinstance(plane, Plane)


def test_photon_noise_adds_to_the_variance_of_light_and_of_nothing_else() -> None:
    flux = np.array([0.0, -3.0, 2.0, 2.0, 2.0], np.float32)
    ivar = np.array([4.0, 4.0, 4.0, 4.0, 0.0], np.float32)
    exposure = np.array([100.0, 100.0, 100.0, 0.0, 100.0], np.float32)
    add_photon_noise(ivar, flux, exposure, 0.5)
    np.testing.assert_allclose(ivar, [4, 4, 1 / (1 / 4 + 2 / 50), 0, 0])


def cards(**values: float) -> Hdu:
    return Hdu("", {key.encode(): f" {value}".encode() for key, value in values.items()}, 0, 0)


def test_the_count_rate_follows_from_the_calibration() -> None:
    """The example of the archive's documentation: smacs0723, f444w."""
    known = {"PHOTMJSR": 0.3925000131130219, "PHOTSCAL": 1.001401962747847, "PHOTFNU": 1e-8}
    assert count_rate(cards(**known, OPHOTFNU=9.30775449348276e-8)) == pytest.approx(0.27334, rel=1e-4)
    assert count_rate(cards(**known)) == pytest.approx(2.5442, rel=1e-4)
    assert count_rate(cards(PHOTMJSR=0.5, PHOTFNU=1e-8)) == 2
    assert count_rate(cards(PHOTSCAL=1.0, PHOTFNU=1e-8)) is None
    assert count_rate(cards(PHOTMJSR=0.5)) is None
    assert count_rate(cards(PHOTMJSR=-1.0, PHOTFNU=1e-8)) is None


def rewritten(path: Path, destination: Path, data: Any = None, drop: tuple[str, ...] = (), **values: Any) -> Path:
    """A plane with other pixels or cards."""
    pixels, header = stored(path)
    for key in drop:
        header.remove(key)
    header.update(values)
    pixels = pixels if data is None else data
    fits.PrimaryHDU(pixels, fits.Header([c for c in header.cards if c.keyword not in ("BZERO", "BSCALE")])).writeto(
        destination.with_suffix(""), overwrite=True
    )
    destination.write_bytes(gzip.compress(destination.with_suffix("").read_bytes(), 1))
    return destination


def test_without_exposures_or_calibration_the_weight_is_all_that_is_known(
    paths: dict[str, Path], rows: pa.Table, records: Records, tmp_path: Path
) -> None:
    few = rows.slice(0, 3)
    wht, _ = stored(paths[plane_path(MOSAIC, "f444w", "wht")])
    gone = {
        name: path
        for name, path in paths.items()
        if "f356w" not in name and not name.endswith("f444w-clear_drc_exp.fits.gz")
    }
    table = read(UDS, UNIT, gone, few).table
    assert table["image_photon_noise"].to_pylist() == [[True, False]] * 3
    assert np.isin(member(table, "ivar")[:, 1], wht).all()
    assert (member(table, "ivar")[:, 1] >= member(records.table, "ivar")[:3, 2]).all()
    name = plane_path(MOSAIC, "f444w", "exp")
    bare = rewritten(paths[name], tmp_path / "bare.fits.gz", drop=("PHOTMJSR",))
    table = read(UDS, UNIT, paths | {name: bare}, few).table  # the image's header has it, too
    np.testing.assert_array_equal(member(table, "ivar"), member(records.table, "ivar")[:3])
    image = plane_path(MOSAIC, "f444w", "sci")
    blank = rewritten(paths[image], tmp_path / "blank.fits.gz", drop=("PHOTMJSR",))
    table = read(UDS, UNIT, paths | {name: bare, image: blank}, few).table
    assert table["image_photon_noise"].to_pylist() == [[True, True, False]] * 3


def test_pixels_without_a_value_are_not_good(paths: dict[str, Path], rows: pa.Table, tmp_path: Path) -> None:
    name = plane_path(MOSAIC, "f444w", "sci")
    pixels, _ = stored(paths[name])
    pixels[::2] = np.nan
    holes = rewritten(paths[name], tmp_path / "holes.fits.gz", pixels)
    table = read(UDS, UNIT, paths | {name: holes}, rows).table
    flux, ivar, mask = (member(table, part)[:, 2] for part in ("flux", "ivar", "mask"))
    assert np.isfinite(flux).all()
    assert 0.2 < mask.mean() < 0.55
    assert (flux[~mask & (ivar == 0)] == 0).mean() > 0.9


def test_objects_that_cannot_be_read_are_told(paths: dict[str, Path], rows: pa.Table) -> None:
    nothing = {name: path for name, path in paths.items() if "_wht" not in name}
    found = read(UDS, UNIT, nothing, rows)
    assert found.excluded == dict.fromkeys(rows["object_id"].to_pylist(), NO_BAND)
    assert found.table.schema.names == UDS.schema.names
    strange = [rows.slice(0, 1).to_pylist()[0], {"object_id": f"{MOSAIC}_99999", "ra": 1.0, "dec": 1.0}]
    found = read(UDS, UNIT, paths, pa.Table.from_pylist(strange))
    assert found.excluded == {f"{MOSAIC}_99999": "not in the catalogue file"}
    assert found.table["object_id"].to_pylist() == [strange[0]["object_id"]]
    assert len(read(UDS, UNIT, paths, rows.slice(0, 0)).table) == 0


def test_catalogue_columns_are_the_file_s_and_null_where_it_has_none(archive: Any, tmp_path: Path) -> None:
    mosaic = "ngdeep-grizli-v7.2"
    path = archive(mosaic)[catalogue_path(mosaic)]
    values, lost = read_catalogue(path, np.array([5, 2, 4]), NGDEEP.facts["bands"])
    assert lost == {}
    table = fits.getdata(path, 1)
    for name in ("id", "mag_auto", "f444w_flux_aper_0", "f277w_etot_2", "flux_radius"):
        np.testing.assert_array_equal(np.asarray(values[name]), table[name][[4, 1, 3]], err_msg=name)
    assert values["flux_aper_3"].null_count == values["f444w_flag_aper_3"].null_count == 3
    assert values["f444w_flag_aper_2"].type == pa.int64()
    column = fits.Column("flag_aper_0", "E", array=np.where(np.arange(len(table)) == 1, np.nan, 7))
    others = [fits.Column(n, "D", array=table[n]) for n in table.dtype.names if n != "flag_aper_0"]
    fits.BinTableHDU.from_columns([*others, column]).writeto(tmp_path / "float.fits")
    values, _ = read_catalogue(tmp_path / "float.fits", np.array([5, 2, 4]), NGDEEP.facts["bands"])
    assert values["flag_aper_0"].to_pylist() == [7, None, 7]
    column.array[3] = 0.5
    fits.BinTableHDU.from_columns([*others, column]).writeto(tmp_path / "broken.fits")
    with pytest.raises(FormatError, match=r"broken\.fits: column flag_aper_0 is not int64"):
        read_catalogue(tmp_path / "broken.fits", np.array([4]), NGDEEP.facts["bands"])


def test_damaged_files_are_told_by_name(paths: dict[str, Path], rows: pa.Table, tmp_path: Path) -> None:
    name = plane_path(MOSAIC, "f200w", "wht")
    broken = tmp_path / "wht.fits.gz"

    def attempt(match: str) -> None:
        with pytest.raises(FormatError, match=match):
            read(UDS, UNIT, paths | {name: broken}, rows.slice(0, 1))

    broken.write_bytes(paths[name].read_bytes()[:300_000])
    attempt("wht.fits.gz: not a whole FITS file")
    broken.write_text("<Error><Code>AccessDenied</Code></Error>")
    attempt("wht.fits.gz: not a whole FITS file")
    small = np.zeros((8, 12), np.float32)
    rewritten(paths[name], broken, small)
    attempt(r"wht.fits.gz: expected the geometry \(\(2000, 2400\)")
    rewritten(paths[name], broken, small, FILTER="F444W")
    attempt("expected the filter f200w, found f444w")
    rewritten(paths[name], broken, small.astype(np.int16))
    attempt("expected pixels of kind 'f', found")
    rewritten(paths[name], broken, small, PHOTFNU=1e-9)
    attempt("expected pixels of 10 nJy, found PHOTFNU = 1e-09 Jy")
    rewritten(paths[name], broken, small[0])
    attempt(r"expected a plane in HDU 0, found the shape \(12,\)")
    name = plane_path(MOSAIC, "f200w", "sci")
    rewritten(paths[name], broken, small, drop=("CTYPE1", "CTYPE2"))
    attempt("wht.fits.gz: Expected RA and Dec in the header")


def test_tiles_of_one_mosaic_share_its_files(archive: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that lacks most bands, as an archive would by 404: every object is built, a few at a time."""
    mosaic = "gds-grizli-v7.2"
    paths = archive(mosaic, "f356w", "f444w")
    (tmp_path / "mirror").mkdir()
    for name, path in paths.items():
        (tmp_path / "mirror" / name).symlink_to(path)
    rows = rows_of(GDS, mosaic, paths)
    monkeypatch.setattr(layout, "TILE_OBJECTS", 6)
    report = build(BuildSpec("jwst", tmp_path, "gds", source=str(tmp_path / "mirror"), workers=0))
    assert report.counts["written"] == len(rows) > 12
    assert [problem for verdict in verify(tmp_path / "jwst") for problem in verdict.problems] == []
    table = mmu.open(tmp_path / "jwst").table(["object_id", "image"])
    assert sorted(table["object_id"].to_pylist()) == sorted(rows["object_id"].to_pylist())
    assert member(table, "band").tolist() == [["f356w", "f444w"]] * len(rows)
    units = pq.read_table(tmp_path / "jwst" / "gds" / "_mmu" / "units.parquet")["unit"].to_pylist()
    assert {f"{mosaic}_0000", f"{mosaic}_0001", f"{mosaic}_0002"} <= set(units)
