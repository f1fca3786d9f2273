"""The demo's training: left out, in words, where it cannot be; what it says goes on to the demo's problems."""

from __future__ import annotations

import importlib
import importlib.util
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

demo: Any = importlib.import_module("mmu.cli.demo")
BOTH: dict[str, Any] = dict.fromkeys(demo.PAIR)


def test_without_pytorch_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    console = Console(file=io.StringIO(), width=200)
    assert demo._train(tmp_path, BOTH, console) == []
    assert "multimodal-universe[train]" in console.file.getvalue()  # type: ignore[attr-defined]


def test_it_needs_images_and_spectra(tmp_path: Path) -> None:
    console = Console(file=io.StringIO())
    assert demo._train(tmp_path, {"desi": None, "gaia": None}, console) == []
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_its_problems_are_those_of_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    there = SimpleNamespace(train=lambda out, pairs, console: [f"{pairs} is not there"])
    monkeypatch.setattr(importlib, "import_module", lambda name: there)
    pairs = tmp_path / "legacysurvey_x_desi"
    assert demo._train(tmp_path, BOTH, Console(file=io.StringIO())) == [f"{pairs} is not there"]
