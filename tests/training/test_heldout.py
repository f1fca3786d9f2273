"""Nats of objects not seen: a model that knows passes, one that does not fails, and numbers are what they should be."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmu.errors import UsageError
from training import codecs
from training.heldout import Redshifts, held_out, neighbours, redshifts
from training.modalities import MODALITIES
from training.model import Model
from training.model.anytoany import AnyToAny
from training.model.config import ModelConfig
from training.ragged import Cells, batch

CODES = 8


def tokens(count: int, seed: int) -> dict[str, Any]:
    """Of two numbers, the second is the first but for one in ten."""
    random = np.random.default_rng(seed)
    first = random.integers(0, CODES, (count, 1))
    second = np.where(random.random((count, 1)) < 0.1, random.integers(0, CODES, (count, 1)), first)
    return {"tok_ebv": first.astype(np.int16), "tok_redshift": second.astype(np.int16)}


@cache
def trained(steps: int) -> AnyToAny:
    torch.manual_seed(0)
    network = AnyToAny(ModelConfig(("tok_ebv", "tok_redshift"), dim=16, encoder_depth=1, decoder_depth=1, heads=2))
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for step in range(steps):
        known = tokens(64, 1000 + step)
        made = []
        for key in ("tok_ebv", "tok_redshift"):
            row = np.full(64, MODALITIES[key].id)
            made.append(Cells(np.arange(64), row, np.zeros(64, int), known[key][:, 0].astype(int)))
        optimiser.zero_grad()
        network(batch(64, made[0], made[1], made[1].id)).sum().backward()
        optimiser.step()
    return network


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A codec of eight redshifts."""
    out = tmp_path_factory.mktemp("codecs")
    codec: Any = codecs.make("scalar", modality="redshift", codebook_size=CODES, reservoir_size=1000)
    codec.fit(values=torch.rand(1000, generator=torch.Generator().manual_seed(0)))
    codec.finish()
    codec.save(out / "redshift")
    return out


def test_a_model_that_learnt_is_below_both_controls(folder: Path) -> None:
    found = held_out(Model(trained(150), folder), tokens(500, 1), tokens(200, 2), "tok_redshift", ["tok_ebv"])
    assert found.passes
    assert found.objects == 200
    assert found.unigram == pytest.approx(np.log(CODES), abs=1.2)  # smoothed over the whole table of ids
    assert found.model < 1.0
    assert found.shuffled > found.model + 1
    assert found.gain[0] < found.unigram - found.model < found.gain[1]
    fair = held_out(
        Model(trained(150), folder), tokens(500, 1), tokens(200, 2), "tok_redshift", ["tok_ebv"], vocabulary=CODES
    )
    assert fair.unigram == pytest.approx(np.log(CODES), abs=0.05)


def test_a_model_that_learnt_nothing_does_not_pass(folder: Path) -> None:
    found = held_out(Model(trained(0), folder), tokens(500, 1), tokens(200, 2), "tok_redshift", ["tok_ebv"])
    assert not found.passes


def test_redshifts_of_both_ways(folder: Path) -> None:
    model = Model(trained(150), folder)
    own = redshifts(model, tokens(200, 2), "tok_redshift", ["tok_ebv"])
    other = neighbours(model, tokens(500, 1), tokens(200, 2), "tok_redshift", ["tok_ebv"])
    assert own.nmad < 0.1
    assert other.nmad < 0.1
    assert own.outliers < 0.2
    assert own.objects == other.objects == 200


def test_scores_of_known_redshifts() -> None:
    truth = np.array([0.0, 0.5, 1.0, 1.5] * 25)
    right = Redshifts.of(truth, truth, (np.arange(100) + 0.5) / 100)
    assert right.nmad == right.bias == right.outliers == 0
    assert right.pit == pytest.approx(0.005)
    off = Redshifts.of(truth + 0.2 * (1 + truth), truth, np.zeros(100))
    assert off.bias == pytest.approx(0.2)
    assert off.outliers == 1
    assert off.pit == pytest.approx(1)


def test_too_few_objects_are_told(folder: Path) -> None:
    model, few = Model(trained(0), folder), tokens(5, 1)
    few["tok_ebv"][1:] = -1
    with pytest.raises(UsageError, match="1 objects have tok_redshift"):
        held_out(model, few, few, "tok_redshift", ["tok_ebv"])
    with pytest.raises(UsageError, match="1 training objects"):
        neighbours(model, few, few, "tok_redshift", ["tok_ebv"])
