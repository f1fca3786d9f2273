"""`surveys/gz10` keeps to the contract."""

from __future__ import annotations

from mmu.survey import get_survey
from tests.surveys.contract import Contract


class TestContract(Contract):
    survey = get_survey("gz10")
