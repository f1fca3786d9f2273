"""Two processes do what one does; a checkpoint of either goes on with the other."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mmu.errors import UsageError
from tests.training.engine import runs
from tests.training.engine.runs import LONELY, RECIPE, losses, run, trainer
from training.engine import checkpoints, parallel
from training.engine.log import LOG
from training.model import files

pytestmark = pytest.mark.slow
CLOSE = 1e-5


@pytest.fixture(scope="module")
def outs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What one process writes, and what two write: those in `pair`."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    run(trainer(one), keep=9).finish()
    run(trainer(two / "widened"), until=13)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, "-m", runs.NAME, "pair", str(two)],
        capture_output=True, text=True, timeout=300, check=False, cwd=runs.ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {"one": one, **{path.name: path for path in two.iterdir()}}


def same(first: Path, second: Path) -> None:
    own, other = losses(first), losses(second)
    assert list(own) == list(other)
    assert list(own.values()) == pytest.approx(list(other.values()), rel=CLOSE)


def test_two_processes_have_the_losses_of_one(outs: dict[str, Path]) -> None:
    same(outs["one"], outs["whole"])
    same(outs["one"], outs["parts"])


def test_two_processes_end_with_the_weights_of_one(outs: dict[str, Path]) -> None:
    own, other = (files.load(outs[name]).state_dict() for name in ("one", "whole"))
    for name, values in own.items():
        assert torch.allclose(values, other[name], rtol=1e-3, atol=1e-5), name


def test_a_modality_of_one_process_alone_is_trained(outs: dict[str, Path]) -> None:
    lonely = outs["lonely"]
    assert list(losses(lonely)) == [1, 2, 3]
    assert f'"{LONELY}"' in (lonely / LOG).read_text()
    model = files.load(lonely)
    fresh = trainer(lonely, lonely=LONELY).model
    assert not torch.equal(model.sequence_tokens.weight, fresh.sequence_tokens.weight)


def test_one_process_goes_on_from_two(outs: dict[str, Path]) -> None:
    for step in (15, 20):
        _drop(outs["whole"], step)
    narrowed = trainer(outs["whole"])
    assert narrowed.resume()
    assert narrowed.step == 10
    run(narrowed)
    same(outs["one"], outs["whole"])


def _drop(out: Path, step: int) -> None:
    folder = out / checkpoints.FOLDER / f"step-{step:09d}"
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def test_two_processes_go_on_from_one(outs: dict[str, Path]) -> None:
    same(outs["one"], outs["widened"])


def test_one_that_is_asked_to_stop_stops_both(outs: dict[str, Path]) -> None:
    assert checkpoints.steps(outs["stopped"]) == [1]


def test_devices_and_dtypes_that_are_not_there_are_told() -> None:
    with pytest.raises(UsageError, match="Unknown device 'gpu'"), parallel.join("gpu"):
        pass
    with pytest.raises(UsageError, match="0 GPUs here"), parallel.join("cuda"):
        pass
    assert parallel.precision("auto", torch.device("cpu")) is torch.float32
    assert parallel.precision("auto", torch.device("cuda")) is torch.bfloat16
    with pytest.raises(UsageError, match="Unknown dtype 'float8'"):
        parallel.precision("float8", torch.device("cpu"))


def test_fewer_bits_on_one_device(tmp_path: Path) -> None:
    made = trainer(tmp_path, replace(RECIPE, steps=2))
    made.dtype = torch.bfloat16
    run(made)
    assert list(losses(tmp_path).values()) == pytest.approx(list(losses_of_float32(tmp_path).values()), rel=0.02)
    assert made.model.heads.weight.dtype is torch.float32


def losses_of_float32(tmp_path: Path) -> dict[int, float]:
    return losses(run(trainer(tmp_path / "float32", replace(RECIPE, steps=2))).out)
