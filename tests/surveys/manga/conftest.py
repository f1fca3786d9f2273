"""A small simulated archive, and cubes of a few spaxels for what a simulation does not do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

from mmu.build.select import select_group
from mmu.simulate import Field, Sky
from mmu.sky.region import AllSky
from mmu.survey import File, Release
from surveys.manga import archive, simulate

SKY = Sky(fields=(Field("equator", 185.625, 0.0, 0.3),))
PIXELS = 4563

Fetch = Callable[[Iterable[File]], dict[str, Path]]


@pytest.fixture(scope="session")
def sky() -> Sky:
    return SKY


@pytest.fixture(scope="session")
def fetch(tmp_path_factory: pytest.TempPathFactory) -> Fetch:
    """Writes files of the simulated archive once; one that is not there is left out."""
    root = tmp_path_factory.mktemp("manga")

    def paths(files: Iterable[File]) -> dict[str, Path]:
        found = {}
        for file in files:
            path = root / file.path
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    simulate.write(file.path, SKY, path)
                except FileNotFoundError:
                    continue
            found[file.path] = path
        return found

    return paths


@pytest.fixture(scope="session")
def selected(fetch: Fetch) -> Callable[[Release], pa.Table]:
    """The rows that a plan hands to the reader."""

    def rows(release: Release) -> pa.Table:
        group = next(archive.groups(release, {}, AllSky(), False))
        return select_group("manga", release.name, group, fetch(group.files), AllSky(), None).rows

    return rows


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Path]:
    """Writes a LOGCUBE of ny x nx spaxels; `change` may edit its HDUs, by name, before."""

    def make(ny: int = 3, nx: int = 5, change: Callable[[dict[str, Any]], None] | None = None) -> Path:
        rng, shape = np.random.default_rng(1), (PIXELS, ny, nx)
        mask = np.zeros(shape, np.int32)
        mask[:, 0, 0] = 1027
        data: dict[str, Any] = {
            "FLUX": rng.normal(1, 0.1, shape).astype(np.float32),
            "IVAR": np.where(mask, 0, 100).astype(np.float32),
            "MASK": mask,
            "LSFPOST": np.full(shape, 0.9, np.float32),
            "WAVE": 10 ** (3.5589 + 1e-4 * np.arange(PIXELS)),
        }
        for band in "GRIZ":
            data[f"{band}IMG"] = data[f"{band}PSF"] = np.ones((ny, nx), np.float32)
        hdus = {name: fits.ImageHDU(values, name=name) for name, values in data.items()}
        wcs = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 1, "CRPIX2": 1, "CRVAL1": 10.0, "CRVAL2": 20.0}
        hdus["FLUX"].header.update({**wcs, "CD1_1": -1.38889e-4, "CD2_2": 1.38889e-4})
        primary = fits.PrimaryHDU()
        primary.header.update({"PLATEIFU": "1-2", **{f"{band}FWHM": 2.5 for band in "GRIZ"}})
        if change is not None:
            change(hdus)
        path = tmp_path / "manga-1-2-LOGCUBE.fits.gz"
        fits.HDUList([primary, *hdus.values()]).writeto(path)
        return path

    return make
