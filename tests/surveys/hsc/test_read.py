"""Stamps by both routes, checked against the files they were cut from and against the truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS

from mmu.archive import rendering
from mmu.build.run import build
from mmu.build.spec import BuildSpec
from mmu.errors import FormatError
from mmu.kept import VARIABLE
from mmu.schema import arrow_field
from mmu.simulate import Sky
from mmu.survey import Records
from surveys.hsc import SURVEY, archive, simulate
from surveys.hsc.columns import BANDS, CATALOGUE, PLANES, SIZE
from surveys.hsc.cutouts import question, write_tar
from surveys.hsc.read import NO_BAND, OUTSIDE, psf_fwhm, read
from surveys.hsc.simulate_catalogue import rows_for
from surveys.hsc.simulate_field import coadd, model, objects_of

DUD = SURVEY.releases[0]
SKY = Sky()
UNIT = "09594-101"
LIST = f"{UNIT}-cutouts-00"


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    """The objects selected in a patch, in the order of their ids, with the carried columns."""
    group = archive.objects_group(DUD, 9594, 9594, None)
    table = rows_for(SKY, group.files[0].query)
    here = table["patch"] == 101
    names = table["object_id"][here].astype(np.str_).astype(object)
    carried = {c.name: table[c.name][here].astype(c.dtype) for c in CATALOGUE}
    return pa.table({"object_id": names, "ra": table["ra"][here], "dec": table["dec"][here], **carried})


@pytest.fixture(scope="module")
def patch(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root, found = tmp_path_factory.mktemp("patch"), {}
    for file in archive.files(DUD, UNIT):
        found[file.path] = root / file.path.rpartition("/")[2]
        rendering.render("surveys.hsc", file.path, SKY, found[file.path])
    return found


@pytest.fixture(scope="module")
def cutouts(tmp_path_factory: pytest.TempPathFactory, rows: pa.Table) -> dict[str, Path]:
    file = archive.cutouts_file(DUD.facts, LIST, rows)
    path = tmp_path_factory.mktemp("cutouts") / "answer.tar"
    rendering.render("surveys.hsc", file.path, SKY, path, file.query)
    return {file.path: path}


@pytest.fixture(scope="module")
def records(patch: dict[str, Path], rows: pa.Table) -> Records:
    return read(DUD, UNIT, patch, rows)


def stack(table: pa.Table, member: str) -> Any:
    """A member of the image struct, or the bits, as one array."""
    column = (
        table[member].combine_chunks() if member == "image_maskbits" else table["image"].combine_chunks().field(member)
    )
    while pa.types.is_list(column.type):
        column = column.flatten()
    return np.asarray(column).reshape(len(table), -1, SIZE, SIZE)


def edited(paths: dict[str, Path], band: str, folder: Path, change: Any) -> dict[str, Path]:
    """The same files, but one band's changed."""
    path = archive.calexp_path(DUD.facts, UNIT, band)
    target = folder / paths[path].name
    with fits.open(paths[path], memmap=False) as hdus:
        change(hdus)
        hdus.writeto(target, overwrite=True)
    return {**paths, path: target}


def test_records_have_the_schema(records: Records, rows: pa.Table) -> None:
    assert records.excluded == {}
    assert len(rows) > 20
    assert records.table.schema.equals(pa.schema([arrow_field(c) for c in DUD.schema]), check_metadata=True)
    for name in ("object_id", "ra", "dec", "tract", "g_cmodel_mag", "y_sdssshape_shape12"):
        assert records.table[name].to_pylist() == rows[name].to_pylist()
    image = records.table["image"].combine_chunks()
    assert image.field("band").to_pylist()[0] == ["hsc-g", "hsc-r", "hsc-i", "hsc-z", "hsc-y"]
    assert image.field("scale").to_pylist()[0] == pytest.approx([0.168] * 5)
    assert DUD.schema["image"].members[1].zero_point == 27.0
    assert 16e6 < DUD.bytes_per_row * (DUD.row_group_rows or 0) < 32e6


