"""Stamps, masks, neighbours and pictures of a simulated brick, checked against the files they were cut from."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS
from PIL import Image

from mmu import stamps
from mmu.errors import FormatError
from mmu.schema import arrow_field
from mmu.simulate import Field, Sky
from mmu.sky import healpix
from mmu.survey import Group, Records, Release, cut_reasons
from surveys.legacysurvey import SURVEY, neighbours
from surveys.legacysurvey.archive import coadd_path, tractor_path
from surveys.legacysurvey.fitsfile import read_columns, read_plane
from surveys.legacysurvey.read import MOVED, NO_BAND, NOT_LISTED, cut_images, read

SKY = Sky(fields=(Field("edge", 185.70, 0.0, 0.09), Field("north", 213.70, 35.70, 0.04)))
SOUTH, NORTH = SURVEY.releases
BRICKS = {SOUTH.name: "1856p000", NORTH.name: "2136p357"}
BRICK = BRICKS[SOUTH.name]
SIZE = 160
CENTRE = (SIZE - 1) / 2


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The files of a release's brick, written when first asked for."""
    root = tmp_path_factory.mktemp("archive")

    def get(release: Release) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for file in SURVEY.archive.files(release, BRICKS[release.name]):
            found[file.path] = root / file.path
            found[file.path].parent.mkdir(parents=True, exist_ok=True)
            if not found[file.path].exists():
                SURVEY.simulator.write(file.path, SKY, found[file.path])
        return found

    return get


def rows_of(release: Release, paths: dict[str, Path], brick: str) -> pa.Table:
    file = SURVEY.archive.files(release, brick)[0]
    found = SURVEY.archive.select(release, Group(brick, (file,)), paths)
    kept = np.flatnonzero(cut_reasons(found.cuts, len(found.ra)) < 0)
    kept = kept[np.argsort(healpix.pixel(found.ra[kept], found.dec[kept]))]
    names = found.object_id[kept].astype(object)
    return pa.table({"object_id": names, "ra": found.ra[kept], "dec": found.dec[kept]})


@pytest.fixture(scope="module")
def paths(archive: Any) -> dict[str, Path]:
    found: dict[str, Path] = archive(SOUTH)
    return found


@pytest.fixture(scope="module")
def rows(paths: dict[str, Path]) -> pa.Table:
    return rows_of(SOUTH, paths, BRICK)


@pytest.fixture(scope="module")
def records(paths: dict[str, Path], rows: pa.Table) -> Records:
    return read(SOUTH, BRICK, paths, rows)


@pytest.fixture(scope="module")
def tractor(paths: dict[str, Path]) -> dict[str, Any]:
    names = "OBJID RA DEC TYPE FLUX_G FLUX_I SHAPE_R BX BY".split()
    return read_columns(paths[tractor_path(SOUTH.facts, BRICK)], names)


def planes_of(table: pa.Table, member: str) -> Any:
    """A member of the image struct as one array, (N, bands, 160, 160)."""
    values = table["image"].combine_chunks().field(member)
    while pa.types.is_list(values.type):
        values = values.flatten()
    return np.asarray(values).reshape(len(table), -1, SIZE, SIZE)


def coadd(paths: dict[str, Path], kind: str) -> Any:
    with fits.open(paths[coadd_path(SOUTH.facts, BRICK, kind)]) as hdus:
        return np.array(hdus[1].data), hdus[1].header


def pictures_of(column: Any) -> list[Any]:
    return [np.asarray(Image.open(io.BytesIO(one["bytes"]))) for one in column.to_pylist()]


def test_records_have_the_schema_and_the_order_of_the_rows(records: Records, rows: pa.Table) -> None:
    assert records.excluded == {}
    assert len(rows) > 20
    assert records.table.schema.equals(pa.schema([arrow_field(c) for c in SOUTH.schema]), check_metadata=True)
    for name in ("object_id", "ra", "dec"):
        assert records.table[name].to_pylist() == rows[name].to_pylist()
    assert all(column.null_count == 0 for column in records.table.columns)
    assert records.table["image"].combine_chunks().field("band").to_pylist()[0] == ["des-g", "des-r", "des-i", "des-z"]
    assert 16e6 < SOUTH.bytes_per_row * (SOUTH.row_group_rows or 0) < 32e6


