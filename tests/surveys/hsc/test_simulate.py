"""The simulated archive: the true sky map, the archive's headers, noise that its variance promises, equal bytes."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from mmu.archive.source import FolderSource
from mmu.build.run import build
from mmu.build.spec import BuildSpec
from mmu.simulate import Sky
from mmu.simulate.photometry import nanomaggies
from surveys.hsc import SURVEY, archive
from surveys.hsc.columns import BANDS, PLANES
from surveys.hsc.simulate import cutout, files, write
from surveys.hsc.simulate_catalogue import NANOJANSKY, measured
from surveys.hsc.simulate_field import COUNTS, SIDE, TRACT, coadd, model, objects_of, patches, tract_at, tract_centre

SKY = Sky()
DUD, WIDE = (release.name for release in SURVEY.releases)
CALEXP = archive.calexp_path(SURVEY.releases[0].facts, "09594-201", "i")


@pytest.fixture(scope="module")
def calexp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "calexp.fits"
    write(CALEXP, SKY, path)
    return path


def test_the_sky_map_is_the_archive_s(real_data: Path) -> None:
    """Tracts 9071 and 8279: their centres stand in the headers of real cutouts."""
    for tract, name in (
        (9071, "slug_cutout-HSC-R-9071-s18a_wide-181211-014627.fits"),
        (8279, "2-cutout-HSC-I-8279-pdr2_wide.fits"),
    ):
        with fits.open(real_data / "hsc" / name) as hdus:
            cards = hdus[1].header
            assert tract_centre(tract) == pytest.approx((cards["CRVAL1"], cards["CRVAL2"]), abs=1e-9)
            assert tract_at(cards["CRVAL1"] + 0.2, cards["CRVAL2"] - 0.3) == tract
            assert cards["CRPIX1"] + cards["CRVAL1A"] == cards["CRPIX2"] + cards["CRVAL2A"] == 18_000


def test_files_are_those_of_the_archive() -> None:
    for name, rerun in ((DUD, "pdr3_dud_rev"), (WIDE, "pdr3_wide")):
        listed = files(name, SKY)
        coadds = [path for path in listed if "calexp" in path]
        assert len(coadds) == 20
        assert all(path.startswith(f"archive/filetree/{rerun}/deepCoadd-results/HSC-") for path in coadds)
        assert len([path for path in listed if path.endswith(".tar")]) == 4
        assert all(size > 0 for size in listed.values())
    with pytest.raises(ValueError, match=r"allowed are pdr3_dud_22\.5"):
        files("pdr2", SKY)


def test_a_coadd_has_the_archive_s_structure(calexp: Path) -> None:
    with fits.open(calexp) as hdus:
        assert [hdu.header.get("EXTTYPE") for hdu in hdus[1:4]] == ["IMAGE", "MASK", "VARIANCE"]
        assert [hdu.data.dtype.kind + str(hdu.data.dtype.itemsize) for hdu in hdus[1:4]] == ["f4", "i4", "f4"]
        assert hdus[1].data.shape == (900, 900)
        assert hdus[0].header["FLUXMAG0"] == pytest.approx(63095734448.0194)
        assert {name: hdus[2].header[f"MP_{name}"] for name in PLANES} == PLANES
        assert isinstance(hdus[4], fits.BinTableHDU)
        x, y = WCS(hdus[1].header).all_world2pix(*tract_centre(TRACT), 0)
        assert (x + 7900, y + 3900) == pytest.approx((17_999, 17_999), abs=1e-6)
    assert calexp.stat().st_size == pytest.approx(files(DUD, SKY)[CALEXP], rel=0.05)


def test_headers_agree_with_a_real_cutout(real_data: Path) -> None:
    ours = fits.HDUList.fromstring(cutout(SKY, "pdr3_wide", "HSC-R", 185.65, 0.09, 0.004) or b"")
    with fits.open(real_data / "hsc/slug_cutout-HSC-R-9071-s18a_wide-181211-014627.fits") as theirs:
        assert len(ours) == len(theirs) == 4
        for one, other in zip(ours[1:], theirs[1:], strict=True):
            for key in ("BITPIX", "NAXIS", "CTYPE1", "CTYPE2", "RADESYS", "EXTTYPE", "INHERIT"):
                assert one.header[key] == other.header[key], key
            for key in ("CD1_1", "CD2_2"):
                assert one.header[key] == pytest.approx(other.header[key], rel=1e-9)
        planes = {key for key in theirs[2].header if key.startswith("MP_")}
        assert {key: ours[2].header[key] for key in planes} == {key: theirs[2].header[key] for key in planes}
        assert ours[0].header["FLUXMAG0"] == pytest.approx(theirs[0].header["FLUXMAG0"], rel=1e-12)


def test_cutouts_hold_the_patches_pixels(calexp: Path) -> None:
    with fits.open(calexp) as hdus:
        wcs, data = WCS(hdus[1].header), [np.array(hdu.data) for hdu in hdus[1:4]]
    ra, dec = (float(v) for v in wcs.all_pix2world(300.2, 420.4, 0))
    small = fits.HDUList.fromstring(cutout(SKY, "pdr3_dud_rev", "HSC-I", ra, dec, 14 / 3600) or b"")
    left, bottom = int(-small[1].header["LTV1"]) - 7900, int(-small[1].header["LTV2"]) - 3900
    assert {167, 168} >= set(small[1].data.shape)
    height, width = small[1].data.shape
    for plane, hdu in zip(data, small[1:], strict=True):
        np.testing.assert_array_equal(hdu.data, plane[bottom : bottom + height, left : left + width])
    assert cutout(SKY, "pdr3_dud_rev", "HSC-I", 185.9, 0.09, 14 / 3600) is None


def test_noise_is_what_the_variance_says() -> None:
    for band in BANDS:
        image, mask, variance = coadd(SKY, "pdr3_wide", band)
        good = np.isfinite(variance) & (variance > 0)
        chi = (image - model(SKY, band))[good] / np.sqrt(variance[good])
        assert chi.std() == pytest.approx(1.0, abs=0.01)
        assert abs(chi.mean()) < 0.01
        assert not good.all()
        assert (mask[~np.isfinite(variance)] & (1 << PLANES["NO_DATA"])).all()
        assert 0.003 < ((mask >> PLANES["DETECTED"]) & 1).mean() < 0.6


def test_the_catalogue_agrees_with_the_truth() -> None:
    objects, x, _ = objects_of(SKY)
    table = measured(SKY, "pdr3_wide")
    index = np.searchsorted(objects["true_id"], table["true_id"])
    assert (objects["true_id"][index] == table["true_id"]).all()
    for band in BANDS:
        truth = nanomaggies(objects[f"mag_{band}"][index]) * NANOJANSKY
        pull = (table[f"{band}_cmodel_flux"] - truth) / table[f"{band}_cmodel_fluxerr"]
        assert pull.std() == pytest.approx(1.0, abs=0.2)
    assert np.abs(table["ra"] - objects["ra"][index]).max() < 0.01 / 3600
    assert set(np.unique(table["patch"])) == {patch.code for patch in patches(SKY)}
    galaxy = objects["kind"][index] == "galaxy"
    assert (table["i_extendedness_value"] == galaxy).all()
    brightest = int(np.argmax(np.where((x > 100) & (x < SIDE - 100), nanomaggies(objects["mag_i"]), 0)))
    assert model(SKY, "i").sum() > nanomaggies(objects["mag_i"][brightest]) * COUNTS


def test_the_y_band_continues_the_spectrum() -> None:
    objects, _, _ = objects_of(SKY)
    colour = objects["mag_z"] - objects["mag_y"]
    assert -0.5 < np.median(colour) < 0.6
    assert np.isfinite(colour).all()


@pytest.mark.parametrize("match", ["calexp-HSC-I-9594-2,1.fits", "patches.fits", "09594-09594.fits", ".tar"])
def test_the_same_file_is_the_same_bytes(match: str, tmp_path: Path) -> None:
    path = next(path for path in files(WIDE, SKY) if path.endswith(match))
    for name in ("one", "two"):
        coadd.cache_clear()
        write(path, Sky(), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    for path in ("nothing.fits", CALEXP.replace("2,1", "7,7"), CALEXP.replace("9594", "9595"), "cutouts/x.tar"):
        with pytest.raises(FileNotFoundError, match="files\\(\\)"):
            write(path, SKY, tmp_path / "x")


def test_a_folder_of_its_files_is_an_archive(tmp_path: Path) -> None:
    """The whole release is built from the files alone: those of both services lie where their answers are kept."""
    for path in files(WIDE, SKY):
        if "calexp" not in path:
            target = tmp_path / "archive" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            write(path, SKY, target)
    report = build(BuildSpec("hsc", tmp_path / "out", WIDE, source=str(tmp_path / "archive"), workers=0))
    truth: Any = SKY.truth_table()
    assert report.counts["written"] > 12
    assert pc.count(truth["true_id"]).as_py() > report.counts["written"]
    assert FolderSource(tmp_path).host == ""
    assert not list((tmp_path / "archive").rglob("*.part"))
    tars = list((tmp_path / "archive").rglob("*.tar"))
    with tarfile.open(tars[0]) as stream:
        assert stream.getnames()[-1] == "absent.txt"
