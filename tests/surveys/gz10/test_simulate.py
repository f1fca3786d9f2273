"""The simulated file: the archive's arrays, the galaxy in the middle, north up, labels by true shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from mmu.simulate import Field, Sky
from mmu.simulate.noise import uniform
from surveys.gz10 import PATH, simulate
from surveys.gz10.file import open_galaxies

SKY = Sky(fields=(Field("equator", 185.625, 0.0, 0.15),))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gz10") / "a.h5"
    simulate.write(PATH, SKY, path)
    return path


def test_same_path_same_bytes(written: Path, tmp_path: Path) -> None:
    simulate.write(PATH, SKY, tmp_path / "b.h5")
    assert (tmp_path / "b.h5").read_bytes() == written.read_bytes()
    assert written.stat().st_size == pytest.approx(simulate.files("gz10", SKY)[PATH], rel=0.6)


def test_layout(written: Path) -> None:
    with open_galaxies(written) as file:
        assert set(file) == {"ans", "dec", "images", "pxscale", "ra", "redshift"}
        assert file["ans"].dtype == np.uint8
        assert file["images"].compression == "gzip"
        assert (np.diff(file["ans"][:].astype(int)) >= 0).all()


def test_truth_comes_out(written: Path) -> None:
    truth = simulate.galaxies(SKY)
    with h5py.File(written) as file:
        np.testing.assert_array_equal(file["ra"][:], truth["ra"])
        known = np.isfinite(file["redshift"][:])
        np.testing.assert_array_equal(file["redshift"][:][known], truth["z"][known])
        round_ones = file["ans"][:] == 2
        assert (truth["axis_ratio"][round_ones] > 0.8).all()


def test_redshifts_are_missing_here_and_there() -> None:
    lot = [bool(np.isnan(z)) for z in _redshifts(Sky())]
    assert 0 < sum(lot) < len(lot)


def _redshifts(sky: Sky) -> Any:
    truth = simulate.galaxies(sky)
    lot = uniform(truth["true_id"], sky.seed, "gz10", "z")
    return np.where(lot < simulate.UNKNOWN, np.nan, truth["z"])


def test_the_galaxy_is_in_the_middle(written: Path) -> None:
    with h5py.File(written) as file:
        red = file["images"][:, :, :, 0].astype(float)
    y, x = np.mgrid[-8:9, -8:9]
    for plane in red:
        core = plane[120:137, 120:137]
        core = core**4
        assert abs((core * x).sum() / core.sum() + 0.5) < 1.0, "between pixels 127 and 128"
        assert abs((core * y).sum() / core.sum() + 0.5) < 1.0


def test_north_is_up_and_east_left() -> None:
    """A neighbour brighter than the sky lies where the position angle says."""
    sky = Sky(fields=(Field("equator", 185.625, 0.0, 0.1),))
    objects = sky.objects()
    galaxy = simulate.galaxies(sky)[0]
    scale = 0.5
    east = (objects["ra"] - galaxy["ra"]) * np.cos(np.deg2rad(galaxy["dec"])) * 3600 / scale
    north = (objects["dec"] - galaxy["dec"]) * 3600 / scale
    near = (np.hypot(east, north) > 30) & (np.maximum(np.abs(east), np.abs(north)) < 120) & (objects["mag_r"] < 19.5)
    picture = simulate.picture(sky, galaxy, scale).astype(float).sum(axis=2)
    assert near.any()
    for dx, dy in zip(east[near], north[near], strict=True):
        column, row = round(127.5 - dx), round(127.5 - dy)
        here = picture[row - 2 : row + 3, column - 2 : column + 3].mean()
        assert here > 2 * np.median(picture)


def test_other_paths_and_releases_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        simulate.write("x.h5", SKY, tmp_path / "x")
    with pytest.raises(ValueError, match="gz10_rgb_images"):
        simulate.files("v0", SKY)
