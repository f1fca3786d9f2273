"""The simulated archive of SDSS: files like the real ones, spectra that agree with the sky."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mmu.archive.probe import probe
from mmu.simulate import Sky
from mmu.simulate.sed import spectrum
from surveys.sdss import SURVEY, simulate
from surveys.sdss.simulate_plates import EMPTY, PLATES, SCIENCE, drilled, fibre, fibre_share, plates
from surveys.sdss.simulate_tables import rows_of, spec_obj

Served = Callable[[str], Path]


def _real(name: str) -> Path:
    root = os.environ.get("MMU_REAL_DATA")
    if not root or not (Path(root) / "sdss" / name).exists():
        pytest.skip("MMU_REAL_DATA is not set, or lacks the file: no real file to compare with")
    return Path(root) / "sdss" / name


@pytest.mark.parametrize("release", [release.name for release in SURVEY.releases])
def test_the_archive_lists_a_plates_file_and_its_spectra(release: str, sky: Sky) -> None:
    paths = simulate.files(release, sky)
    for plate in plates(release):
        plugged = np.flatnonzero(drilled(plate, sky).target != EMPTY) + 1
        assert simulate.plate_path(plate) in paths
        assert all(simulate.spectrum_path(plate, int(number)) in paths for number in plugged)
    assert simulate.CATALOGUE in paths
    assert all(size > 0 for size in paths.values())


def test_unknown_names_are_refused(sky: Sky, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allowed are boss, eboss, sdss, segue1, segue2"):
        simulate.files("dr99", sky)
    wrong = simulate.plate_path(PLATES[0]).replace("288", "287")
    with pytest.raises(FileNotFoundError, match="not in the simulated SDSS archive"):
        simulate.write(wrong, sky, tmp_path / "x.fits")


@pytest.mark.parametrize("number", [0, 8], ids=["legacy", "boss"])
def test_the_same_path_is_the_same_bytes(number: int, sky: Sky, served: Served, tmp_path: Path) -> None:
    path = simulate.spectrum_path(PLATES[number], 4)
    again = tmp_path / "again.fits"
    simulate.write(path, Sky(sky.seed, sky.fields), again)
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(served(path).read_bytes()).digest()
    probe(again, path)


@pytest.mark.parametrize(
    ("number", "real"),
    [(0, "sdss_dr18_0358-51818-0504.fits"), (8, "spec-3655-55240-0104.fits")],
    ids=["legacy", "boss"],
)
def test_spectra_have_the_real_files_layout(number: int, real: str, served: Served) -> None:
    plate = PLATES[number]
    target = int(np.flatnonzero(rows_of(plate, Sky())["FIBERID"])[0]) + 1
    with fits.open(served(simulate.spectrum_path(plate, target))) as mine, fits.open(_real(real)) as theirs:
        assert [hdu.name for hdu in mine] == [hdu.name for hdu in theirs]
        assert mine[1].columns.names == theirs[1].columns.names
        assert mine[1].columns.formats == theirs[1].columns.formats
        assert {"PLATE", "MJD", "FIBERID", "RUN2D", "Z", "ZWARNING"} <= set(theirs[2].columns.names)
        for card in ("PLATEID", "MJD", "FIBERID", "COEFF0", "COEFF1", "BUNIT", "VACUUM"):
            assert type(mine[0].header[card]) is type(theirs[0].header[card]), card


def test_the_catalogues_columns_are_the_real_ones_type_by_type() -> None:
    """Compared with the row of specObj that a real file of the first spectrographs repeats."""
    with fits.open(_real("sdss_dr18_0358-51818-0504.fits")) as theirs:
        real = dict(zip(theirs[2].columns.names, theirs[2].columns.formats, strict=True))
    mine = fits.BinTableHDU(spec_obj(Sky())[:1]).columns
    formats = dict(zip(mine.names, mine.formats, strict=True))
    assert set(real) <= set(formats)
    differing = {name for name in real if formats[name] != real[name] and "A" not in real[name]}
    assert differing == set()


def test_text_is_padded_as_by_the_two_pipelines(served: Served) -> None:
    raw = served(simulate.CATALOGUE).read_bytes()
    assert b"sdss  SDSSchunk7          " in raw
    assert b"eboss\0BOSSchunk7\0\0" in raw
    assert b"SCIENCE " in raw


@pytest.mark.parametrize("plate", [PLATES[0], PLATES[4], PLATES[8]], ids=lambda plate: plate.survey)
def test_spectra_agree_with_the_sky(plate: object, sky: Sky) -> None:
    (one,) = (p for p in PLATES if p == plate)
    drill = drilled(one, sky)
    for number in (np.flatnonzero(drill.target == SCIENCE)[:4] + 1).tolist():
        pixels, truth = fibre(one, sky, number), drill.objects[number - 1 : number]
        width = pixels["wdisp"].astype(float) * one.wavelength * 1e-4 * np.log(10)
        light = spectrum(truth, one.wavelength, width)[0] * fibre_share(truth, one.boss)[0]
        pull = (pixels["flux"] - light) * np.sqrt(pixels["ivar"])
        assert abs(pull[pixels["ivar"] > 0].std() - 1) < 0.06


def test_the_catalogue_agrees_with_the_sky(sky: Sky) -> None:
    plate = PLATES[0]
    drill, row = drilled(plate, sky), rows_of(plate, sky)
    galaxy = (drill.objects["kind"] == "galaxy") & (row["ZWARNING"] == 0)
    assert galaxy.sum() > 20
    np.testing.assert_allclose(row["Z"][galaxy], drill.objects["z"][galaxy], atol=1e-3)
    np.testing.assert_array_equal(row["PLUG_RA"], drill.objects["ra"])
    assert (row["FIBERID"] == np.arange(1, 641)).all()


def test_an_object_has_one_primary_spectrum_and_that_on_a_good_plate(sky: Sky) -> None:
    table = spec_obj(sky)
    ids = np.concatenate([drilled(plate, sky).objects["true_id"] for plate in PLATES])
    real = ids >= 0
    distinct, count = np.unique(ids[real], return_counts=True)
    primary = real & (table["SPECPRIMARY"] == 1)
    np.testing.assert_array_equal(np.sort(ids[primary]), distinct)
    twice = distinct[count > 1]
    assert len(twice) > 10
    good = np.char.strip(table["PLATEQUALITY"], b" \0") == b"good"
    seen_well = np.isin(ids, ids[real & good])
    assert good[primary & seen_well].all()
    assert (table["NSPECOBS"][np.isin(ids, twice)] > 1).all()


def test_a_plate_was_observed_on_two_nights_with_pixels_of_its_own() -> None:
    nights = [plate for plate in PLATES if plate.plate == 288]
    assert len({plate.mjd for plate in nights}) == 2
    assert len({plate.pixels for plate in nights}) == 2
    assert len({(plate.plate, plate.mjd) for plate in PLATES}) == len(PLATES)
