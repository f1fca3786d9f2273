"""Units that a survey chooses once the objects are selected: the account moves along with them."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mmu.build.plan import Plan
from mmu.build.planner import _choose_units
from mmu.errors import FormatError


def _spec(units: list[str]) -> Any:
    router = SimpleNamespace(plan_units=lambda release, objects: np.array(units))
    return SimpleNamespace(survey=SimpleNamespace(name="fake", router=router), release=None)


def _plan() -> Plan:
    objects = pa.table({"object_id": ["1", "2", "3"], "unit": ["a", "a", "b"]})
    return Plan(objects, Counter({"a": 5, "b": 1, "c": 2}), Counter({("a", "cut"): 3, ("c", "cut"): 2}))


def test_rows_move_with_their_units() -> None:
    plan = _plan()
    _choose_units(_spec(["a-1", "a-2", "b-1"]), plan)
    assert plan.objects["unit"].to_pylist() == ["a-1", "a-2", "b-1"]
    assert plan.read == {"a": 3, "c": 2, "a-1": 1, "a-2": 1, "b-1": 1}
    assert plan.read.total() == plan.cut.total() + len(plan.objects)
    assert sorted(plan.rows_of_unit) == ["a-1", "a-2", "b-1"]


def test_a_unit_may_stay_as_it_is() -> None:
    plan = _plan()
    _choose_units(_spec(["a", "a", "b-1"]), plan)
    assert plan.read == {"a": 5, "c": 2, "b-1": 1}


def test_a_survey_without_a_choice_is_left_alone() -> None:
    plan, before = _plan(), _plan()
    _choose_units(SimpleNamespace(survey=SimpleNamespace(router=None)), plan)  # type: ignore[arg-type]
    assert plan.objects.equals(before.objects)
    assert plan.read == before.read


def test_objects_of_two_units_are_not_thrown_together() -> None:
    with pytest.raises(FormatError, match="fake: plan_units gave objects of two units to one"):
        _choose_units(_spec(["a", "x", "x"]), _plan())
