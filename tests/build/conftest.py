"""The toy survey, installed while these tests run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.build.toy import Toy, installed


@pytest.fixture(scope="session", autouse=True)
def toy_survey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The plug-in on the path of this process and of its workers."""
    with installed(tmp_path_factory.mktemp("plugin")):
        yield


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "archive")
