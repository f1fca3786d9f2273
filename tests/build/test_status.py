"""`mmu status` of a build that runs, died, is done in part, is done, or never was."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mmu.build.journal import Journal
from mmu.build.status import status
from mmu.cli import app
from mmu.errors import UsageError
from tests.build.test_bad_input import killed, problems


def said(path: Path) -> str:
    result = CliRunner().invoke(app, ["status", str(path)])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_finished_build(toy: Any, tmp_path: Path) -> None:
    toy.build(tmp_path / "out")
    (found,) = status(tmp_path / "out")
    assert (found.release, found.state, found.units, found.objects) == ("v1", "done", (6, 6), (36, 36))
    for path in ("out", "out/toy", "out/toy/v1"):
        assert said(tmp_path / path).startswith("v1: done\n  6 of 6 units, 36 of 36 objects, ")


def test_a_partial_one_says_what_is_missing_and_why(toy: Any, tmp_path: Path) -> None:
    toy.spoil("u1", "WRONG")
    toy.build(tmp_path / "out")
    (found,) = status(tmp_path / "out")
    assert (found.state, found.units, found.objects) == ("partial", (5, 6), (30, 36))
    words = said(tmp_path / "out")
    assert "run the same command to try it again" in words
    assert "failed 6 objects: file not as the data model says" in words
    assert "for example: u1: not as the data model says" in words


def test_verify_says_that_a_build_is_unfinished_whatever_else_is_wrong(toy: Any, tmp_path: Path) -> None:
    """Killed while the ledger's files are replaced one after the other: they are not of one build then."""
    toy.build(tmp_path / "out")
    (tmp_path / "out/toy/.building-v1").mkdir()
    with (tmp_path / "out/toy/v1/_mmu/objects.parquet").open("ab") as file:
        file.write(b"of another build")
    first, last = problems(tmp_path / "out/toy")
    assert "objects.parquet was changed" in first
    assert "unfinished; run it again" in last


def test_a_dead_one(toy: Any, tmp_path: Path) -> None:
    toy.spoil("u2", "WRONG")
    killed(toy, tmp_path / "out", Journal, "add", 5)
    (found,) = status(tmp_path / "out/toy")
    assert found.state == "stopped"
    assert 0 < found.units[0] < found.units[1] == 6
    assert 0 < found.objects[0] < found.objects[1] == 36
    assert found.idle_s is not None
    assert found.bytes > 0
    assert "stopped before its end; run the same command to go on" in said(tmp_path / "out")
    toy.write()
    toy.build(tmp_path / "out")
    assert status(tmp_path / "out")[0].state == "done"


def test_a_running_one_names_its_process(toy: Any, tmp_path: Path) -> None:
    killed(toy, tmp_path / "out", Journal, "add", 5)
    note = tmp_path / "out/toy/.v1.holder.lock"
    note.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": "today"}))
    (found,) = status(tmp_path / "out")
    assert (found.state, found.who) == ("running", f"process {os.getpid()} on {socket.gethostname()} since today")
    assert f"v1: running: process {os.getpid()}" in said(tmp_path / "out")


def test_one_that_plans_has_no_numbers_yet(tmp_path: Path) -> None:
    note = tmp_path / "toy/.v1.holder.lock"
    note.parent.mkdir()
    note.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": "today"}))
    assert "planning" in said(tmp_path)


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds nothing that mmu built or began"):
        status(tmp_path)


def test_a_damaged_ledger_is_named(toy: Any, tmp_path: Path) -> None:
    toy.build(tmp_path / "out")
    (tmp_path / "out/toy/v1/_mmu/units.parquet").write_bytes(b"x")
    assert "v1: damaged: " in said(tmp_path / "out")


def test_for_programs(toy: Any, tmp_path: Path) -> None:
    toy.build(tmp_path / "out")
    result = CliRunner().invoke(app, ["status", str(tmp_path / "out"), "--json"])
    assert json.loads(result.output)[0]["objects"] == [36, 36]