def test_stamps_are_the_pixels_of_the_coadds(patch: dict[str, Path], records: Records, rows: pa.Table) -> None:
    flux, ivar, mask, bits = (stack(records.table, name) for name in ("flux", "ivar", "mask", "image_maskbits"))
    for place, band in enumerate(BANDS):
        with fits.open(patch[archive.calexp_path(DUD.facts, UNIT, band)]) as hdus:
            image, planes, variance = (np.array(hdus[number].data) for number in (1, 2, 3))
            wcs = WCS(hdus[1].header)
        good = np.isfinite(variance) & (variance > 0)
        positions = wcs.all_world2pix(rows["ra"].to_numpy(), rows["dec"].to_numpy(), 0)
        for index, position in enumerate(zip(*positions, strict=True)):
            cut = Cutout2D(np.where(good, image, 0), position, SIZE, mode="partial", fill_value=0)
            np.testing.assert_array_equal(flux[index, place][ivar[index, place] > 0], cut.data[ivar[index, place] > 0])
            if min(position) > 80 and max(position) < 820:
                assert np.abs(np.array(cut.to_cutout_position(position)) - 79.5).max() <= 0.5 + 1e-9
            expected = Cutout2D(
                np.where(good, 1 / np.where(good, variance, 1), 0), position, SIZE, mode="partial", fill_value=0
            )
            np.testing.assert_allclose(ivar[index, place], expected.data, rtol=1e-6)
            theirs = Cutout2D(planes, position, SIZE, mode="partial", fill_value=1 << 8)
            np.testing.assert_array_equal(bits[index, place], theirs.data)
    np.testing.assert_array_equal(mask, (ivar > 0) & ((bits & 0b100000011) == 0))
    assert np.isfinite(flux).all()
    assert np.isfinite(ivar).all()


def test_a_record_does_not_depend_on_the_route(cutouts: dict[str, Path], records: Records, rows: pa.Table) -> None:
    other = read(DUD, LIST, cutouts, rows)
    assert other.excluded == {}
    assert other.table.equals(records.table)


