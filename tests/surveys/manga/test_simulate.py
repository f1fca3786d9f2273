"""The simulated archive: the data model of DR17, and the truth in the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from mmu.simulate import Sky
from mmu.simulate.photometry import band_flux, nanomaggies
from surveys.manga import MANGA, archive, simulate
from surveys.manga.columns import MAPS, WITH_IVAR, WITH_MASK
from surveys.manga.simulate_cube import KM_S_PER_PIXEL, lsf_sigma, model, share_of_light, shifts, wavelengths
from surveys.manga.simulate_targets import BUNDLES, Target, coverage, targets, velocity

CUBE = (
    "FLUX IVAR MASK LSFPOST LSFPRE WAVE SPECRES SPECRESD PRESPECRES PRESPECRESD OBSINFO "
    "GIMG RIMG IIMG ZIMG GPSF RPSF IPSF ZPSF GCORREL RCORREL ICORREL ZCORREL"
).split()


@pytest.fixture(scope="module")
def target(sky: Sky) -> Target:
    return next(target for target in targets(sky) if target.done and target.fibres == 19)


@pytest.fixture(scope="module")
def paths(target: Target, fetch: Any) -> list[Path]:
    return [*fetch(archive.files(MANGA, target.name)).values()]


def test_there_are_enough_galaxies_and_files(sky: Sky) -> None:
    found = targets(Sky())
    assert sum(target.done for target in found) >= 12
    assert {target.fibres for target in found} == set(BUNDLES)
    assert all(target.truth["z"] < 0.15 for target in found)
    listed = simulate.files("manga", sky)
    assert listed == simulate.files("manga_spaxels", sky)
    done = [target for target in targets(sky) if target.done]
    assert {file.path for target in done for file in archive.files(MANGA, target.name)} < set(listed)


def test_the_same_path_gives_the_same_bytes(target: Target, paths: list[Path], sky: Sky, tmp_path: Path) -> None:
    for file, path in zip(archive.files(MANGA, target.name), paths, strict=True):
        simulate.write(file.path, sky, tmp_path / "again.gz")
        assert (tmp_path / "again.gz").read_bytes() == path.read_bytes()
        assert path.stat().st_size < 12_000_000


def test_a_path_that_is_not_listed_does_not_exist(sky: Sky, tmp_path: Path) -> None:
    undone = next(target for target in targets(sky) if not target.done)
    for path in ("dr17/x.fits", archive.maps_path(MANGA, undone.name), archive.cube_path(MANGA, "1-2")):
        with pytest.raises(FileNotFoundError, match="simulated MaNGA"):
            simulate.write(path, sky, tmp_path / "x")
    with pytest.raises(ValueError, match="no simulated release"):
        simulate.files("dr99", sky)


def test_a_cube_has_the_archives_data_model(target: Target, paths: list[Path]) -> None:
    with fits.open(paths[0]) as hdus:
        assert [hdu.name for hdu in hdus[1:]] == CUBE
        kinds = {name: hdus[name].header["BITPIX"] for name in ("FLUX", "IVAR", "MASK", "LSFPOST", "WAVE", "GIMG")}
        assert kinds == {"FLUX": -32, "IVAR": -32, "MASK": 32, "LSFPOST": -32, "WAVE": -64, "GIMG": -32}
        header = hdus["FLUX"].header
        assert header["BUNIT"] == "1E-17 erg/s/cm^2/Angstrom/spaxel"
        assert (header["CTYPE3"], header["CUNIT3"], header["CD3_3"]) == ("WAVE-LOG", "Angstrom", 0.8339)
        assert header["CRPIX1"] == target.side / 2 + 1
        assert (header["ERRDATA"], header["QUALDATA"]) == ("IVAR", "MASK")
        assert hdus[0].header["PLATEIFU"] == target.name
        assert set(np.unique(hdus["MASK"].data)) <= {0, 1024, 1026, 1027, 1032, 1034}
        np.testing.assert_allclose(hdus["WAVE"].data[[0, -1]], [3621.59598486, 10353.80544], rtol=1e-9)


def test_maps_have_the_archives_data_model(paths: list[Path]) -> None:
    with fits.open(paths[1]) as hdus:
        assert len(hdus) == 64
        names = [hdu.name for hdu in hdus[1:]]
        assert [name for name in names if not name.endswith(("_IVAR", "_MASK"))] == sorted(MAPS, key=names.index)
        assert {name[:-5] for name in names if name.endswith("_IVAR")} == set(WITH_IVAR)
        assert {name[:-5] for name in names if name.endswith("_MASK")} == set(WITH_MASK)
        assert hdus["BINID"].header["BITPIX"] == hdus["STELLAR_VEL_MASK"].header["BITPIX"] == 32
        header = hdus["EMLINE_GFLUX"].header
        assert (header["C01"], header["C35"], header["ERRDATA"]) == ("OII-3727", "Peps-9548", "EMLINE_GFLUX_IVAR")
        assert hdus["SPX_ELLCOO"].header["U2"] == ""
        assert hdus["STELLAR_VEL_IVAR"].header["BUNIT"] == "(km/s)^{-2}"


def test_the_light_is_the_galaxys(target: Target, paths: list[Path]) -> None:
    """All spaxels together, through the r band, are the share of the galaxy that the bundle holds."""
    seen = coverage(target) > 0
    with fits.open(paths[0]) as hdus:
        total = hdus["FLUX"].data[:, seen].astype(np.float64).sum(axis=1)
        image = hdus["RIMG"].data
    grid = np.arange(5000.0, 8500.0, 1.0)
    flux = band_flux(np.interp(grid, wavelengths(), total)[None], grid, "r")[0]
    share = share_of_light(target, "r")
    assert flux == pytest.approx(nanomaggies(target.truth["mag_r"]) * share[seen].sum(), rel=0.02)
    assert 0.3 < share[seen].sum() < 1
    assert image[seen].sum() == pytest.approx(flux, rel=0.03)


def test_noise_is_as_the_inverse_variance_says(target: Target, paths: list[Path]) -> None:
    with fits.open(paths[0]) as hdus:
        flux, ivar, mask = (np.asarray(hdus[name].data) for name in ("FLUX", "IVAR", "MASK"))
    good = mask == 0
    pull = (flux - model(target))[good] * np.sqrt(ivar[good])
    assert abs(pull.std() - 1) < 0.02
    assert abs(pull.mean()) < 0.01
    assert (ivar[good] > 0).all()
    assert not flux[mask & 1 == 1].any()


def test_velocities_of_maps_and_cube_agree(target: Target, paths: list[Path]) -> None:
    with fits.open(paths[1]) as hdus:
        speed, covered = hdus["STELLAR_VEL"].data, coverage(target) > 0
        assert len(np.unique(hdus["BINID"].data[0][covered])) == covered.sum()
    np.testing.assert_allclose(speed[covered], (shifts(target) * KM_S_PER_PIXEL)[covered], rtol=1e-6)
    assert np.abs(speed - velocity(target))[covered].max() <= KM_S_PER_PIXEL / 2 + 1e-3


def test_the_line_spread_is_in_angstrom() -> None:
    resolution = wavelengths() / lsf_sigma() / 2.3548
    np.testing.assert_allclose(resolution[[0, -1]], [1397.6, 2261.5])
