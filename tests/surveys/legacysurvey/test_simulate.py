"""The simulated imaging archive: files like the real ones, pixels that mean what they say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image

from mmu.simulate import Field, Sky
from mmu.simulate.bricks import PIXELS, brick_at, members
from mmu.simulate.photometry import nanomaggies
from surveys.legacysurvey.simulate import files, write
from surveys.legacysurvey.simulate_planes import RELEASES, model_plane

SKY = Sky()
SOUTH, NORTH = "dr10_south_21", "dr9_north_21"
BRICK = brick_at(185.625, 0.0)
COADD = f"dr10/south/coadd/{BRICK.name[:3]}/{BRICK.name}/legacysurvey-{BRICK.name}"
MASKED = sum(1 << bit for bit in (0, 1, 2, 3, 4, 5, 6, 7, 11, 14, 15))


def _real(name: str) -> Path:
    root = os.environ.get("MMU_REAL_DATA")
    if not root or not (Path(root) / "legacysurvey" / name).exists():
        pytest.skip("MMU_REAL_DATA is not set, or lacks the file: no real file to compare with")
    return Path(root) / "legacysurvey" / name


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Writes a file of the archive once and returns where it is."""
    root = tmp_path_factory.mktemp("archive")
    done: dict[str, Path] = {}

    def get(path: str) -> Path:
        if path not in done:
            done[path] = root / f"{len(done)}-{path.rpartition('/')[2]}"
            write(path, SKY, done[path])
        return done[path]

    return get


@pytest.fixture(scope="module")
def tractor(archive: Any) -> Any:
    return fits.getdata(archive(f"dr10/south/tractor/{BRICK.name[:3]}/tractor-{BRICK.name}.fits"), 1)


def test_the_archive_lists_the_files_of_its_fields() -> None:
    south, north = files(SOUTH, SKY), files(NORTH, SKY)
    assert len([path for path in south if "/tractor/" in path]) == 9
    assert f"{COADD}-image-i.fits.fz" in south
    assert f"{COADD}-blobmodel.jpg" in south
    assert "dr10/south/sweep/10.1/sweep-180m005-190p000.fits" in south
    assert "dr9/north/sweep/9.0/sweep-210p035-220p040.fits" in north
    assert not any("-i.fits.fz" in path for path in north)
    assert len([path for path in south if path.startswith(COADD)]) == 11
    assert all(size > 0 for size in (south | north).values())


def test_sizes_are_about_right(archive: Any) -> None:
    sizes = files(SOUTH, SKY)
    for path in (f"{COADD}-image-r.fits.fz", f"{COADD}-maskbits.fits.fz", f"{COADD}-invvar-r.fits.fz"):
        assert 0.4 < archive(path).stat().st_size / sizes[path] < 2.5


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    for path in (
        "dr10/south/nothing.fits",
        "dr8/south/x",
        f"{COADD}-image-u.fits.fz",
        f"{COADD}-chi2-g.fits.fz",
    ):
        with pytest.raises(FileNotFoundError, match="files\\(\\)"):
            write(path, SKY, tmp_path / "x")
    with pytest.raises(ValueError, match="allowed are dr10_south_21"):
        files("dr11", SKY)