def test_stamps_are_the_pixels_of_the_planes(paths: dict[str, Path], records: Records) -> None:
    table = records.table
    flux, ivar, mask = (planes_of(table, name) for name in ("flux", "ivar", "mask"))
    bits = np.asarray(pc.list_flatten(pc.list_flatten(table["image_maskbits"]))).reshape(-1, SIZE, SIZE)
    for place, band in enumerate("griz"):
        image, header = coadd(paths, f"image-{band}.fits.fz")
        inverse, _ = coadd(paths, f"invvar-{band}.fits.fz")
        positions = WCS(header).all_world2pix(table["ra"], table["dec"], 0)
        for index, position in enumerate(zip(*positions, strict=True)):
            ours, theirs = flux[index, place], Cutout2D(image, position, SIZE, mode="partial", fill_value=0)
            np.testing.assert_array_equal(ours, theirs.data)
            np.testing.assert_array_equal(ivar[index, place], Cutout2D(inverse, position, SIZE).data)
            assert np.abs(np.array(theirs.to_cutout_position(position)) - 79.5).max() <= 0.5 + 1e-9
    np.testing.assert_array_equal(mask, (ivar > 0) & ((bits & 0b1100100011111110) == 0)[:, None])
    outside = ((bits & 1) == 1) & ((bits & ~1) == 0)
    assert outside.any()
    assert np.all(mask.swapaxes(1, 2).swapaxes(2, 3)[outside] == (ivar > 0).swapaxes(1, 2).swapaxes(2, 3)[outside])


def test_point_sources_are_centred(paths: dict[str, Path], tractor: dict[str, Any]) -> None:
    flux = tractor["FLUX_I"]
    bright = np.flatnonzero((tractor["TYPE"] == "PSF") & (flux > 15) & (flux < 1000))
    apart = np.hypot(tractor["BX"][bright, None] - tractor["BX"], tractor["BY"][bright, None] - tractor["BY"])
    alone = bright[((apart < 25) & (flux > 0.01 * flux[bright, None])).sum(axis=1) == 1]
    local = {kind: paths[coadd_path(SOUTH.facts, BRICK, kind)] for kind in SOUTH.facts["kinds"]}
    images = cut_images(local, BRICK, "i", tractor["RA"][alone], tractor["DEC"][alone], ())
    clean = np.array([np.all(ivar[0, 70:90, 70:90] > 0) for ivar in images.ivar])
    core = images.flux[clean, 0, 72:88, 72:88].astype(float)
    axis = np.arange(72, 88)
    found = np.stack([(core.sum(1) * axis).sum(1), (core.sum(2) * axis).sum(1)], 1) / core.sum((1, 2))[:, None]
    expected = stamps.pixel_positions(images.wcs, tractor["RA"][alone], tractor["DEC"][alone]) - images.starts
    assert len(found) >= 5
    assert np.abs(found - 79.5).max() < 0.65  # half a pixel, and the noise of the centroid
    assert np.abs(found.mean() - 79.5) < 0.2
    assert np.abs(np.median(found - expected[clean])) < 0.05


def test_starts_put_the_centre_nearest_to_the_position() -> None:
    positions = np.array([[79.5, 79.5], [80.0, 79.0], [80.01, 78.99], [1000.49, 1000.51]])
    assert stamps.stamp_starts(positions, 160).tolist() == [[0, 0], [0, -1], [1, -1], [921, 921]]
    offset = np.random.default_rng(1).uniform(200, 3000, (1000, 2))
    distance = offset - stamps.stamp_starts(offset, 160) - CENTRE
    assert np.abs(distance).max() <= 0.5
    assert np.abs(distance.mean()) < 0.05


def test_stamps_over_the_edge_are_padded_never_lost() -> None:
    plane = np.arange(1, 301 * 301 + 1, dtype=np.float32).reshape(301, 301)
    starts = np.array([[-100, 20], [250, 250], [-500, 0], [0, 141]])
    out = np.zeros((4, SIZE, SIZE), np.float32)
    stamps.cut(plane, starts, out)
    padded = np.pad(plane, 600)
    for stamp, (x, y) in zip(out, starts, strict=True):
        np.testing.assert_array_equal(stamp, padded[y + 600 : y + 760, x + 600 : x + 760])
    assert (out[2] == 0).all()


