"""Real files through the same functions, as far as their formats allow.

No mosaic of the DAWN JWST Archive is among them: there are a NIRCam mosaic's cutouts in seven bands (in MJy/sr, with
several HDUs), a gzipped MIRI image of the JWST pipeline, and another team's catalogue of that NIRCam field.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import Cutout2D

from mmu import stamps
from mmu.errors import FormatError
from surveys.jwst import BANDS
from surveys.jwst.columns import SIZE
from surveys.jwst.mosaic import add_photon_noise, count_rate, open_plane
from surveys.jwst.read import read_catalogue

MIRI = "jw01288015001_04101_00001_mirimage_i2d.fits.gz"
CATALOGUE = "expanse_JOF_psfmatched_MASTER_v11_total_selected.fits"
NUMBERS = (36, 370)


@pytest.fixture
def folder(real_data: Path) -> Path:
    return real_data / "jwst"


def cutout(folder: Path, number: int, band: str) -> Path:
    return folder / "derived_jof_cutouts" / f"jof{number}_{band}_i2d_cutout.fits"


@pytest.mark.parametrize("band", BANDS)
def test_stamps_of_real_nircam_images_are_pixel_exact_and_centred(folder: Path, band: str) -> None:
    with fits.open(folder / CATALOGUE) as hdus:
        table = hdus[1].data
        rows = [int(np.flatnonzero(table["NUMBER"] == number)[0]) for number in NUMBERS]
        ra, dec = (np.array(table[name], dtype=float)[rows] for name in ("ALPHA_J2000", "DELTA_J2000"))
    for number, *position in zip(NUMBERS, ra, dec, strict=True):
        path = cutout(folder, number, band)
        with open_plane(path, "f", name="SCI") as plane:
            wcs = plane.coordinates()
            place = stamps.pixel_positions(wcs, *(np.array([value]) for value in position))
            starts = stamps.stamp_starts(place, SIZE)
            out = np.zeros((1, SIZE, SIZE), np.float32)
            stamps.cut(plane.pixels, starts, out)
            geometry = plane.geometry
        with open_plane(path, "f", name="WHT") as plane:
            assert plane.geometry == geometry
            ivar = np.zeros_like(out)
            stamps.cut(plane.pixels, starts, ivar)
        with fits.open(path) as hdus:
            image = np.array(hdus["SCI"].data)
            position = stamps.coordinates(hdus["SCI"].header).all_world2pix(*position, 0)
        theirs = Cutout2D(image, tuple(map(float, position)), SIZE, mode="partial", fill_value=0)
        np.testing.assert_array_equal(out[0], theirs.data)
        assert stamps.pixel_scale(wcs) == pytest.approx(0.03, abs=1e-6)
        assert np.abs(place - 32).max() < 1.5  # the cutouts are centred on their objects
        stamps.clean(out, ivar)
        assert (ivar >= 0).all()
        assert (ivar > 0).sum() > 0.9 * 65**2


def test_the_object_is_where_its_stamp_s_centre_is(folder: Path) -> None:
    """The galaxy's light in the reddest band has its centre on the catalogue's position, within a pixel."""
    with open_plane(cutout(folder, 36, "f444w"), "f", name="SCI") as plane:
        image = np.nan_to_num(np.asarray(plane.pixels, dtype=float))
        with fits.open(folder / CATALOGUE) as hdus:
            row = hdus[1].data[hdus[1].data["NUMBER"] == 36][0]
            position = np.array([row["ALPHA_J2000"]]), np.array([row["DELTA_J2000"]])
        x, y = stamps.pixel_positions(plane.coordinates(), *position)[0]
    i, j = round(y), round(x)
    box = np.maximum(image[i - 4 : i + 5, j - 4 : j + 5], 0)
    rows, columns = np.indices(box.shape)
    assert abs((columns * box).sum() / box.sum() - 4 + j - x) < 1
    assert abs((rows * box).sum() / box.sum() - 4 + i - y) < 1


def test_calibration_cards_of_other_reductions_give_no_count_rate(folder: Path) -> None:
    """The pipeline's images are in MJy/sr: PHOTMJSR alone does not say what 10 nJy a pixel are."""
    with open_plane(cutout(folder, 36, "f200w"), "f", name="SCI") as plane:
        assert plane.hdu.has("PHOTMJSR")
        assert count_rate(plane.hdu) is None


def test_a_gzipped_image_of_the_pipeline_is_mapped(folder: Path) -> None:
    with open_plane(folder / MIRI, "f", name="SCI") as plane:
        assert plane.pixels.shape == (129, 137)
        scale = stamps.pixel_scale(plane.coordinates())
        assert 0.10 < scale < 0.12
        with fits.open(folder / MIRI) as hdus:
            np.testing.assert_array_equal(np.asarray(plane.pixels), hdus["SCI"].data)
    with (
        pytest.raises(FormatError, match=r"i2d.fits.gz: expected a plane in HDU 0, found the shape \(\)"),
        open_plane(folder / MIRI, "f"),
    ):
        pass
    with pytest.raises(FormatError, match="expected a plane in HDU 3"), open_plane(folder / MIRI, "i", name="CON"):
        pass


def test_photon_noise_follows_the_pipeline_s_own(folder: Path) -> None:
    """The recipe, in the pipeline's units, is VAR_POISSON but for a constant, which holds the electrons a count."""
    with fits.open(folder / MIRI) as hdus:
        sci, poisson, readout = (np.array(hdus[n].data, dtype=np.float32) for n in ("SCI", "VAR_POISSON", "VAR_RNOISE"))
        rate, seconds = 1 / hdus["SCI"].header["PHOTMJSR"], hdus[0].header["EFFEXPTM"]
    good = np.isfinite(sci) & (sci > 0) & (poisson > 0) & (readout > 0)
    flux, ivar = sci[good], (1 / readout[good]).astype(np.float32)
    total = ivar.copy()
    add_photon_noise(total, flux, np.full(flux.shape, seconds, np.float32), rate)
    ours = 1 / total - 1 / ivar
    ratio = poisson[good] / ours
    assert np.corrcoef(poisson[good], ours)[0, 1] > 0.98
    low, middle, high = np.percentile(ratio, [5, 50, 95])
    assert 0.1 < middle < 1
    assert high / low < 1.1


def test_a_catalogue_of_another_team_is_refused_by_name(folder: Path) -> None:
    with pytest.raises(FormatError, match=f"{CATALOGUE}: no column ID in 1"):
        read_catalogue(folder / CATALOGUE, np.array([36]), BANDS)
