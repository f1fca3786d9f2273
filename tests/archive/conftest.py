"""Fixtures around the archive on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mmu.archive.fetch import Fetcher
from mmu.archive.http import Patience
from mmu.archive.source import HttpSource
from mmu.survey import Policy
from tests.archive.server import FREELY, QUICK, Archive, Faults, serving


@pytest.fixture
def faults() -> type[Faults]:
    return Faults


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    folder = tmp_path / "archive"
    folder.mkdir()
    with serving(folder) as archive:
        yield archive


@pytest.fixture
def make(archive: Archive, tmp_path: Path) -> Iterator[Callable[..., Fetcher]]:
    """Makes fetchers for that archive, as separate runs with one cache would."""
    made: list[Fetcher] = []

    def start(patience: Patience = QUICK, policy: Policy = FREELY, root: str = "", **options: object) -> Fetcher:
        source = HttpSource(root or archive.url, patience)
        fetcher = Fetcher(source, tmp_path / "cache", policy, **options)  # type: ignore[arg-type]
        made.append(fetcher)
        return fetcher

    yield start
    for fetcher in made:
        fetcher.close()


@pytest.fixture
def fetcher(make: Callable[..., Fetcher]) -> Fetcher:
    return make()


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A FITS file of two HDUs, 220 kB."""
    file = tmp_path_factory.mktemp("image") / "image.fits"
    pixels = np.random.default_rng(1).normal(size=(160, 160)).astype(np.float32)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(pixels), fits.ImageHDU(pixels)]).writeto(file)
    return file.read_bytes()