def test_the_same_file_is_the_same_bytes(archive: Any, tmp_path: Path) -> None:
    model_plane.cache_clear()
    for path in (f"{COADD}-image-r.fits.fz", f"{COADD}-maskbits.fits.fz"):
        write(path, Sky(), tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == archive(path).read_bytes()
    with fits.open(archive(f"{COADD}-invvar-r.fits.fz"), disable_image_compression=True) as hdus:
        assert hdus[1].columns["GZIP_COMPRESSED_DATA"].format == "1PB(0)"  # gzip would carry the time of day
    table = f"dr10/south/tractor/{BRICK.name[:3]}/tractor-{BRICK.name}.fits"
    write(table, Sky(), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == archive(table).read_bytes()


def test_coadds_look_like_the_archive_s(archive: Any) -> None:
    for kind, unit in (("image", "nanomaggy"), ("invvar", "1/nanomaggy^2")):
        with fits.open(archive(f"{COADD}-{kind}-r.fits.fz")) as hdus:
            plane = hdus[1]
            assert plane.data.shape == (PIXELS, PIXELS)
            assert plane.data.dtype == np.dtype(">f4") or plane.data.dtype == np.float32
            assert plane.header["BUNIT"] == unit
            assert plane.header["EXTNAME"] == f"{kind.upper()}_R"
            assert (plane.header["CRVAL1"], plane.header["CRVAL2"]) == (BRICK.ra, BRICK.dec)
            assert plane.header["CRPIX1"] == 1800.5
            assert plane.header["CTYPE1"] == "RA---TAN"
        with fits.open(archive(f"{COADD}-{kind}-r.fits.fz"), disable_image_compression=True) as raw:
            assert raw[1].header["ZQUANTIZ"] == "SUBTRACTIVE_DITHER_2"
            assert raw[1].header["ZCMPTYPE"] in ("RICE_1", "RICE_ONE")
            assert not any("DATE" in card for card in raw[1].header)


def test_coadd_headers_agree_with_a_real_coadd(archive: Any) -> None:
    with fits.open(_real("legacysurvey-0959p805-image-g.fits.fz")) as real:
        theirs = real[1].header
    ours = fits.getheader(archive(f"{COADD}-image-r.fits.fz"), 1)
    for key in (
        "CTYPE1",
        "CTYPE2",
        "CRPIX1",
        "CRPIX2",
        "CD1_2",
        "CD2_1",
        "BUNIT",
        "MAGZERO",
        "EQUINOX",
        "BITPIX",
    ):
        assert ours[key] == theirs[key], key
    for key in ("CD1_1", "CD2_2"):
        assert ours[key] == pytest.approx(theirs[key], rel=1e-9)


def test_noise_is_what_ivar_says(archive: Any) -> None:
    image = fits.getdata(archive(f"{COADD}-image-r.fits.fz"), 1)
    ivar = fits.getdata(archive(f"{COADD}-invvar-r.fits.fz"), 1)
    model = model_plane(RELEASES[SOUTH], SKY, BRICK, "r")
    good = ivar > 0
    assert 0.0005 < 1 - good.mean() < 0.05
    assert np.all(image[~good] == 0)
    chi = ((image - model) * np.sqrt(ivar))[good]
    assert chi.std() == pytest.approx(1.0, abs=0.005)
    assert abs(chi.mean()) < 0.002
    assert len(np.unique(np.round(ivar[good][::997]))) > 1


def test_a_star_stands_on_its_wcs_position(archive: Any) -> None:
    objects, _, _ = members(SKY, BRICK)
    wcs = WCS(fits.getheader(archive(f"{COADD}-image-r.fits.fz"), 1))
    x, y = wcs.all_world2pix(objects["ra"], objects["dec"], 0)
    alone = [
        index
        for index in np.flatnonzero((objects["kind"] == "star") & (objects["mag_r"] < 18))
        if np.sum(np.hypot(x - x[index], y - y[index]) < 45) == 1 and 30 < x[index] < 3570 and 30 < y[index] < 3570
    ]
    model = model_plane(RELEASES[SOUTH], SKY, BRICK, "r")
    assert len(alone) > 2
    for index in alone:
        i, j = round(float(y[index])), round(float(x[index]))
        stamp = model[i - 12 : i + 13, j - 12 : j + 13].astype(float)
        rows, columns = np.indices(stamp.shape)
        assert abs((columns * stamp).sum() / stamp.sum() - 12 + j - x[index]) < 0.02
        assert abs((rows * stamp).sum() / stamp.sum() - 12 + i - y[index]) < 0.02


def test_catalogue_fluxes_scatter_as_flux_ivar_says(tractor: Any) -> None:
    objects, _, _ = members(SKY, BRICK)
    for band in "griz":
        seen = tractor[f"nobs_{band}"] > 0
        pull = (tractor[f"flux_{band}"] - nanomaggies(objects[f"mag_{band}"])) * np.sqrt(tractor[f"flux_ivar_{band}"])
        assert pull[seen].std() == pytest.approx(1.0, abs=0.08)
        assert np.all(tractor[f"flux_{band}"][~seen] == 0)
        dust = -2.5 * np.log10(tractor[f"mw_transmission_{band}"]) / tractor["ebv"]
        assert dust.std() < 1e-3


def test_catalogue_agrees_with_the_mask_image_and_the_truth(archive: Any, tractor: Any) -> None:
    path = archive(f"{COADD}-maskbits.fits.fz")
    mask = fits.getdata(path, 1)
    rows, columns = np.rint(tractor["by"]).astype(int), np.rint(tractor["bx"]).astype(int)
    inside = (rows >= 0) & (rows < PIXELS) & (columns >= 0) & (columns < PIXELS)
    np.testing.assert_array_equal(mask[rows[inside], columns[inside]], tractor["maskbits"][inside])
    objects, x, _ = members(SKY, BRICK)
    assert np.abs(tractor["bx"] - x).max() < 0.3
    offset = np.hypot(
        (tractor["ra"] - objects["ra"]) * np.cos(np.deg2rad(objects["dec"])), tractor["dec"] - objects["dec"]
    )
    assert np.sqrt((offset**2).mean()) * 3600 == pytest.approx(0.0141, rel=0.1)
    primary = (mask & 1) == 0
    assert 3400**2 < primary.sum() < 3450**2
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus[1:]] == ["MASKBITS", "WISEM1", "WISEM2"]
        assert hdus[1].header["MB_NPRIM"] == 1
        assert hdus[1].header["MBIT_14"] == "SATUR_I"


def test_one_brick_yields_the_expected_sample(tractor: Any) -> None:
    magnitude = 22.5 - 2.5 * np.log10(np.maximum(tractor["flux_z"] / tractor["mw_transmission_z"], 1e-9))
    seen = np.all([tractor[f"nobs_{band}"] > 0 for band in "griz"], axis=0)
    kept = (magnitude < 21) & seen & (tractor["type"] != "PSF") & ((tractor["maskbits"] & MASKED) == 0)
    assert 350 < (kept & tractor["brick_primary"]).sum() < 450
    assert 0.005 < 1 - seen.mean() < 0.08
    assert set(np.unique(tractor["type"])) == {"PSF", "REX", "EXP", "DEV", "SER"}


@pytest.mark.parametrize("release", [SOUTH, NORTH])
def test_sweeps_hold_every_primary_source_once(archive: Any, release: str) -> None:
    paths = files(release, SKY)
    sweeps = [fits.getdata(archive(path), 1) for path in paths if "/sweep/" in path]
    keys = [(row["BRICKID"], row["OBJID"]) for sweep in sweeps for row in sweep]
    expected = set()
    for path in (path for path in paths if "/tractor/" in path):
        table = fits.getdata(archive(path), 1)
        rows = table[table["BRICK_PRIMARY"]]
        expected |= set(zip(rows["BRICKID"].tolist(), rows["OBJID"].tolist(), strict=True))
    assert len(keys) == len(set(keys)) == len(expected)
    assert set(keys) == expected
    for sweep, path in zip(sweeps, (path for path in paths if "/sweep/" in path), strict=True):
        ra, dec = float(path[-20:-17]), float(path[-16:-13]) * (-1 if path[-17] == "m" else 1)
        assert np.all((sweep["RA"] >= ra) & (sweep["RA"] < ra + 10) & (sweep["DEC"] >= dec) & (sweep["DEC"] < dec + 5))


def test_dr9_north_has_three_bands_and_upper_case_tractor_columns(archive: Any) -> None:
    path = next(path for path in files(NORTH, SKY) if "/tractor/" in path)
    names = fits.getdata(archive(path), 1).dtype.names
    assert "FLUX_Z" in names
    assert not any(name.endswith("_I") for name in names)
    bricks = fits.getdata(archive("dr9/north/survey-bricks-dr9-north.fits.gz"), 1)
    assert "nexp_i" not in bricks.dtype.names
    assert np.all(bricks["survey_primary"])


def test_columns_have_the_types_of_real_catalogues(archive: Any) -> None:
    real = fits.getdata(_real("tractor-1054p567.fits"), 1)
    path = next(path for path in files(NORTH, SKY) if "/tractor/" in path)
    ours = fits.getdata(archive(path), 1)
    shared = [name for name in ours.dtype.names if name in real.dtype.names]
    assert set(ours.dtype.names) - set(real.dtype.names) == set()
    for name in shared:
        assert ours.dtype[name].newbyteorder("=") == real.dtype[name].newbyteorder("="), name


def test_pictures_are_top_down_colour(archive: Any) -> None:
    with Image.open(archive(f"{COADD}-image.jpg")) as picture:
        assert (picture.size, picture.mode, picture.format) == ((PIXELS, PIXELS), "RGB", "JPEG")
        rgb = np.asarray(picture, dtype=float)
    model = model_plane(RELEASES[SOUTH], SKY, BRICK, "r")
    row, column = np.unravel_index(np.argmax(model), model.shape)
    assert rgb[PIXELS - 1 - row, column].sum() > 600


def test_a_small_field_needs_few_files() -> None:
    sky = Sky(fields=(Field("one", 185.625, 0.0, 0.05),))
    assert len([path for path in files(SOUTH, sky) if "/tractor/" in path]) == 1
    assert files(NORTH, sky).keys() == {"dr9/north/survey-bricks-dr9-north.fits.gz"}
