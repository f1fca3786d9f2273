"""The contract's tests run once for each release of the survey that their class names."""

from __future__ import annotations

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    survey = getattr(metafunc.cls, "survey", None)
    if survey is not None and "release" in metafunc.fixturenames:
        metafunc.parametrize("release", survey.releases, ids=lambda release: release.name, scope="class")
