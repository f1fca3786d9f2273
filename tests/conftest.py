"""Fixtures every room shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real survey files, or a skip that says why."""
    folder = Path(os.environ.get("MMU_REAL_DATA", ""))
    if not os.environ.get("MMU_REAL_DATA") or not folder.is_dir():
        pytest.skip("MMU_REAL_DATA does not name a folder of real survey files")
    return folder
