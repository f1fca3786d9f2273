"""`surveys/desi_provabgs` keeps to the contract."""

from __future__ import annotations

from mmu.survey import get_survey
from tests.surveys.contract import Contract


class TestContract(Contract):
    survey = get_survey("desi_provabgs")
