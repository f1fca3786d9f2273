"""Real files of the archive through the same functions: a cutout with its planes, star stamps, rows of a query."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS

from mmu import stamps
from mmu.errors import FormatError
from mmu.fits import fits_of_bytes, open_fits
from surveys.hsc.catalogue import _columns, read_objects
from surveys.hsc.columns import PLANES, SIZE
from surveys.hsc.planes import inverse, on_tract, read_planes, standard_bits, usable
from surveys.hsc.read import Stack, psf_fwhm

CUTOUT = "slug_cutout-HSC-R-9071-s18a_wide-181211-014627.fits"


@pytest.fixture
def folder(real_data: Path) -> Path:
    return real_data / "hsc"


def test_planes_of_a_real_cutout(folder: Path) -> None:
    with open_fits(folder / CUTOUT) as file, fits.open(folder / CUTOUT) as hdus:
        planes = read_planes(file)
        assert planes.planes == PLANES, "S18A numbers its mask planes as PDR2 and PDR3 do"
        for ours, number in ((planes.image, 1), (planes.mask, 2), (planes.variance, 3)):
            assert ours.shape == (466, 448)
            np.testing.assert_array_equal(ours, hdus[number].data)
        assert (planes.corner + 17_999).tolist() == [14_499, 30_546], "LTV: where the cutout begins on the tract"
        wcs = WCS(hdus[1].header)
        x, y = np.random.default_rng(1).uniform(-50, 500, (2, 200))
        ra, dec = wcs.all_pix2world(x, y, 0)
        np.testing.assert_allclose(on_tract(planes.projection, ra, dec) - planes.corner, np.stack([x, y], 1), atol=1e-6)


def test_variance_and_mask_of_a_real_cutout(folder: Path) -> None:
    with open_fits(folder / CUTOUT) as file:
        planes = read_planes(file)
        ivar, bits = inverse(planes.variance), standard_bits(planes.mask, planes.planes)
        good, image = usable(bits, ivar), np.array(planes.image)
    assert good.all(), "no pixel of this cutout is BAD, SAT or without data"
    detected = (bits >> PLANES["DETECTED"]) & 1 == 1
    assert 0.05 < detected.mean() < 0.6
    sky = image[~detected & (bits & (1 << PLANES["INTRP"]) == 0)]
    chi = sky * np.sqrt(ivar[~detected & (bits & (1 << PLANES["INTRP"]) == 0)])
    assert np.median(np.abs(chi)) * 1.4826 == pytest.approx(0.95, abs=0.15), "pixels of a coadd are correlated"
    assert image[detected].mean() > 10 * np.abs(sky.mean())


def test_stamps_of_a_real_cutout_are_pixel_exact(folder: Path) -> None:
    with fits.open(folder / CUTOUT) as hdus:
        image, wcs = np.array(hdus[1].data), WCS(hdus[1].header)
        variance, mask = np.array(hdus[3].data), np.array(hdus[2].data)
    x, y = np.random.default_rng(7).uniform(-60, 460, (2, 30))
    ra, dec = wcs.all_pix2world(x, y, 0)
    stack = Stack(pa.table({"object_id": [str(n) for n in range(30)], "ra": ra, "dec": dec}))
    with open_fits(folder / CUTOUT) as file:
        stack.fill(1, slice(0, 30), read_planes(file))
    with fits_of_bytes(CUTOUT, (folder / CUTOUT).read_bytes()) as file:
        for row in range(30):
            stack.fill(2, slice(row, row + 1), read_planes(file))
    for band in (1, 2):
        assert stack.present[:, band].all()
        for index, position in enumerate(zip(x, y, strict=True)):
            cut = Cutout2D(image, position, SIZE, mode="partial", fill_value=0)
            np.testing.assert_array_equal(stack.flux[index, band], cut.data)
            cut = Cutout2D(1 / variance, position, SIZE, mode="partial", fill_value=0)
            np.testing.assert_allclose(stack.ivar[index, band], cut.data, rtol=1e-6)
            cut = Cutout2D(mask, position, SIZE, mode="partial", fill_value=1 << 8)
            np.testing.assert_array_equal(stack.bits[index, band], cut.data)
    assert not stack.present[:, [0, 3, 4]].any()


def test_five_real_bands(folder: Path) -> None:
    """Planes of COSMOS in grizy: every variance is one, and the mask's bits are among those we know."""
    with np.load(folder / "scarlet_hsc_cosmos_35.npz") as stack:
        images, masks, variances = (stack[name] for name in ("images", "mask", "variance"))
        assert stack["filters"].tolist() == list("grizy")
    ivar, bits = inverse(variances), standard_bits(masks, PLANES)
    assert (ivar > 0).all()
    np.testing.assert_allclose(ivar * variances, 1, rtol=1e-6)
    np.testing.assert_array_equal(bits, masks)
    assert int(masks.max()) < 1 << len(PLANES)
    assert usable(bits, ivar).all()
    stamps.clean(images, ivar)
    assert np.isfinite(images).all()


