"""Real SDSS files through the same functions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from mmu.errors import FormatError
from mmu.fits import open_fits, same_text
from surveys.sdss.archive import Unit, _texts
from surveys.sdss.columns import CATALOGUE, FIVE, KEYS
from surveys.sdss.read import one_spectrum

# A lite file of the first spectrographs, a full one; lite files of BOSS and eBOSS.
SPECTRA = {
    "sdss_dr18_0358-51818-0504.fits": Unit(358, 51818, "26", 504),
    "NGC3522_SDSS_DR18.fits": Unit(2488, 54149, "26", 1),
    "spec-3655-55240-0104.fits": Unit(3655, 55240, "v5_13_0", 104),
    "spec-9367-57758-0482.fits": Unit(9367, 57758, "v5_13_0", 482),
}


def _real(name: str) -> Path:
    root = os.environ.get("MMU_REAL_DATA")
    if not root or not (Path(root) / "sdss" / name).exists():
        pytest.skip("MMU_REAL_DATA is not set, or lacks the file")
    return Path(root) / "sdss" / name


def _columns(path: Path) -> dict[str, Any]:
    data = fits.getdata(path, 1)
    return {name.upper(): np.asarray(data[name]) for name in data.names}


@pytest.mark.parametrize("name", SPECTRA)
def test_a_spectrum_is_what_astropy_reads(name: str) -> None:
    path, unit = _real(name), SPECTRA[name]
    lost, found = one_spectrum(path, unit, np.array([unit.fibre]))
    truth = _columns(path)
    assert lost == {}
    assert found["length"].tolist() == [len(truth["FLUX"])]  # the pipeline has cut the ends already
    for member, column in {"flux": "FLUX", "ivar": "IVAR", "maskbits": "AND_MASK", "maskbits_or": "OR_MASK"}.items():
        np.testing.assert_array_equal(found[member], truth[column])
    wave = 10 ** truth["LOGLAM"].astype(float)
    np.testing.assert_allclose(found["lambda"], wave, rtol=1.2e-6)  # float32 logarithms: a hundredth of a pixel
    np.testing.assert_allclose(found["lsf_sigma"], truth["WDISP"] * 1e-4 * np.log(10) * wave, rtol=2e-6)
    assert ((truth["IVAR"] == 0) <= found["mask"]).all()
    assert 0 <= found["mask"].mean() < 0.1
    assert (found["lsf_sigma"][~found["mask"]] > 0).all()


def test_the_mask_heeds_bright_sky_and_not_what_only_informs() -> None:
    name = "spec-3655-55240-0104.fits"
    _, found = one_spectrum(_real(name), SPECTRA[name], np.array([104]))
    assert found["mask"][(found["maskbits"] & (1 << 23)) != 0].all()
    assert (found["maskbits_or"] != 0).mean() > 0.3  # taken for bad, these bits would cost a third of the pixels
    name = "NGC3522_SDSS_DR18.fits"
    _, found = one_spectrum(_real(name), SPECTRA[name], np.array([1]))
    near = found["maskbits"] == (1 << 16)  # NEARBADPIXEL, and nothing else
    assert near.sum() == 2
    assert (found["ivar"][near] > 0).all()
    assert not found["mask"].any()


def test_lines_are_where_the_redshift_says() -> None:
    """Halpha of a starburst at z = 0.0472: wavelengths are in vacuum and on the right pixels."""
    name = "sdss_dr18_0358-51818-0504.fits"
    _, found = one_spectrum(_real(name), SPECTRA[name], np.array([504]))
    near = np.abs(found["lambda"] - 6564.61 * 1.047232) < 30
    peak = found["lambda"][near][np.argmax(found["flux"][near])]
    assert peak == pytest.approx(6564.61 * 1.047232, abs=2.0)


def test_another_objects_file_is_refused() -> None:
    path = _real("spec-3655-55240-0104.fits")
    with pytest.raises(FormatError, match=r"spec-3655-55240-0104\.fits: .*not \(3655, 55241, 104\)"):
        one_spectrum(path, Unit(3655, 55241, "v5_13_0", 104), np.array([104]))


def test_a_file_of_another_kind_is_told() -> None:
    with pytest.raises(FormatError, match=r"photoObj-001000-1-0100\.fits: .*fetch it again"):
        one_spectrum(_real("photoObj-001000-1-0100.fits"), Unit(358, 51818, "26", 504), np.array([504]))


def test_the_catalogues_row_has_our_columns() -> None:
    """The row of specObj that a file repeats: names, types and text padded with blanks, numbers set to the right."""
    with open_fits(_real("sdss_dr18_0358-51818-0504.fits")) as file:
        there = set(file.table("SPECOBJ").dtype.names or ())
        later = {"EBOSS_TARGET0", "EBOSS_TARGET1", "EBOSS_TARGET2"}  # of plates after this one
        names = [column.name for column in (*KEYS, *CATALOGUE)]
        assert {*names, *FIVE} - there == later
        row = np.arange(1)
        text = _texts(file, ["SPECOBJID", "TARGETTYPE", "PLATEQUALITY", "RUN2D", "CLASS"], row, "SPECOBJ")
        assert {name: values[0] for name, values in text.items()} == {
            "SPECOBJID": "403210735615764480",
            "TARGETTYPE": "SCIENCE",
            "PLATEQUALITY": "good",
            "RUN2D": "26",
            "CLASS": "GALAXY",
        }
        assert same_text(file.column("SPECOBJ", "SURVEY"), "sdss").all()
        for column in (*KEYS, *CATALOGUE):
            if column.name in there:
                kind = file.columns("SPECOBJ", [column.name])[column.name].dtype.kind
                assert kind == ("U" if column.dtype == "string" else np.dtype(column.dtype).kind), column.name


def test_rows_of_boss_padded_with_nuls() -> None:
    """93 rows of a plate on four nights: the nights are apart, text is without its NULs."""
    with open_fits(_real("spAll-plate3655.fits")) as file:
        text = _texts(file, ["PLATEQUALITY", "PROGRAMNAME", "RUN2D", "CLASS"], np.arange(93))
        nights = file.columns(1, ["MJD", "PLATE", "FIBERID"])
    assert set(text["PLATEQUALITY"].tolist()) == {"good"}
    assert set(text["PROGRAMNAME"].tolist()) >= {"boss", "eboss"}
    assert set(text["RUN2D"].tolist()) == {"v5_13_0"}
    assert len(set(nights["MJD"].tolist())) == 4
    assert set(text["CLASS"].tolist()) <= {"GALAXY", "QSO", "STAR"}
