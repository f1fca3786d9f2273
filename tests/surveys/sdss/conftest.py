"""A small simulated archive of SDSS, shared by this folder's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mmu.simulate import Field, Sky
from surveys.sdss import simulate

SMALL = Sky(fields=(Field("equator", 185.625, 0.0, 0.09), Field("north", 213.75, 35.685, 0.06)))


@pytest.fixture(scope="session")
def sky() -> Sky:
    return SMALL


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Writes a file of the archive once and returns where it is."""
    root = tmp_path_factory.mktemp("sdss")

    def get(path: str) -> Path:
        place = root / path
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            simulate.write(path, SMALL, place)
        return place

    return get
