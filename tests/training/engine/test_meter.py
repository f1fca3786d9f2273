"""What is told of a run: operations as PyTorch counts them, losses by modality, files that TensorBoard reads."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.training.engine.drawn import KEYS
from tests.training.engine.runs import ALONE, RECIPE, run, trainer
from training.engine import flops
from training.engine.log import EVENTS, LOG, Log
from training.engine.meter import Meter
from training.modalities import MODALITIES
from training.model.anytoany import AnyToAny
from training.model.config import ModelConfig
from training.ragged import Batch, Cells, batch
from training.recipes import MODELS


def full(objects: int, inputs: int, targets: dict[str, int]) -> Batch:
    """A batch with the same numbers of tokens of each object; what is given is of an image."""
    image = MODALITIES["tok_image"].id
    given = [(number, image, place, place) for number in range(objects) for place in range(inputs)]
    asked = [
        (number, MODALITIES[key].id, place, 0)
        for number in range(objects)
        for key, count in targets.items()
        for place in range(count)
    ]
    known, wanted = (Cells(*np.array(rows, np.int64).T) for rows in (given, asked))
    return batch(objects, known, wanted, np.zeros(len(asked), np.int64), (inputs, sum(targets.values())))


def test_operations_are_those_that_pytorch_counts() -> None:
    config = ModelConfig(("tok_image", "tok_segmap"), dim=32, encoder_depth=2, decoder_depth=3, heads=2)
    made, model = full(3, 40, {"tok_segmap": 20}), AnyToAny(config)
    with FlopCounterMode(display=False) as counter:
        model(made).sum().backward()
    products = counter.get_flop_counts()["Global"]
    linear = sum(count for name, count in products.items() if "mm" in str(name))
    attention = 3 * 4 * config.dim * 3 * (2 * 40 * 40 + 3 * 20 * 20 + 3 * 20 * 40)
    own = flops.of_batch(config, made)
    # The first layer's gradient by what it was given is counted by us, and is needed: vectors are learnt.
    assert own == pytest.approx(linear + attention, rel=1e-3)


def test_the_published_sizes_cost_what_they_are_said_to() -> None:
    keys = tuple(key for key, row in MODALITIES.items() if row.published)
    made = full(1, 256, {"tok_image_hsc": 64, "tok_spectrum_desi": 64})
    costs = {name: flops.of_batch(ModelConfig(keys, **MODELS[name].model), made) / 1e12 for name in MODELS}
    assert costs["base"] == pytest.approx(0.2435, rel=0.02)
    assert costs["large"] == pytest.approx(0.85, rel=0.05)
    assert costs["xlarge"] == pytest.approx(3.3, rel=0.05)


def test_a_device_does_so_many_operations() -> None:
    most, where = flops.peak(torch.device("cpu"), torch.float32)
    assert 1e9 < most < 1e14
    assert "measured" in where


def test_devices_are_known_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"NVIDIA H100 80GB HBM3": 989, "NVIDIA H100 PCIe": 756, "NVIDIA H200": 989, "NVIDIA A100-SXM4-40GB": 312}
    for name, most in {**names, "NVIDIA A10G": 125, "NVIDIA L4": 121, "NVIDIA L40S": 362}.items():
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        assert flops.peak(torch.device("cuda"), torch.bfloat16)[0] == most * 1e12


def test_losses_are_means_over_tokens_by_their_weights() -> None:
    config = ModelConfig(("tok_image", "tok_segmap"), **RECIPE.model)
    weights = torch.tensor([1.0, 3.0])
    meter = Meter(config, weights, ALONE, 1e12)
    meter.add(full(2, 4, {"tok_segmap": 6}), torch.tensor([0.0, 24.0]))
    meter.add(full(1, 4, {"tok_image": 4}), torch.tensor([8.0, 0.0]))
    meter.step(0.5, 0.0)
    entry = meter.entry()
    assert entry["losses"] == {"tok_image": 2.0, "tok_segmap": 2.0}
    assert entry["loss"] == 2.0
    assert entry["objects"] == 3
    assert entry["gradient"] == 0.5
    meter.add(full(1, 4, {"tok_segmap": 2}), torch.tensor([0.0, 2.0]))
    meter.step(1.5, 0.0)
    assert meter.entry()["losses"] == {"tok_segmap": 1.0}


def test_weights_of_modalities_weigh_in_the_loss(tmp_path: Path) -> None:
    made = trainer(tmp_path, replace(RECIPE, steps=1, weights={KEYS[0]: 0.0, KEYS[1]: 5.0}))
    run(made)
    entry = json.loads((tmp_path / LOG).read_text())
    parts = made.batches(0)
    counts = {key: sum(part.targets.counts.get(key, 0) for part in parts) for key in KEYS}
    weights = {key: made.recipe.weights.get(key, 1.0) * counts[key] for key in KEYS}
    whole = sum(entry["losses"].get(key, 0.0) * weight for key, weight in weights.items())
    assert entry["loss"] == pytest.approx(whole / sum(weights.values()))


def test_a_log_drops_what_comes_after_the_step_it_goes_on_from(tmp_path: Path) -> None:
    log = Log(tmp_path, 0)
    for step in (1, 2, 3):
        log.write({"step": step, "loss": float(step)})
    log.close()
    with (tmp_path / LOG).open("a") as file:
        file.write('{"step": 4, "lo')
    Log(tmp_path, 2).close()
    assert [json.loads(line)["step"] for line in (tmp_path / LOG).read_text().splitlines()] == [1, 2]


def test_without_tensorboard_it_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    said: list[str] = []
    log = Log(tmp_path, 0, said.append)
    log.write({"step": 1})
    log.close()
    assert len(said) == 1
    assert "pip install tensorboard" in said[0]


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_reads_what_is_logged(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = Log(tmp_path, 0)
    log.write({"step": 3, "loss": 1.5, "losses": {"tok_z": 2.5}, "gradient": float("nan")})
    log.close()
    events = EventAccumulator(str(tmp_path / EVENTS))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["loss", "losses/tok_z"]
    assert [(one.step, one.value) for one in events.Scalars("losses/tok_z")] == [(3, 2.5)]
