"""A step and a run: the same however it is cut, killed and taken up again; what cannot go on is said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmu.errors import FormatError, UsageError
from tests.training.engine import runs
from tests.training.engine.runs import RECIPE, losses, run, trainer
from training.engine import checkpoints
from training.engine.log import LOG
from training.engine.optimiser import adamw, learning_rate
from training.engine.signals import Stop, watched
from training.model import files
from training.recipes import MODELS

GOLDEN = [
    6.9528, 6.99272, 6.93506, 6.75281, 6.49465, 6.57403, 6.41498, 6.2517, 6.07583, 5.94363,
    5.7951, 5.72414, 5.66116, 5.50755, 5.45224, 5.4273, 5.29225, 5.24013, 5.3134, 5.39722,
]  # fmt: skip
"""Losses of the test recipe's 20 steps; a change that is not meant to change numbers does not change them."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the test recipe."""
    out = tmp_path_factory.mktemp("whole")
    run(trainer(out), keep=9).finish()
    return out


def test_losses_are_what_they_were(whole: Path) -> None:
    assert list(losses(whole).values()) == pytest.approx(GOLDEN, rel=1e-4)


def test_a_step_in_parts_is_the_same_step(whole: Path, tmp_path: Path) -> None:
    parts = losses(run(trainer(tmp_path, accumulate=4)).out)
    assert list(parts.values()) == pytest.approx(list(losses(whole).values()), rel=1e-6)


def test_one_batch_is_learnt_by_heart(tmp_path: Path) -> None:
    made = trainer(tmp_path, replace(RECIPE, steps=80, warm_up=10, learning_rate=2e-2), same=True)
    run(made, save_every=1000)
    assert losses(tmp_path)[80] < 0.05


def test_a_killed_run_goes_on_to_the_same_losses_and_weights(whole: Path, tmp_path: Path) -> None:
    run(trainer(tmp_path), until=13)
    assert list(losses(tmp_path)) == list(range(1, 14))
    again = trainer(tmp_path, replace(RECIPE, seed=RECIPE.seed))
    assert again.resume()
    assert again.step == 10
    run(again).finish()
    assert losses(tmp_path) == losses(whole)
    assert (tmp_path / files.WEIGHTS).read_bytes() == (whole / files.WEIGHTS).read_bytes()


def test_a_process_that_is_killed_or_asked_to_stop_goes_on(whole: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", runs.NAME, "alone"]
    ends = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 0}
    going = {number: subprocess.Popen([*command, str(tmp_path / number.name)], cwd=runs.ROOT) for number in ends}
    for number, process in going.items():
        _wait_for(tmp_path / number.name / LOG, 7)
        process.send_signal(number)
    for number, process in going.items():
        assert process.wait(60) == ends[number]
        out = tmp_path / number.name
        there = checkpoints.steps(out)
        assert there[-1] == (max(losses(out)) if ends[number] == 0 else 5)
        made = trainer(out)
        assert made.resume()
        run(made)
        assert losses(out) == losses(whole)


def _wait_for(log: Path, lines: int) -> None:
    for _ in range(3000):
        if log.is_file() and log.read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.1)
    raise AssertionError(f"{log} did not get {lines} lines")


def test_signals_are_noted_and_left_as_they_were() -> None:
    for number in (signal.SIGTERM, signal.SIGUSR1):
        before = signal.getsignal(number)
        with watched() as stop:
            assert not stop
            os.kill(os.getpid(), number)
            assert stop
        assert signal.getsignal(number) == before