def test_pixels_without_a_value_are_not_good() -> None:
    flux, ivar = np.ones((1, 2, 3), np.float32), np.ones((1, 2, 3), np.float32)
    flux[0, 0] = [np.nan, np.inf, 2]
    ivar[0, 1] = [np.nan, -1, np.inf]
    stamps.clean(flux, ivar)
    assert flux.tolist() == [[[0, 0, 2], [1, 1, 1]]]
    assert ivar.tolist() == [[[0, 0, 1], [0, 0, 0]]]


def test_neighbours_are_the_brightest_sources_of_the_stamp(records: Records, tractor: dict[str, Any]) -> None:
    lists = records.table["catalog"].to_pylist()
    position = np.stack([tractor["BX"], tractor["BY"]], 1).astype(float)
    kinds = set()
    for name, found in zip(records.table["object_id"].to_pylist(), lists, strict=True):
        target = np.flatnonzero(tractor["OBJID"] == int(name.split("-")[1]))[0]
        start = stamps.stamp_starts(position[target : target + 1], 160)[0]
        place = np.floor(position - start + 0.5)
        inside = np.flatnonzero(np.all((place >= 0) & (place < SIZE), axis=1))
        brightest = inside[np.argsort(-tractor["FLUX_I"][inside], kind="stable")][:20]
        np.testing.assert_array_equal(found["FLUX_I"], tractor["FLUX_I"][brightest])
        np.testing.assert_allclose(found["X"], position[brightest, 0] - start[0], atol=2e-3)
        assert np.hypot(np.array(found["X"]) - 79.5, np.array(found["Y"]) - 79.5).min() <= 0.72
        kinds |= set(found["TYPE"])
    assert 1 in kinds


def sources(position: Any, flux: Any, **columns: Any) -> neighbours.Sources:
    count = len(flux)
    table = {name: np.zeros(count, "f4") for name in ("SHAPE_R", "SHAPE_E1", "SHAPE_E2")}
    table |= {"FLUX_I": np.asarray(flux, "f4"), "TYPE": np.full(count, "PSF")} | columns
    return neighbours.brightest_first(table, np.asarray(position, float), "FLUX_I")


def test_first_and_last_rows_and_columns_belong_to_a_stamp() -> None:
    position = [[0, 80], [159.4, 80], [159.6, 80], [80, -0.4], [80, -0.6], [80, 159], [np.nan, 0], [79, 79]]
    found = sources(position, [8, 7, 6, 5, 4, 3, 2, 1])
    _, source = neighbours.in_stamps(found, np.array([[0, 0]]), np.array([7]))
    assert source.tolist() == [0, 1, 3, 5, 7]


def test_the_target_is_listed_even_among_brighter_ones() -> None:
    position = np.random.default_rng(2).uniform(0, 159, (30, 2))
    found = sources(position, np.arange(30, 0, -1))
    _, source = neighbours.in_stamps(found, np.array([[0, 0]]), np.array([27]))
    assert source.tolist() == [*range(19), 27]
    members = neighbours.neighbour_list(found, np.array([[0, 0], [9999, 9999]]), np.array([3, 4]), ("FLUX_I",))
    assert [len(one) for one in members["FLUX_I"].to_pylist()] == [20, 1]


@pytest.mark.parametrize("radius", [3.0, 12.0])  # drawn with others, and alone
def test_object_masks_are_ellipses_at_the_position_angle(radius: float) -> None:
    ratio, angle = 0.4, np.deg2rad(30)  # east of north
    e = (1 - ratio) / (1 + ratio)
    shape = {"SHAPE_R": [radius, 0], "SHAPE_E1": [e * np.cos(2 * angle), 0], "SHAPE_E2": [e * np.sin(2 * angle), 0]}
    columns = {name: np.array(values, "f4") for name, values in shape.items()} | {"TYPE": np.array(["SER", "PSF"])}
    found = sources([[300.3, 299.8], [450, 20]], [2, 1], **columns)
    plane = neighbours.type_plane(found, 600, 0.262, np.array([1.3, 1.3]))
    y, x = np.nonzero(plane == 5)
    half = 2 * radius / 0.262
    assert x.mean() == pytest.approx(300.3, abs=0.1)
    assert len(x) == pytest.approx(np.pi * half**2 * ratio, rel=0.02)
    along = (y - 299.8) * np.cos(angle) - (x - 300.3) * np.sin(angle)
    assert np.abs(along).max() == pytest.approx(half, rel=0.05)
    assert np.sum(plane == 1) == pytest.approx(np.pi * (0.65 / 0.262) ** 2, rel=0.2)


