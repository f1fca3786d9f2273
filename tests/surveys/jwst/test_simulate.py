"""The simulated mosaics: files like the archive's, pixels that mean what they say, the galaxies that others see."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from mmu import stamps
from mmu.simulate import Sky
from mmu.sky import healpix
from surveys.jwst import SURVEY
from surveys.jwst.simulate import files, write
from surveys.jwst.simulate_mosaics import (
    FILTERS,
    MOSAICS,
    UNITS_PER_NANOMAGGY,
    band_flux,
    calibration,
    count_rate,
    exposure_counts,
    model_plane,
)

SKY = Sky()
NAME = "primer-uds-north-grizli-v7.2"
MOSAIC = MOSAICS[NAME]
BAND = "f200w"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("archive")

    def get(path: str) -> Path:
        if not (root / path).exists():
            write(path, SKY, root / path)
        return root / path

    return get


def plane(archive: Any, kind: str, band: str = BAND) -> tuple[Any, fits.Header]:
    with fits.open(archive(f"{NAME}-{band}-clear_drc_{kind}.fits.gz")) as hdus:
        assert len(hdus) == 1
        return np.array(hdus[0].data), hdus[0].header


def test_the_archive_lists_the_mosaics_of_its_releases() -> None:
    for release in SURVEY.releases:
        listed = files(release.name, SKY)
        assert len(listed) == len(release.facts["mosaics"]) * (1 + 3 * len(release.facts["bands"]))
        assert all(size > 0 for size in listed.values())
    assert not any("f090w" in path for path in files("ngdeep", SKY))
    with pytest.raises(ValueError, match="allowed are ceers"):
        files("smacs", SKY)


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    for path in (
        "nothing.fits",
        NAME,
        f"{NAME}-f410m-clear_drc_sci.fits.gz",
        f"{NAME}-f200w-clear_drc_var.fits.gz",
        "ngdeep-grizli-v7.2-f090w-clear_drc_sci.fits.gz",
    ):
        with pytest.raises(FileNotFoundError, match=r"files\(\)"):
            write(path, SKY, tmp_path / "x")


def test_the_same_file_is_the_same_bytes(archive: Any, tmp_path: Path) -> None:
    for path in (f"{NAME}-f444w-clear_drc_sci.fits.gz", f"{NAME}-fix_phot_apcorr.fits"):
        write(path, Sky(), tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == archive(path).read_bytes()
        assert 0.3 < archive(path).stat().st_size / files("primer-uds", SKY)[path] < 3


def test_planes_look_like_the_archive_s(archive: Any) -> None:
    sci, header = plane(archive, "sci")
    wht, _ = plane(archive, "wht")
    assert sci.shape == wht.shape == (2000, 2400)
    assert sci.dtype == wht.dtype == np.dtype(">f4")
    assert (header["BUNIT"], header["PHOTFNU"], header["FILTER"]) == ("10.0*nanoJansky", 1e-8, "F200W")
    assert header["CRPIX1"] == 1200.5
    assert header["CD1_1"] == pytest.approx(-1.1111111111111e-05)
    exp, cards = plane(archive, "exp")
    assert exp.shape == (500, 600)
    assert exp.dtype == np.uint32
    with fits.open(archive(f"{NAME}-{BAND}-clear_drc_exp.fits.gz"), do_not_scale_image_data=True) as hdus:
        assert (hdus[0].header["BITPIX"], hdus[0].header["BZERO"]) == (32, 2147483648)
    assert (cards["SAMPLE"], cards["NXORIG"], cards["NYORIG"], cards["BUNIT"]) == (4, 2400, 2000, "second")
    assert cards["CRPIX1"] == header["CRPIX1"] / 4
    packed = archive(f"{NAME}-{BAND}-clear_drc_exp.fits.gz").read_bytes()
    assert packed[4:8] == bytes(4)  # no time of day
    assert len(gzip.decompress(packed)) % 2880 == 0


def test_short_pixels_divide_the_long_ones(archive: Any) -> None:
    fine = MOSAICS["gds-grizli-v7.2"]
    assert fine.shape("f200w") == tuple(2 * length for length in fine.shape("f444w"))
    ra, dec = fine.centre(SKY)
    x, y = fine.pixels(SKY, np.array([ra + 0.001]), np.array([dec - 0.002]), "f444w")
    fine_x, fine_y = fine.pixels(SKY, np.array([ra + 0.001]), np.array([dec - 0.002]), "f200w")
    np.testing.assert_allclose([fine_x, fine_y], [2 * x + 0.5, 2 * y + 0.5], atol=1e-9)


def test_projection_is_that_of_the_header(archive: Any) -> None:
    _, header = plane(archive, "exp")
    _, header = plane(archive, "sci")
    objects = MOSAIC.around(SKY)
    ours = np.stack(MOSAIC.pixels(SKY, objects["ra"], objects["dec"], BAND), axis=1)
    theirs = stamps.pixel_positions(stamps.coordinates(header), objects["ra"], objects["dec"])
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_noise_is_what_weight_and_photons_say(archive: Any) -> None:
    sci, _ = plane(archive, "sci")
    wht, _ = plane(archive, "wht")
    exp, _ = plane(archive, "exp")
    model = model_plane(MOSAIC, SKY, BAND)
    counts = exposure_counts(MOSAIC, BAND)
    good = wht > 0
    assert np.all(sci[~good] == 0)
    assert 0.02 < 1 - good.mean() < 0.3
    variance = 1 / wht[good] + model[good] / (count_rate(BAND) * counts[good] * 837)
    chi = (sci[good] - model[good]) / np.sqrt(variance)
    assert chi.std() == pytest.approx(1, abs=0.005)
    assert abs(chi.mean()) < 0.005
    assert set(np.unique(exp)) == {0, 837, 1674, 2511}
    np.testing.assert_array_equal(exp, counts[::4, ::4] * np.uint32(837))


def test_a_source_has_the_flux_of_its_spectrum(archive: Any) -> None:
    objects = MOSAIC.around(SKY)
    x, y = MOSAIC.pixels(SKY, objects["ra"], objects["dec"], BAND)
    gap = np.hypot(x[:, None] - x, y[:, None] - y) + np.eye(len(x)) * 1e9
    inside = (x > 150) & (x < 2250) & (y > 150) & (y < 1850)
    alone = np.flatnonzero((objects["kind"] == "star") & inside & (gap.min(axis=0) > 40))
    model = model_plane(MOSAIC, SKY, BAND)
    assert len(alone) > 0
    flux = band_flux(objects, BAND)
    for index in alone:
        i, j = round(float(y[index])), round(float(x[index]))
        assert model[i - 15 : i + 16, j - 15 : j + 16].sum() == pytest.approx(flux[index], rel=0.03)


def test_infrared_fluxes_join_the_optical_ones() -> None:
    """The bluest band touches z: an object's magnitudes there agree but for its colour."""
    objects = MOSAIC.around(SKY)
    blue = 22.5 - 2.5 * np.log10(band_flux(objects, "f090w") / UNITS_PER_NANOMAGGY)
    assert np.abs(np.median(blue - objects["mag_z"])) < 0.1
    assert np.abs(blue - objects["mag_z"]).max() < 0.8
    assert all(np.isfinite(band_flux(objects, band)).all() for band in FILTERS)
    assert count_rate("f444w") == pytest.approx(0.2733, rel=1e-3)
    assert set(calibration("f444w")) == {"PHOTSCAL", "PHOTFNU", "PHOTMJSR", "PIXAR_SR", "OPHOTFNU"}


