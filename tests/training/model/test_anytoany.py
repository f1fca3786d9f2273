"""What the model does that no published one can be asked about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from mmu.errors import FormatError, UsageError
from training.modalities import MODALITIES
from training.model import attention, files
from training.model.agreement import Question, subset
from training.model.anytoany import AnyToAny
from training.model.config import ModelConfig
from training.ragged import Batch, Cells, Segments, batch, targets

SIZES: dict[str, Any] = {"dim": 32, "encoder_depth": 2, "decoder_depth": 2, "heads": 4}
KEYS = tuple(MODALITIES)


def model(*keys: str, seed: int = 0) -> AnyToAny:
    torch.manual_seed(seed)
    return AnyToAny(ModelConfig(keys or KEYS, **SIZES))


@pytest.mark.parametrize("seed", range(4))
def test_an_object_does_not_depend_on_the_others(seed: int) -> None:
    """As alone: nothing is seen of other objects, nor of what fills rectangles."""
    own, question = model(), subset(seed)
    together = question.ours(own)
    for index in range(3):
        part = slice(index, index + 1)
        alone = Question(
            *({k: v[part] for k, v in ids.items()} for ids in (question.ids, question.given, question.asked))
        )
        for key, logits in alone.ours(own).items():
            torch.testing.assert_close(logits[0], together[key][index])


def test_sums_are_cross_entropies() -> None:
    own, question = model(), subset(3)
    made = question.batch()
    sums = own(made)
    labels = made.targets.labels[made.targets.order]
    start = 0
    for key, count in made.targets.counts.items():
        logits = torch.cat(question.ours(own)[key])
        expected = functional.cross_entropy(logits, labels[start : start + count], reduction="sum")
        torch.testing.assert_close(sums[own.config.modalities.index(key)], expected)
        start += count
    assert int((sums != 0).sum()) == len(made.targets.counts)


def test_every_parameter_learns_where_all_is_used() -> None:
    """Of few modalities, one a sequence; two tokens are given, as one that sees itself alone has nothing to choose."""
    own = model("catalog", "tok_z", "tok_ebv", "tok_image12_legacysurvey")
    question = Question.whole(["tok_z", "tok_ebv"], ["catalog", "tok_image12_legacysurvey"])
    own(question.batch()).sum().backward()
    for name, values in own.named_parameters():
        assert values.grad is not None, name
        assert torch.isfinite(values.grad).all(), name
        assert values.grad.abs().sum() > 1e-5, name


def test_a_sequence_sees_only_what_is_before() -> None:
    own = model("catalog", "tok_z")
    question = Question.whole(["tok_z"], ["catalog"])
    before = question.ours(own)["catalog"][0]
    question.ids["catalog"][:, 30] = 999
    after = question.ours(own)["catalog"][0]
    torch.testing.assert_close(after[:30], before[:30])
    assert float((after[30:] - before[30:]).abs().max()) > 1e-4


def test_objects_without_input_are_predicted_from_nothing() -> None:
    """Nothing is looked at where nothing is given: the published model looks at the mean of what fills the batch."""
    own = model("tok_z", "tok_ebv")
    given = Cells(np.array([1]), np.array([MODALITIES["tok_ebv"].id]), np.array([0]), np.array([9]))
    row = np.full(2, MODALITIES["tok_z"].id)
    asked = Cells(np.arange(2), row, np.zeros(2, int), np.zeros(2, int))
    made = batch(2, given, asked, np.array([3, 4]))
    sums = own(made)
    sums.sum().backward()
    assert torch.isfinite(sums).all()
    assert all(torch.isfinite(values.grad).all() for values in own.parameters() if values.grad is not None)


def test_layouts_agree() -> None:
    """Rectangles that need no moving, and the ones that do, see the same."""
    question = Question.whole(["tok_image12_hsc", "tok_z"], ["tok_spectrum_desi"])
    made = question.batch()
    assert made.inputs.objects.equal
    assert made.targets.objects.equal
    moved = Batch(
        replace(made.inputs, objects=_loose(made.inputs.objects)),
        replace(made.targets, objects=_loose(made.targets.objects), groups=_loose(made.targets.groups)),
    )
    own = model()
    torch.testing.assert_close(own(moved), own(made))


def _loose(segments: Segments) -> Segments:
    return replace(segments, longest=segments.longest + 5, equal=False)


def test_stretches_for_the_kernel_are_the_groups() -> None:
    """Grids by object and modality; sequences of their own, in order: what a GPU's kernel is called with."""
    key = {name: MODALITIES[name].id for name in ("catalog", "tok_z", "tok_xp_bp")}
    cells = Cells(
        np.array([0, 0, 0, 0, 1, 1, 1]),
        np.array([key["catalog"]] * 3 + [key["tok_z"]] + [key["tok_xp_bp"]] * 2 + [key["tok_z"]]),
        np.array([0, 1, 2, 0, 7, 9, 0]),
        np.array([4, 300, 301, 0, 0, 0, 0]),
    )
    made = targets(2, cells, cells.id)
    attend = attention._within_as_they_are(made)
    assert isinstance(attend, attention.Both)
    assert isinstance(attend.of_grids, attention.Varlen)
    assert isinstance(attend.of_sequences, attention.Varlen)
    assert attend.sequences.tolist() == [0, 1, 2]
    assert attend.of_sequences.causal
    lengths = [attend.of_sequences.queries.offsets.diff(), attend.of_grids.queries.offsets.diff()]
    assert [part[part > 0].tolist() for part in lengths] == [[3], [1, 2, 1]]


def test_stays_the_same_on_disk(tmp_path: Path) -> None:
    own, question = model(), subset(11)
    files.save(own, tmp_path, {"steps": 3})
    again = files.load(tmp_path)
    assert again.config == own.config
    for key, logits in question.ours(own).items():
        for one, other in zip(logits, question.ours(again)[key], strict=True):
            assert torch.equal(one, other)


def test_damage_is_told(tmp_path: Path) -> None:
    files.save(model("tok_z", "tok_ebv"), tmp_path)
    weights = tmp_path / files.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(FormatError, match="no readable model"):
        files.load(tmp_path)
    files.save(model("tok_z"), tmp_path / "other")
    (tmp_path / "other" / files.WEIGHTS).replace(weights)
    with pytest.raises(FormatError, match="does not fit its config"):
        files.load(tmp_path)
    with pytest.raises(UsageError, match="holds no model"):
        files.load(tmp_path / "other")


def test_configs_are_checked() -> None:
    with pytest.raises(UsageError, match="tok_zz"):
        ModelConfig(("tok_zz",), **SIZES)
    with pytest.raises(UsageError, match="divisible"):
        ModelConfig(("tok_z",), **{**SIZES, "dim": 30})
    with pytest.raises(UsageError, match="compat"):
        ModelConfig(("tok_z",), **SIZES, compat="aion-9")
    about = ModelConfig(("tok_z",), **SIZES).as_json()
    with pytest.raises(UsageError, match="update mmu"):
        ModelConfig.of_json({**about, "modalities_version": 99})
    with pytest.raises(UsageError, match="of no any-to-any model"):
        ModelConfig.of_json({"vocab_size": 3})
    with pytest.raises(UsageError, match="only its 40"):
        ModelConfig(("tok_redshift",), **SIZES).as_published()
