"""A dataset of ours, and the v1 tree that was made from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmu.shards.hdf5 import write_hdf5
from tests.shards import sample

ROWS = 60


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset, with the tree in its folder `hdf5`, in several files a pixel."""
    root = tmp_path_factory.mktemp("sample")
    sample.write(root, ROWS)
    write_hdf5(root, sample.SURVEY, sample.RELEASE, max_bytes=10_000)
    return root


@pytest.fixture(scope="session")
def tree(ours: Path) -> Path:
    """The tree."""
    return ours / "hdf5" / "dr1_south"
