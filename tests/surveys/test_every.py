"""Every survey has a folder of tests, and the contract in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmu.survey import survey_names


@pytest.mark.parametrize("name", [name for name in survey_names() if name != "toy"])
def test_a_survey_inherits_the_contract(name: str) -> None:
    file = Path(__file__).parent / name / "test_contract.py"
    assert f'survey = get_survey("{name}")' in file.read_text(encoding="utf-8")