def test_the_truth_comes_out_of_the_catalogue(archive: Any) -> None:
    table = fits.getdata(archive(f"{NAME}-fix_phot_apcorr.fits"), 1)
    truth = MOSAIC.around(SKY)
    real = table["mag_auto"] < 27
    gap = healpix.separation_deg(table["ra"][real, None], table["dec"][real, None], truth["ra"], truth["dec"]) * 3600
    match = gap.argmin(axis=1)
    assert gap.min(axis=1).max() < 0.05
    for band in ("f115w", "f444w"):
        flux = table[f"{band}_tot_3"][real]
        seen = np.isfinite(flux)
        np.testing.assert_allclose(flux[seen] * 100, band_flux(truth[match], band)[seen], rtol=0.2)
    assert np.isnan(table["f115w_flux_aper_0"]).any()
    assert table["id"].tolist() == list(range(1, len(table) + 1))
    assert (np.diff(table["y_image"]) > -1).all()
    assert table.dtype["f444w_flag_aper_1"] == np.dtype(">i2")
    with fits.open(archive(f"{NAME}-fix_phot_apcorr.fits")) as hdus:
        assert hdus[1].columns["f444w_flux_aper_1"].unit == "uJy"
        assert hdus[1].header["ZP"] == 28.9


def test_other_surveys_see_the_same_sky() -> None:
    """All mosaics lie in the part of the sky's first field that the demonstration builds images of."""
    for mosaic in MOSAICS.values():
        ra, dec = mosaic.centre(SKY)
        assert healpix.separation_deg(ra, dec, 185.68, 0.06) < 0.1