def test_brighter_sources_lie_on_top() -> None:
    columns = {"TYPE": np.array(["EXP", "DEV", "REX"]), "SHAPE_R": np.array([1.0, 2.0, 30.0], "f4")}
    found = sources([[100, 100]] * 3, [5, 9, 1], **columns)
    plane = neighbours.type_plane(found, 200, 0.262, np.ones(3))
    assert plane[100, 100] == 4
    assert set(np.unique(plane)) == {2, 4}


def test_pictures_are_those_of_the_archive_turned_south_down(
    paths: dict[str, Path], records: Records, tractor: dict[str, Any]
) -> None:
    whole = np.asarray(Image.open(paths[coadd_path(SOUTH.facts, BRICK, "image.jpg")]))[::-1]
    _, header = coadd(paths, "image-g.fits.fz")
    x, y = WCS(header).all_world2pix(records.table["ra"], records.table["dec"], 0)
    for index, picture in enumerate(pictures_of(records.table["rgb"])):
        a, b = int(np.floor(x[index] - 79)), int(np.floor(y[index] - 79))
        np.testing.assert_array_equal(picture, whole[b : b + SIZE, a : a + SIZE])
    codes = pictures_of(records.table["object_mask"])
    kinds = records.table["TYPE"].to_pylist()
    agree = [code[79:81, 79:81].max() == neighbours.TYPE_CODES[k] for code, k in zip(codes, kinds, strict=True)]
    assert np.mean(agree) > 0.9
    assert all(code.shape == (SIZE, SIZE) for code in codes)


def test_a_band_absent_upstream_is_left_out_and_pictures_are_null(paths: dict[str, Path], rows: pa.Table) -> None:
    gone = ("invvar-i.fits.fz", "image.jpg")
    fewer = {name: path for name, path in paths.items() if not name.endswith(gone)}
    table = read(SOUTH, BRICK, fewer, rows.slice(0, 2)).table
    assert table["image"].combine_chunks().field("band").to_pylist() == [["des-g", "des-r", "des-z"]] * 2
    assert planes_of(table, "flux").shape == (2, 3, SIZE, SIZE)
    assert table["rgb"].null_count == 2
    assert table["blobmodel"].null_count == 0


def test_objects_that_cannot_be_read_are_told(paths: dict[str, Path], rows: pa.Table) -> None:
    none = {name: path for name, path in paths.items() if "image-" not in name}
    found = read(SOUTH, BRICK, none, rows)
    assert found.excluded == dict.fromkeys(rows["object_id"].to_pylist(), NO_BAND)
    assert found.table.schema.names == SOUTH.schema.names
    first = rows.slice(0, 1).to_pylist()[0]
    strange = [
        first | {"object_id": f"{BRICK}-99999"},
        rows.slice(1, 1).to_pylist()[0] | {"dec": first["dec"]},
    ]
    found = read(SOUTH, BRICK, paths, pa.Table.from_pylist(strange))
    assert found.excluded == {f"{BRICK}-99999": NOT_LISTED, strange[1]["object_id"]: MOVED}
    assert len(found.table) == 0


def test_the_northern_release_is_only_data(archive: Any) -> None:
    paths, brick = archive(NORTH), BRICKS[NORTH.name]
    rows = rows_of(NORTH, paths, brick)
    found = read(NORTH, brick, paths, rows)
    assert len(found.table) == len(rows) > 3
    assert found.table["image"].combine_chunks().field("band").to_pylist()[0] == ["bass-g", "bass-r", "mzls-z"]
    assert not [name for name in found.table.schema.names if name.endswith("_I")]
    assert found.table.schema.field("MASKBITS").type == pa.int16()
    assert "FLUX_I" not in found.table["catalog"].combine_chunks().type.names
    fluxes = [one["FLUX_Z"] for one in found.table["catalog"].to_pylist()]
    assert all(flux == sorted(flux, reverse=True) for flux in fluxes)


