"""Drawing tokens: how many a step, from which probabilities, and that what is drawn follows what the model learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from mmu.errors import UsageError
from training.codecs import ABSENT
from training.modalities import MODALITIES
from training.model.anytoany import AnyToAny
from training.model.config import ModelConfig
from training.model.generate import Decoding, _cut, cells, generate, likelihood
from training.ragged import Cells, batch
from training.spans import END, SENTINEL

KEYS = ("tok_z", "tok_ebv", "tok_image12_hsc", "catalog")


def model(*keys: str, seed: int = 0) -> AnyToAny:
    torch.manual_seed(seed)
    return AnyToAny(ModelConfig(keys or KEYS, dim=32, encoder_depth=1, decoder_depth=1, heads=4)).eval()


def scalars(count: int, seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {key: random.integers(0, 1024, (count, 1)).astype(np.int16) for key in ("tok_z", "tok_ebv")}


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize(("tokens", "steps"), [(1, 8), (5, 5), (144, 12), (576, 25), (3, 2)])
def test_all_tokens_are_drawn_and_no_step_is_empty(tokens: int, steps: int, schedule: Any) -> None:
    counts = Decoding(steps=steps, schedule=schedule).counts(tokens)
    assert sum(counts) == tokens
    assert len(counts) == min(steps, tokens)
    assert min(counts) >= 1
    if schedule == "cosine" and tokens > 100:
        assert counts[-1] > counts[0]


@pytest.mark.parametrize("scheme", ["roar", "maskgit"])
def test_every_place_gets_an_id(scheme: Any) -> None:
    drawn = generate(model(), "tok_image12_hsc", scalars(3), 3, Decoding(scheme, steps=5))
    assert drawn.ids.shape == (3, 144)
    assert drawn.ids.min() >= 0
    assert drawn.ids.max() < 4375
    assert np.isfinite(drawn.log_likelihood).all()


def test_one_token_is_drawn_from_its_probabilities() -> None:
    """40,000 draws of a token of few ids: chi-square of the counts."""
    own = model("tok_z", "tok_ebv")
    with torch.no_grad():
        own.heads.weight.mul_(40)
    given = {"tok_ebv": np.zeros((40_000, 1), np.int16)}
    drawn = generate(own, "tok_z", given, 40_000, Decoding(steps=1)).ids[:, 0]
    ids = np.arange(MODALITIES["tok_z"].vocabulary)[:, None]
    odds = np.exp(likelihood(own, "tok_z", ids, {"tok_ebv": given["tok_ebv"][: len(ids)]}).astype(float))
    assert odds.sum() == pytest.approx(1, abs=1e-4)
    often = odds * 40_000 > 10
    counts = np.bincount(drawn, minlength=len(odds))
    seen, expected = (np.append(values[often], values[~often].sum()) for values in (counts, odds * 40_000))
    assert stats.chisquare(seen, expected * seen.sum() / expected.sum()).pvalue > 1e-3


def test_the_likelihood_told_is_the_chain_rule() -> None:
    """In one step, what generating says of what it drew is what asking afterwards says."""
    own, given = model(), scalars(4)
    drawn = generate(own, "tok_image12_hsc", given, 4, Decoding(steps=1))
    again = likelihood(own, "tok_image12_hsc", drawn.ids, given, steps=1)
    np.testing.assert_allclose(drawn.log_likelihood, again, rtol=1e-5)


def test_no_temperature_takes_the_likeliest() -> None:
    own, given = model(), scalars(2)
    how = Decoding(steps=1, temperature=0.0)
    one, other = (generate(own, "tok_image12_hsc", given, 2, how, seed).ids for seed in (1, 2))
    assert np.array_equal(one, other)


def test_the_same_seed_draws_the_same() -> None:
    own, given = model(), scalars(2)
    first, again, other = (
        generate(own, "tok_image12_hsc", given, 2, Decoding(steps=3), seed).ids for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_cuts() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    assert torch.isfinite(_cut(logits, Decoding(top_k=2))).tolist() == [[True, True, False, False]]
    assert torch.isfinite(_cut(logits, Decoding(top_p=0.7))).tolist() == [[True, True, False, False]]
    assert torch.isfinite(_cut(logits, Decoding(top_p=0.4))).tolist() == [[True, False, False, False]]


def test_guidance_of_one_is_the_model_and_more_is_more() -> None:
    own, given = model(), scalars(8)
    plain, led = (
        generate(own, "tok_image12_hsc", given, 8, Decoding(steps=1, temperature=0.0, guidance=guidance)).ids
        for guidance in (1.0, 4.0)
    )
    assert not np.array_equal(plain, led)


def test_sequences_end() -> None:
    """A model that was taught two short lists draws the one that fits, with its end."""
    own = model("tok_z", "catalog", seed=1)
    lists = {10: [300, 400, 500], 900: [600, 700]}
    row = MODALITIES["catalog"].id
    given = Cells(np.arange(2), np.full(2, MODALITIES["tok_z"].id), np.zeros(2, int), np.array(list(lists)))
    parts = [np.array([SENTINEL, *ids, END]) for ids in lists.values()]
    asked = Cells(
        np.repeat(np.arange(2), [len(part) - 1 for part in parts]),
        np.full(sum(map(len, parts)) - 2, row),
        np.concatenate([np.arange(len(part) - 1) for part in parts]),
        np.concatenate([part[:-1] for part in parts]),
    )
    made = batch(2, given, asked, np.concatenate([part[1:] for part in parts]))
    optimiser = torch.optim.Adam(own.parameters(), 1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        loss = own(made).sum()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.3
    z = np.array([[10], [900]], np.int16)
    drawn = generate(own, "catalog", {"tok_z": z}, 2, Decoding(temperature=0.0))
    assert drawn.ids.shape == (2, 50)
    for ids, wanted in zip(drawn.ids, lists.values(), strict=True):
        assert ids[ids != ABSENT].tolist() == wanted


def test_given_sequences_have_an_end() -> None:
    ids = np.full((2, 50), ABSENT, np.int16)
    ids[1, :3] = [300, 301, 302]
    made = cells({"catalog": ids})
    assert made.object.tolist() == [1] * 4
    assert made.id.tolist() == [300, 301, 302, END]
    assert made.place.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "wrong", [{"scheme": "greedy"}, {"steps": 0}, {"temperature": -1}, {"top_p": 0}, {"top_k": -1}]
)
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Decoding(**wrong)
