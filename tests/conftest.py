"""Fixtures every room shares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmu.kept import VARIABLE


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("reliability")
    group.addoption("--thorough", action="store_true", help="the long runs: 200 random kills, thousands of bad files")
    group.addoption("--report", type=Path, help="write what tests/reliability found to this Markdown file")


LONGEST = ("test_readme.py", "test_tutorials.py", "test_faults.py")
"""Files of minutes. They are begun first: at the end, one would keep one worker busy and the others idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """`--dist loadfile`, in order of collection, and with each tutorial on its own: they have nothing in common."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return nodeid if "::test_tutorial[" in nodeid else str(super()._split_scope(nodeid))

    config.option.loadscopereorder = False
    return Files(config, log)


@pytest.fixture(scope="session", autouse=True)
def rendered_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One folder of simulated files for this session: for its workers, and for every program they start."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, os.environ.get(VARIABLE) or str(shared / "rendered"))
        yield


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