def test_damaged_files_are_told_by_name(paths: dict[str, Path], rows: pa.Table, tmp_path: Path) -> None:
    name = coadd_path(SOUTH.facts, BRICK, "image-g.fits.fz")
    broken = tmp_path / "image-g.fits.fz"

    def attempt(match: str) -> None:
        with pytest.raises(FormatError, match=match):
            read(SOUTH, BRICK, paths | {name: broken}, rows.slice(0, 1))

    broken.write_bytes(paths[name].read_bytes()[:3_000_000])
    attempt("image-g.fits.fz: not a whole FITS file")
    broken.write_text("<html>busy</html>")
    attempt("image-g.fits.fz: not a whole FITS file")
    fits.HDUList([fits.PrimaryHDU()]).writeto(broken, overwrite=True)
    attempt("expected an image HDU")
    fits.PrimaryHDU(np.zeros((20, 30), np.float32)).writeto(broken, overwrite=True)
    attempt(r"expected a square plane of at most 8192 pixels, found \(20, 30\)")
    fits.PrimaryHDU(np.zeros((20, 20), np.int16)).writeto(broken, overwrite=True)
    attempt("expected pixels of kind 'f', found")
    other = fits.PrimaryHDU(np.zeros((20, 20), np.float32))
    other.header["BRICK"] = "0001m002"
    other.writeto(broken, overwrite=True)
    attempt("expected brick 1856p000, found '0001m002'")
    fits.PrimaryHDU(np.zeros((20, 20), np.float32)).writeto(broken, overwrite=True)
    attempt("Expected RA and Dec in the header")


def test_a_plane_that_promises_too_much_is_refused_unread(tmp_path: Path) -> None:
    hdu = fits.CompImageHDU(np.zeros((200, 200), np.int16), tile_shape=(100, 100))
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "huge.fits")
    text = (tmp_path / "huge.fits").read_bytes()
    for axis in (b"1", b"2"):
        text = text.replace(b"ZNAXIS%s =                  200" % axis, b"ZNAXIS%s =                90000" % axis)
    (tmp_path / "huge.fits").write_bytes(text)
    with pytest.raises(FormatError, match=r"at most 8192 pixels, found \(90000, 90000\)"):
        read_plane(tmp_path / "huge.fits", "f")


def test_the_v1_layout_has_the_names_that_v1_loaders_read() -> None:
    names = {column.name: column for column in SOUTH.hdf5}
    bands = "GRIZ"
    loader = "object_id image_band image_array image_mask image_ivar image_psf_fwhm image_scale blobmodel image_rgb"
    wanted = [*loader.split(), "object_mask", *(f"catalog_FLUX_{band}" for band in bands), "EBV", "TYPE", "ra", "dec"]
    wanted += [f"catalog_{name}" for name in "TYPE SHAPE_R SHAPE_E1 SHAPE_E2 X Y".split()]
    wanted += [f"FLUX_{band}" for band in (*bands, "W1", "W2", "W3", "W4")] + ["SHAPE_R", "SHAPE_E1", "SHAPE_E2"]
    assert set(wanted) <= names.keys()
    assert (names["object_id"].dtype, names["image_band"].dtype, names["TYPE"].dtype) == ("S16", "S5", "S3")
    assert names["catalog_X"].length == 20
    assert names["DCHISQ"].dtype == "f4"
    for column in SOUTH.hdf5:
        top, _, member = column.source.partition(".")
        assert top in SOUTH.schema
        assert not member or member in [one.name for one in SOUTH.schema[top].members]


@pytest.mark.parametrize("other", ["image-r", "invvar-g"])
def test_a_plane_of_another_band_or_kind_is_refused(paths: dict[str, Path], rows: pa.Table, other: str) -> None:
    mine, his = (coadd_path(SOUTH.facts, BRICK, f"{kind}.fits.fz") for kind in ("image-g", other))
    with pytest.raises(FormatError, match=r"expected image-g, found (FILTER 'r'|IMTYPE 'invvar') in the header"):
        read(SOUTH, BRICK, paths | {mine: paths[his]}, rows.slice(0, 1))