def test_gradients_that_are_not_finite_are_skipped_counted_and_at_last_too_many(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    forward, spoilt = made.model.forward, [True]

    def spoil(batch: object) -> Tensor:
        sums: Tensor = forward(batch)
        return sums * torch.nan if spoilt[0] else sums

    made.model.forward = spoil
    before = {name: values.clone() for name, values in made.model.state_dict().items()}
    for _ in range(10):
        made.advance()
    assert made.skipped == 10
    assert all(torch.equal(values, before[name]) for name, values in made.model.state_dict().items())
    spoilt[0] = False
    made.advance()
    made.save()
    assert checkpoints.state_of(tmp_path, 11)["updates"] == 1
    spoilt[0] = True
    for _ in range(10):
        made.advance()
    with pytest.raises(UsageError, match="11 gradients in a row were not finite, the last at step 22"):
        made.advance()


def test_a_log_has_null_for_what_is_not_finite(tmp_path: Path) -> None:
    made = trainer(tmp_path, replace(RECIPE, steps=1))
    forward = made.model.forward
    made.model.forward = lambda batch: forward(batch) * torch.nan
    run(made)
    assert json.loads((tmp_path / LOG).read_text())["loss"] is None


def test_another_run_is_not_resumed(whole: Path) -> None:
    with pytest.raises(UsageError, match=r"recipe\.learning_rate was 0\.003, now 1\.0"):
        trainer(whole, replace(RECIPE, learning_rate=1.0)).resume()
    with pytest.raises(UsageError, match=r"data\.rows\.drawn was 7, now 9"):
        trainer(whole, ids=9).resume()
    with pytest.raises(UsageError, match=r"model\.dim was 32, now 64"):
        trainer(whole, replace(RECIPE, model={**RECIPE.model, "dim": 64})).resume()
    assert trainer(whole, replace(RECIPE, steps=30)).resume()


def test_damaged_checkpoints_are_told(tmp_path: Path) -> None:
    run(trainer(tmp_path, replace(RECIPE, steps=2)))
    shard = next((tmp_path / checkpoints.FOLDER).glob("*/*.safetensors"))
    data = shard.read_bytes()
    for spoilt in (data[: len(data) // 2], b""):
        shard.write_bytes(spoilt)
        with pytest.raises(FormatError, match="no whole checkpoint of this model"):
            trainer(tmp_path).resume()
    shard.unlink()
    with pytest.raises(FormatError, match="no whole checkpoint of this model"):
        trainer(tmp_path).resume()
    (tmp_path / checkpoints.FOLDER / "step-000000002" / checkpoints.STATE).write_text("{")
    with pytest.raises(FormatError, match="no whole checkpoint"):
        trainer(tmp_path).resume()


def test_only_whole_and_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    half = tmp_path / checkpoints.FOLDER / "step-000000099.part"
    half.mkdir(parents=True)
    made = trainer(tmp_path, replace(RECIPE, steps=6))
    assert not made.resume()
    run(made, save_every=2, keep=2)
    assert checkpoints.steps(tmp_path) == [4, 6]
    assert sorted(path.name for path in half.parent.iterdir()) == ["step-000000004", "step-000000006"]


def test_the_model_at_the_end_is_one_that_loads(whole: Path) -> None:
    model, own = files.load(whole), trainer(whole)
    own.resume()
    assert model.config == own.model.config
    assert all(torch.equal(values, own.model.state_dict()[name]) for name, values in model.state_dict().items())
    trained = json.loads((whole / files.CONFIG).read_text())["trained"]
    assert trained["steps"] == 20
    assert trained["objects"] == 160


def test_matrices_decay_and_vectors_do_not() -> None:
    model = trainer(Path()).model
    names = {id(values): name for name, values in model.named_parameters()}
    decays, keeps = ({names[id(values)] for values in group["params"]} for group in adamw(model, RECIPE).param_groups)
    assert {"heads.weight", "decoder_proj_context.weight", "encoder.0.attn.qkv.weight"} <= decays
    assert {"tokens.weight", "modality.weight", "mask_token", "encoder_norm.weight"} <= keeps
    assert "decoder_proj_context.bias" in keeps
    assert all("norm" not in name and not name.endswith("bias") for name in decays)
    assert len(decays | keeps) == len(names) - 1  # the empty table of sequences


def test_the_learning_rate_rises_and_falls() -> None:
    recipe = MODELS["base"]
    assert learning_rate(recipe, 0) == pytest.approx(2e-4 / 20_500)
    assert learning_rate(recipe, 20_499) == pytest.approx(2e-4)
    assert learning_rate(recipe, 20_500) == 2e-4
    assert learning_rate(recipe, (20_500 + 205_000) // 2) == pytest.approx(1e-4)
    assert learning_rate(recipe, 205_000) == learning_rate(recipe, 300_000) == 0


def test_a_run_that_is_asked_to_stop_writes_a_checkpoint(tmp_path: Path) -> None:
    stop = Stop()
    stop.ask()
    assert not trainer(tmp_path).run(tell=lambda entry: None, stop=stop)
    assert checkpoints.steps(tmp_path) == [1]
