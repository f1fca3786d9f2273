"""Fixtures every room shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("reliability")
    group.addoption("--thorough", action="store_true", help="the long runs: 200 random kills, thousands of bad files")
    group.addoption("--report", type=Path, help="write what tests/reliability found to this Markdown file")


@pytest.fixture(scope="session")
def thorough(request: pytest.FixtureRequest) -> bool:
    """True in `make reliability`, False in `make test`."""
    return bool(request.config.getoption("--thorough"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real survey files, or a skip that says why."""
    folder = Path(os.environ.get("MMU_REAL_DATA", ""))
    if not os.environ.get("MMU_REAL_DATA") or not folder.is_dir():
        pytest.skip("MMU_REAL_DATA does not name a folder of real survey files")
    return folder