def test_a_build_does_not_depend_on_the_route(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spec(name: str) -> BuildSpec:
        return BuildSpec("hsc", tmp_path / name, source="simulated", regions=("cone:185.65,0.09,0.012",), workers=0)

    cheap = build(spec("cutouts"))
    with monkeypatch.context() as patch:
        patch.setitem(DUD.facts, "patch_bytes", 1)
        patch.delenv(VARIABLE)
        simulate._questions.cache_clear()  # what the simulated services are asked depends on the route
        whole = build(spec("patches"))
    simulate._questions.cache_clear()
    assert whole.counts == cheap.counts
    assert whole.counts["written"] > 2
    one, two = (sorted((tmp_path / name).rglob("Npix=*.parquet")) for name in ("cutouts", "patches"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_objects_stand_where_the_truth_has_them(records: Records, rows: pa.Table) -> None:
    objects, x, y = objects_of(SKY)
    wanted = np.array([int(name) & 0xFFFFFFFF for name in rows["object_id"].to_pylist()])
    index = [int(np.flatnonzero((objects["true_id"] & 0xFFFFFFFF) == one)[0]) for one in wanted]
    plane, star = model(SKY, "i").astype(float), objects["kind"] == "star"
    inside = (x > 40) & (y > 40) & (x < 1560) & (y < 1560)
    chosen = [
        k
        for k in np.flatnonzero(star & inside & (objects["mag_i"] < 20))
        if np.sort(np.hypot(x - x[k], y - y[k]))[1] > 25
    ]
    errors = []
    for k in map(int, chosen):
        middle = round(float(y[k])), round(float(x[k]))
        stamp = plane[middle[0] - 12 : middle[0] + 13, middle[1] - 12 : middle[1] + 13]
        stamp = np.maximum(stamp - np.median(stamp[[0, -1]]), 0)  # light of neighbours
        ys, xs = np.indices(stamp.shape)
        errors.append(abs((xs * stamp).sum() / stamp.sum() - 12 + middle[1] - x[k]))
        errors.append(abs((ys * stamp).sum() / stamp.sum() - 12 + middle[0] - y[k]))
    assert len(chosen) >= 3
    assert np.median(errors) < 0.02
    flux, ivar = stack(records.table, "flux")[:, 2], stack(records.table, "ivar")[:, 2]
    image, _, _ = coadd(SKY, "pdr3_dud_rev", "i")
    offsets = []
    for number, k in enumerate(index):
        left, bottom = (int(np.ceil(place - SIZE / 2 - 1e-9)) for place in (x[k], y[k]))
        if 0 <= left < 1600 - SIZE and 0 <= bottom < 1600 - SIZE and (ivar[number] > 0).all():
            same = image[bottom : bottom + SIZE, left : left + SIZE]
            offsets.append(float(np.abs(flux[number] - same).max()))
    assert len(offsets) > 5
    assert np.median(offsets) == 0, "catalogue and truth differ by 0.01 pixel, so a stamp may begin one further"


def test_a_band_that_is_absent_is_left_out(patch: dict[str, Path], records: Records, rows: pa.Table) -> None:
    less = {path: local for path, local in patch.items() if "HSC-Z" not in path}
    found = read(DUD, UNIT, less, rows)
    assert found.excluded == {}
    assert found.table["image"].combine_chunks().field("band").to_pylist()[0] == ["hsc-g", "hsc-r", "hsc-i", "hsc-y"]
    np.testing.assert_array_equal(stack(found.table, "flux"), stack(records.table, "flux")[:, [0, 1, 2, 4]])
    nothing = read(DUD, UNIT, {}, rows)
    assert set(nothing.excluded.values()) == {NO_BAND}
    assert len(nothing.excluded) == len(rows)


def test_cutouts_may_lack_different_bands(cutouts: dict[str, Path], tmp_path: Path, rows: pa.Table) -> None:
    from surveys.hsc.cutouts import read_tar

    (name, path), few = next(iter(cutouts.items())), rows.slice(0, 3)
    ids = few["object_id"].to_pylist()
    names = [f"{one}-HSC-{band.upper()}.fits" for band in BANDS for one in ids]
    dropped = {f"{ids[0]}-HSC-Y.fits", *(n for n in names if n.startswith(ids[2]))}
    kept = [(n, data) for n, data in read_tar(path, names) if n not in dropped]
    write_tar(tmp_path / "less.tar", kept, names)
    found = read(DUD, LIST, {name: tmp_path / "less.tar"}, few)
    assert found.excluded == {ids[2]: OUTSIDE}
    bands = {row["object_id"]: row["image"]["band"] for row in found.table.select(["object_id", "image"]).to_pylist()}
    assert {key: len(value) for key, value in bands.items()} == {ids[0]: 4, ids[1]: 5}
    write_tar(tmp_path / "short.tar", kept, [n for n, _ in kept])
    with pytest.raises(FormatError, match="lacks 6 of the 16 members"):
        read(DUD, LIST, {name: tmp_path / "short.tar"}, few)
    (tmp_path / "cut.tar").write_bytes(path.read_bytes()[:200_000])
    with pytest.raises(FormatError, match=r"cut\.tar lacks"):
        read(DUD, LIST, {name: tmp_path / "cut.tar"}, few)
    write_tar(tmp_path / "bad.tar", [(n, data[:5000]) for n, data in kept], names)
    with pytest.raises(FormatError, match=r"HSC-G\.fits: not a whole FITS file"):
        read(DUD, LIST, {name: tmp_path / "bad.tar"}, few)


def test_stamps_over_the_edge_are_padded_and_masked(patch: dict[str, Path], rows: pa.Table) -> None:
    with fits.open(patch[archive.calexp_path(DUD.facts, UNIT, "i")]) as hdus:
        wcs, image = WCS(hdus[1].header), np.array(hdus[1].data)
    ra, dec = wcs.all_pix2world([5.3, 300.3, -59.7, -90.0], [400.3, 890.3, 400.3, 400.3], 0)
    few = rows.slice(0, 4).set_column(1, "ra", pa.array(ra)).set_column(2, "dec", pa.array(dec))
    found = read(DUD, UNIT, patch, few)
    assert found.excluded == {few["object_id"][3].as_py(): OUTSIDE}
    flux, ivar, mask, bits = (stack(found.table, name)[:, 2] for name in ("flux", "ivar", "mask", "image_maskbits"))
    beyond = np.pad(np.zeros(image.shape, bool), SIZE, constant_values=True)
    starts = np.ceil(np.array([[5.3, 400.3], [300.3, 890.3], [-59.7, 400.3]]) - SIZE / 2).astype(int) + SIZE
    outside = np.stack([beyond[b : b + SIZE, a : a + SIZE] for a, b in starts])
    assert not mask[outside].any()
    assert (bits[outside] == 1 << PLANES["NO_DATA"]).all()
    assert (flux[outside] == 0).all()
    assert (ivar[outside] == 0).all()
    assert mask[~outside].mean() > 0.9
    assert flux[2, 79, 139] == image[400, 0]


def test_zero_and_missing_variance_are_masked(patch: dict[str, Path], rows: pa.Table, tmp_path: Path) -> None:
    with fits.open(patch[archive.calexp_path(DUD.facts, UNIT, "r")]) as hdus:
        x, y = (
            round(float(v)) for v in WCS(hdus[1].header).all_world2pix(rows["ra"][0].as_py(), rows["dec"][0].as_py(), 0)
        )

    def spoil(hdus: Any) -> None:
        for offset, value in enumerate((0.0, np.nan, np.inf, -1.0)):
            hdus[3].data[y, x + offset] = value
        hdus[1].data[y + 1, x] = np.nan

    found = read(DUD, UNIT, edited(patch, "r", tmp_path, spoil), rows.slice(0, 1))
    flux, ivar, mask = (stack(found.table, name)[0, 1] for name in ("flux", "ivar", "mask"))
    assert np.isfinite(ivar).all()
    assert np.isfinite(flux).all()
    row, column = np.argwhere(ivar[:-1, :-3] == 0)[0]
    assert (ivar[row, column : column + 4] == 0).all()
    assert not mask[row, column : column + 4].any()
    assert (flux[row + 1, column], ivar[row + 1, column], mask[row + 1, column]) == (0, 0, False)


def test_mask_planes_go_by_their_names(
    patch: dict[str, Path], records: Records, rows: pa.Table, tmp_path: Path
) -> None:
    def renumber(hdus: Any) -> None:
        bits, new = hdus[2].data, np.zeros_like(hdus[2].data)
        for name, bit in PLANES.items():
            new |= ((bits >> bit) & 1) << (20 - bit)
            key = f"MP_{name}"
            hdus[2].header[key] = 20 - bit
        new |= 1 << 25
        hdus[2].header["MP_NEW"] = 25
        hdus[2].data[:] = new

    found = read(DUD, UNIT, edited(patch, "g", tmp_path, renumber), rows)
    assert found.table.equals(records.table)

    def nameless(hdus: Any) -> None:
        del hdus[2].header["MP_NO_DATA"]

    with pytest.raises(
        FormatError, match=r"calexp-HSC-G-9594-1,1\.fits: the mask has no plane NO_DATA; it has BAD, BR"
    ):
        read(DUD, UNIT, edited(patch, "g", tmp_path, nameless), rows)


def test_compressed_coadds_are_the_same(
    patch: dict[str, Path], records: Records, rows: pa.Table, tmp_path: Path
) -> None:
    path = archive.calexp_path(DUD.facts, UNIT, "z")
    with fits.open(patch[path]) as hdus:
        kinds = [
            fits.CompImageHDU(hdu.data, hdu.header, compression_type="GZIP_2", quantize_level=0) for hdu in hdus[1:4]
        ]
        fits.HDUList([hdus[0], *kinds]).writeto(tmp_path / "packed.fits")
    found = read(DUD, UNIT, {**patch, path: tmp_path / "packed.fits"}, rows)
    assert found.table.equals(records.table)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda hdus: hdus.pop(3), "no VARIANCE plane among its 4 HDUs"),
        (lambda hdus: hdus[0].header.set("FLUXMAG0", 3.63e12), "its FLUXMAG0 is 3630000000000.0"),
        (lambda hdus: hdus[1].header.set("CTYPE1", "RA---SIN"), "expected a tangent plane, found 'RA---SIN'"),
        (lambda hdus: hdus[1].header.set("CD1_1", -7.3e-5), "expected pixels of 0.168 arcsec"),
        (lambda hdus: hdus[1].header.set("CRPIX1", 3.25), "expected the tract's centre on a pixel"),
        (lambda hdus: hdus[1].header.remove("CRVAL2"), "no CRVAL2"),
        (lambda hdus: setattr(hdus[2], "data", hdus[2].data[:-1]), "three planes of one shape"),
        (lambda hdus: setattr(hdus[2], "data", hdus[2].data.astype("f4")), "expected floats, bits and floats"),
    ],
)
def test_another_data_model_is_an_error_that_says_so(
    patch: dict[str, Path], rows: pa.Table, tmp_path: Path, change: Any, words: str
) -> None:
    paths = edited(patch, "g", tmp_path, change)
    with pytest.raises(FormatError, match=words) as caught:
        read(DUD, UNIT, paths, rows)
    assert "calexp-HSC-G-9594-1,1.fits" in str(caught.value)