def test_stars_stand_where_the_catalogue_has_them(folder: Path) -> None:
    """But for 0.2 arcsec, the same for both: the rows have the column names of an older release, and its astrometry."""
    offsets = []
    with open_fits(folder / "hyrax_star_cat_correct.fits") as file:
        names = {name.lower().removeprefix("# "): name for name in file.table(1).dtype.names or ()}
        table = file.columns(1, [names["object_id"], "ira", "idec", "star_filename"])
    for row, name in enumerate(("2-cutout-HSC-I-8279-pdr2_wide.fits", "3-cutout-HSC-I-8279-pdr2_wide.fits")):
        assert table["star_filename"][row].endswith(name)
        with open_fits(folder / name) as file:
            header, image = file.header(1), np.array(file.plane(1)).astype(float)
            with pytest.raises(FormatError, match=r"8279-pdr2_wide\.fits: no MASK plane among its 4 HDUs"):
                read_planes(file)
        projection = tuple(header.get(key, 0.0) for key in ("CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2"))
        where = on_tract(projection, table["ira"][row : row + 1], table["idec"][row : row + 1])[0]
        expected = np.array([where[0] + header["CRPIX1"] - 1, where[1] + header["CRPIX2"] - 1])
        theirs = WCS(header).all_world2pix(table["ira"][row], table["idec"][row], 0)
        np.testing.assert_allclose(expected, np.array(theirs), atol=1e-6)
        ys, xs = np.indices(image.shape)
        found = np.array([12.0, 12.0])
        for _ in range(20):  # a centroid with a Gaussian weight, as other stars are near
            weight = image * np.exp(-((xs - found[0]) ** 2 + (ys - found[1]) ** 2) / (2 * 2.0**2))
            found += 2 * (np.array([(xs * weight).sum(), (ys * weight).sum()]) / weight.sum() - found)
        offsets.append(found - expected)
    assert np.hypot(*offsets[0]) * 0.168 < 0.2
    np.testing.assert_allclose(offsets[0], offsets[1], atol=0.2)


def test_real_rows_of_the_catalogue(folder: Path) -> None:
    path = folder / "hyrax_star_cat_correct.fits"
    with open_fits(path) as file:
        names = ["ishape_sdss_psf_ixx", "ishape_sdss_psf_iyy", "ishape_sdss_psf_ixy"]
        moments = file.columns(1, names)
        with pytest.raises(FormatError, match="no column ROWS_COUNTED"):
            _columns(file, ["object_id", "tract"])
        ids = file.columns(1, ["# object_id", "tract"])
        assert (ids["# object_id"] >> 42 == ids["tract"]).all(), "an object's number begins with its tract"
    new = {f"i_sdssshape_psf_shape{which}": moments[name] for which, name in zip((11, 22, 12), names, strict=True)}
    width = psf_fwhm(pa.table(new), "i")
    assert width.tolist() == pytest.approx([0.72] * 10, abs=0.06), "arcsec: HSC's seeing"
    with pytest.raises(FormatError, match="no column"):
        read_objects(path)


def test_the_psf_of_a_real_coadd_is_as_wide_as_its_moments(folder: Path) -> None:
    """A calexp's PSF: full width at half maximum against that of its second moments."""
    with fits.open(folder / "slug_psf-calexp-s18a_wide-HSC-R-9071-4,4-129.42149--2.23140.fits") as hdus:
        image = np.array(hdus[0].data, float)
    ys, xs = np.indices(image.shape)
    weight = image.copy()
    for _ in range(30):  # adaptive moments: Gaussian weight of the width found
        total = (weight * image).sum()
        x, y = (xs * weight * image).sum() / total, (ys * weight * image).sum() / total
        variance = 2 * (((xs - x) ** 2 + (ys - y) ** 2) / 2 * weight * image).sum() / total
        weight = np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * variance))
    moments = {f"r_sdssshape_psf_shape{which}": [value * 0.168**2] for which, value in ((11, variance), (22, variance))}
    width = float(psf_fwhm(pa.table({**moments, "r_sdssshape_psf_shape12": [0.0]}), "r")[0])
    assert 0.5 < width < 1.1
    above = np.sqrt((image > image.max() / 2).sum() * 4 / np.pi) * 0.168
    assert width == pytest.approx(above, rel=0.2), "a PSF has wings, which widen its moments"
