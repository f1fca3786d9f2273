"""Our model and the published one, of the same weights, give the same logits and embeddings to 1e-4."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.training.model.published import ours, peer
from training.model import files
from training.model.agreement import CLOSE, KEYS, Question, agree, farthest, subset
from training.model.anytoany import AnyToAny


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, AnyToAny]:
    """Theirs, and ours of their files."""
    theirs = peer()
    return theirs, ours(theirs, tmp_path_factory.mktemp("published"))


@pytest.mark.parametrize("key", KEYS)
def test_each_as_the_only_input(pair: tuple[Any, AnyToAny], key: str) -> None:
    asked = [other for other in ("tok_z", "tok_spectrum_desi", "tok_segmap") if other != key]
    question = Question.whole([key], asked)
    assert farthest(question.ours(pair[1]), question.theirs(pair[0])) <= CLOSE


@pytest.mark.parametrize("key", KEYS)
def test_each_as_the_only_target(pair: tuple[Any, AnyToAny], key: str) -> None:
    given = [other for other in ("tok_image", "tok_z", "tok_xp_bp") if other != key]
    question = Question.whole(given, [key])
    assert farthest(question.ours(pair[1]), question.theirs(pair[0])) <= CLOSE


@pytest.mark.parametrize("seeds", range(10))
def test_random_subsets(pair: tuple[Any, AnyToAny], seeds: int) -> None:
    """Twenty each: modalities, masks and how much is padding differ, and some modalities have no token at all."""
    for seed in range(20 * seeds, 20 * seeds + 20):
        question = subset(seed)
        assert farthest(question.ours(pair[1]), question.theirs(pair[0])) <= CLOSE, f"seed {seed}"


def test_embeddings(pair: tuple[Any, AnyToAny]) -> None:
    question = Question.whole(["tok_image", "tok_z"], ["tok_ebv"])
    made = question.batch()
    theirs = pair[0].encode({key: question.ids[key] for key in ("tok_image", "tok_z")}, num_encoder_tokens=577)
    own = pair[1].encode(made.inputs).view(theirs.shape)
    torch.testing.assert_close(own, theirs, atol=CLOSE, rtol=0)


def test_as_the_published_sampler(pair: tuple[Any, AnyToAny]) -> None:
    """The step of `GenerationSampler` that all its schemes use gives the same logits."""
    from aion.fourm.generate import GenerationSampler

    question = Question.whole(["tok_spectrum_sdss"], ["tok_image_hsc"])
    with torch.no_grad():
        logits, *_ = GenerationSampler(pair[0]).forward_enc_dec_maskgit_batched(question.mods(), "tok_image_hsc")
    own = torch.stack(question.ours(pair[1])["tok_image_hsc"])
    torch.testing.assert_close(own, logits, atol=CLOSE, rtol=0)


def test_their_forward_of_one_token(pair: tuple[Any, AnyToAny]) -> None:
    from aion.modalities import Z

    question = Question.whole(["tok_image"], ["tok_z"])
    with torch.no_grad():
        theirs = pair[0]({"tok_image": question.ids["tok_image"]}, target_modality=Z)["tok_z"]
    torch.testing.assert_close(torch.stack(question.ours(pair[1])["tok_z"]), theirs, atol=CLOSE, rtol=0)


def test_their_forward_of_many_tokens_only_under_compat(pair: tuple[Any, AnyToAny], tmp_path: Path) -> None:
    from aion.modalities import DESISpectrum, Z

    question = Question.whole(["tok_image"], ["tok_spectrum_desi", "tok_z"])
    with torch.no_grad():
        theirs = pair[0]({"tok_image": question.ids["tok_image"]}, target_modality=[DESISpectrum, Z])
    found = {key: list(values) for key, values in theirs.items()}
    assert farthest(question.ours(ours(pair[0], tmp_path, "aion-0.0.2")), found) <= CLOSE
    assert farthest(question.ours(pair[1]), found) > 100 * CLOSE


def test_ours_loads_there(pair: tuple[Any, AnyToAny], tmp_path: Path) -> None:
    from aion.model import AION

    torch.manual_seed(3)
    own = AnyToAny(pair[1].config).eval()
    files.save(own, tmp_path, published=True)
    theirs = AION.from_pretrained(str(tmp_path)).eval()
    question = subset(7)
    assert farthest(question.ours(own), question.theirs(theirs)) <= CLOSE


@pytest.mark.parametrize("config", [{"qk_norm": False}, {"gated_mlp": False, "act_layer": "GELU"}])
def test_other_blocks(config: dict[str, Any], tmp_path: Path) -> None:
    theirs = peer(**config, domains_in=KEYS[-8:], domains_out=KEYS[-8:])
    question = Question.whole(["tok_spectrum_desi", "tok_xp_bp"], ["tok_z", "tok_spectrum_sdss"])
    assert farthest(question.ours(ours(theirs, tmp_path)), question.theirs(theirs)) <= CLOSE


def _swapped(one: str, other: str) -> Callable[[AnyToAny], None]:
    def swap(model: AnyToAny) -> None:
        block: Any = model.decoder[1]
        first, second = getattr(block, one), getattr(block, other)
        setattr(block, one, second)
        setattr(block, other, first)

    return swap


def _without(*path: str) -> Callable[[AnyToAny], None]:
    def drop(model: AnyToAny) -> None:
        part: Any = model
        for name in path[:-1]:
            part = part[int(name)] if name.isdigit() else getattr(part, name)
        old = getattr(part, path[-1])
        if isinstance(old, nn.ModuleList):
            setattr(part, path[-1], old[:-1])
        else:
            nn.init.ones_(old.weight) if isinstance(old, nn.LayerNorm) else nn.init.zeros_(old.weight)

    return drop


def _moved(model: AnyToAny) -> None:
    model.positions = model.positions.roll(1, 0)


def _of_one(table: str) -> Callable[[AnyToAny], None]:
    def same(model: AnyToAny) -> None:
        values: Any = getattr(model, table)
        with torch.no_grad():
            values.copy_(values[:1].expand_as(values)) if isinstance(values, torch.Tensor) else values.weight.copy_(
                values.weight[:1].expand_as(values.weight)
            )

    return same


MUTATIONS: dict[str, Callable[[AnyToAny], None]] = {
    "two norms of the decoder swapped": _swapped("norm1", "query_norm"),
    "norms of query and context swapped": _swapped("query_norm", "context_norm"),
    "the last norms swapped": _swapped("norm2", "norm1"),
    "no block less": _without("encoder"),
    "no norm of queries": _without("encoder", "0", "attn", "q_norm"),
    "no norm of keys": _without("decoder", "1", "cross_attn", "k_norm"),
    "no gate": _without("decoder", "0", "mlp", "fc3"),
    "no norm after the encoder": _without("encoder_norm"),
    "no projection of the context": _without("decoder_proj_context"),
    "places moved": _moved,
    "one vector for all modalities": _of_one("modality"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_difference_would_show(pair: tuple[Any, AnyToAny], mutation: str, tmp_path: Path) -> None:
    own = ours(pair[0], tmp_path)
    question = Question.whole(["tok_image", "tok_ebv"], ["tok_spectrum_desi", "tok_z"])
    theirs = question.theirs(pair[0])
    assert farthest(question.ours(own), theirs) <= CLOSE
    MUTATIONS[mutation](own)
    assert farthest(question.ours(own), theirs) > 10 * CLOSE


def test_weights_of_others_can_be_compared(tmp_path: Path) -> None:
    """What `python -m training.evaluate agree` does; of few modalities here."""
    keys = ["catalog", "tok_z", "tok_xp_bp", "tok_segmap"]
    theirs = peer(domains_in=keys, domains_out=keys)
    theirs.save_pretrained(tmp_path)
    told: list[str] = []
    found = agree(tmp_path, 5, lambda compared: told.append(compared.question))
    assert len(found) == len(told) == 2 * 4 + 5
    assert max(compared.difference for compared in found) <= CLOSE