def test_a_truncated_coadd_is_an_error(patch: dict[str, Path], rows: pa.Table, tmp_path: Path) -> None:
    path = archive.calexp_path(DUD.facts, UNIT, "g")
    (tmp_path / "calexp.fits").write_bytes(patch[path].read_bytes()[:1_000_000])
    with pytest.raises(FormatError, match=r"calexp\.fits: not a whole FITS file"):
        read(DUD, UNIT, {**patch, path: tmp_path / "calexp.fits"}, rows)


def test_nothing_asked_nothing_given(patch: dict[str, Path], rows: pa.Table) -> None:
    found = read(DUD, UNIT, patch, rows.slice(0, 0))
    assert (len(found.table), found.excluded) == (0, {})
    assert found.table.schema.names == DUD.schema.names


def test_some_of_a_list_may_be_asked_for(cutouts: dict[str, Path], records: Records, rows: pa.Table) -> None:
    found = read(DUD, LIST, cutouts, rows.slice(4, 2))
    assert found.table.equals(records.table.slice(4, 2).combine_chunks())
    assert question("pdr3_wide", 1, rows.slice(0, 0)) == ""


def test_the_width_of_the_psf() -> None:
    moments = {11: [0.04, 0.09, np.nan, 0.01, -1.0], 22: [0.04, 0.01, 0.04, 0.01, 1.0], 12: [0.0, 0.0, 0.0, 0.02, 0.0]}
    table = pa.table(
        {f"g_sdssshape_psf_shape{which}": pa.array(values, pa.float32()) for which, values in moments.items()}
    )
    np.testing.assert_allclose(psf_fwhm(table, "g"), [2.355 * 0.2, 2.355 * np.sqrt(0.03), 0, 0, 0], rtol=1e-6)
    release = replace(DUD, name="other")
    assert release.schema is DUD.schema
