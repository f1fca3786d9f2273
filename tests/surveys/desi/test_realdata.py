"""Real DESI files through the same functions."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mmu.errors import FormatError
from mmu.fits import open_fits, same_text
from surveys.desi import FIBERMAP, REDSHIFTS, TSNR2
from surveys.desi.archive import primary
from surveys.desi.coadd import PIXELS
from surveys.desi.read import columns, merged_spectra, spectra, targets

TARGET = 39633345008634465


def _real(name: str) -> Path:
    root = os.environ.get("MMU_REAL_DATA")
    if not root or not (Path(root) / "desi" / name).exists():
        pytest.skip("MMU_REAL_DATA is not set, or lacks the file")
    return Path(root) / "desi" / name


def test_the_pair_of_one_target() -> None:
    coadd, redrock = _real("coadd-4-80613-thru20210324.fits"), _real("redrock-4-80613-thru20210324.fits")
    target = np.array([TARGET])
    with open_fits(coadd) as file:
        assert targets(file, "FIBERMAP").tolist() == [TARGET]
        catalogue = columns(file, "FIBERMAP", target, ["TARGET_RA", "TARGET_DEC", *(c.name for c in FIBERMAP)])
        found = spectra(file, target)
    with open_fits(redrock) as file:
        fit = columns(file, "REDSHIFTS", target, [c.name for c in REDSHIFTS])
        signal = columns(file, "TSNR2", target, [c.name for c in TSNR2])
    assert fit["Z"][0] == pytest.approx(0.3687, abs=1e-4)
    assert fit["ZWARN"][0] == 0
    assert fit["SPECTYPE"].tolist() == ["GALAXY"]
    assert signal["TSNR2_LRG"][0] > 0
    assert catalogue["TARGET_RA"][0] == pytest.approx(105.4, abs=0.5)
    assert catalogue["BRICKNAME"].tolist() == ["1054p567"]
    assert {name: values.shape for name, values in found.items()} == dict.fromkeys(found, (1, PIXELS))
    assert found["mask"].mean() < 0.05


def test_overlaps_of_the_real_arms_are_weighted_means() -> None:
    coadd = _real("coadd-4-80613-thru20210324.fits")
    with open_fits(coadd) as file:
        merged = merged_spectra(file, np.array([TARGET]))
    with fits.open(coadd) as hdus:
        b, r = (
            {kind: hdus[f"{arm}_{kind}"].data[0].astype(float) for kind in ("FLUX", "IVAR", "MASK")} for arm in "BR"
        )
    blue, red = {k: v[2700:] for k, v in b.items()}, {k: v[:51] for k, v in r.items()}
    clean = (blue["MASK"] == 0) & (red["MASK"] == 0)
    total = blue["IVAR"] + red["IVAR"]
    mean = (blue["IVAR"] * blue["FLUX"] + red["IVAR"] * red["FLUX"]) / total
    assert clean.sum() > 40
    np.testing.assert_allclose(merged.ivar[0, 2700:2751][clean], total[clean], rtol=1e-5)
    np.testing.assert_allclose(merged.flux[0, 2700:2751][clean], mean[clean], rtol=1e-4, atol=1e-5)


def test_real_widths_are_those_of_gaussian_fits() -> None:
    """0.65 to 0.85 Angstrom, within 3 % of a fit to the same kernel."""
    from scipy.optimize import curve_fit

    coadd = _real("coadd-4-80613-thru20210324.fits")
    with open_fits(coadd) as file:
        sigma = merged_spectra(file, np.array([TARGET])).lsf_sigma[0]
    assert 0.5 < sigma.min() < sigma.max() < 0.95
    data = fits.getdata(coadd, "R_RESOLUTION")[0].astype(float)
    offset = 5 - np.arange(11)

    def bell(x: np.ndarray, height: float, centre: float, width: float) -> np.ndarray:
        return np.asarray(height * np.exp(-((x - centre) ** 2) / 2 / width**2))

    for pixel in range(300, 2000, 100):
        row = data[np.arange(11), pixel + offset]
        (_, _, width), _ = curve_fit(bell, offset, row, p0=[0.5, 0.0, 0.9])
        assert sigma[2700 + pixel] == pytest.approx(0.8 * abs(width), rel=0.03)


def test_five_targets_of_a_file_with_few_columns() -> None:
    with open_fits(_real("coadd-1-80693-thru20210204.fits")) as file:
        target = targets(file, "FIBERMAP")
        merged = merged_spectra(file, target[::-1])
        turned = merged_spectra(file, target)
        catalogue = columns(file, "FIBERMAP", target, ["TARGET_RA", "TILEID"])
    assert merged.flux.shape == (5, PIXELS)
    np.testing.assert_array_equal(merged.flux[::-1], turned.flux)
    assert catalogue["TILEID"].tolist() == [80693] * 5
    assert (merged.maskbits >= 0).all()  # the unsigned bits are as stored
    assert merged.mask.mean() < 0.1
    with open_fits(_real("coadd-1-80693-thru20210204.fits")) as file, pytest.raises(FormatError, match="no column EBV"):
        columns(file, "FIBERMAP", target, ["EBV"])


def test_a_spectra_file_of_another_format_is_told() -> None:
    name = "picca-bad_format-spectra-main-dark-9144.fits"
    with (
        open_fits(_real(name)) as file,
        pytest.raises(FormatError, match=r"no HDU SCORES and arms R only.*fetch it again") as told,
    ):
        merged_spectra(file, targets(file, "FIBERMAP"))
    assert name in str(told.value)


def test_sky_fibres_are_cut() -> None:
    with open_fits(_real("redrock-test.fits")) as file:
        ids, kind = targets(file, "FIBERMAP"), file.column("FIBERMAP", "OBJTYPE")
        zwarn, signal = file.column("REDSHIFTS", "ZWARN"), file.column("TSNR2", "TSNR2_LRG")
        assert np.array_equal(ids, targets(file, "REDSHIFTS"))
        assert same_text(kind, "TGT").sum() == 2
        assert primary(ids, zwarn, signal, np.ones(len(ids), dtype=bool)).all()
