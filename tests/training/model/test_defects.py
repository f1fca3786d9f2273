"""What the published model does wrong, shown there, and done right here."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from aion import modalities as theirs_of

from tests.training.model.published import ours, peer
from training.model.agreement import Question, farthest
from training.model.anytoany import AnyToAny
from training.model.config import ModelConfig


def test_tokens_from_the_256th_on_are_ignored_there(tmp_path: Path) -> None:
    theirs = peer()
    question = Question.whole(["tok_image"], ["tok_z"])
    ids = question.ids["tok_image"]
    other = ids.clone()
    other[:, 256:] = (other[:, 256:] + 7) % 4375
    with torch.no_grad():
        assert torch.equal(theirs.encode({"tok_image": ids}), theirs.encode({"tok_image": other}))
        own = ours(theirs, tmp_path)
        first = own.encode(question.batch().inputs)
        question.ids["tok_image"] = other
        assert float((own.encode(question.batch().inputs) - first).abs().max()) > 1e-2


def test_tokens_that_are_predicted_do_not_see_each_other_there(tmp_path: Path) -> None:
    """Between them all weigh the same, whatever they are: attention of one block of them is its own mean."""
    theirs = peer()
    question = Question.whole(["tok_z"], ["tok_spectrum_desi"])
    with torch.no_grad():
        found = theirs({"tok_z": question.ids["tok_z"]}, target_modality=theirs_of.DESISpectrum)
    found = {key: list(values) for key, values in found.items()}
    assert farthest(found, question.theirs(theirs)) > 1e-2
    assert farthest(question.ours(ours(theirs, tmp_path)), question.theirs(theirs)) <= 1e-4


@pytest.mark.parametrize("kind", ["LegacySurveyCatalog", "LegacySurveySegmentationMap"])
def test_some_modalities_cannot_be_asked_for_there(kind: str, tmp_path: Path) -> None:
    theirs = peer()
    question = Question.whole(["tok_z"], ["catalog" if "Catalog" in kind else "tok_segmap"])
    with pytest.raises(AttributeError, match="num_tokens"):
        theirs({"tok_z": question.ids["tok_z"]}, target_modality=getattr(theirs_of, kind))
    assert all(
        torch.isfinite(values).all() for part in question.ours(ours(theirs, tmp_path)).values() for values in part
    )


def test_which_targets_are_left_depends_on_the_interpreter_there() -> None:
    """Where there are more than fit, Python's global random decides, as the loss shows; ours leaves out nothing."""
    theirs = peer()
    question = Question.whole(["tok_z"], ["tok_image", "tok_spectrum_desi"])
    losses = set()
    for seed in range(6):
        random.seed(seed)
        from aion.fourm.fm import FourM

        with torch.no_grad():
            losses.add(round(float(FourM.forward(theirs, question.mods(), 1, 300)[0]), 4))
    assert len(losses) > 1


def test_a_large_vocabulary_counts_more_there() -> None:
    """The loss "by token" weighs each modality by its vocabulary; here a token is a token."""
    from aion.fourm.fm import FourM

    theirs = peer()
    question = Question.whole(["tok_z"], ["tok_image", "tok_spectrum_desi"])
    random.seed(0)
    with torch.no_grad():
        total, parts = FourM.forward(theirs, question.mods(), 1, 849, loss_type="token")
    image, spectrum = (float(parts[key]) for key in ("tok_image", "tok_spectrum_desi"))
    by_token = (576 * image + 273 * spectrum) / 849
    by_logit = (576 * 4375 * image + 273 * 1024 * spectrum) / (576 * 4375 + 273 * 1024)
    assert float(total) == pytest.approx(by_logit, rel=1e-4)
    assert abs(float(total) - by_token) > 10 * abs(float(total) - by_logit)


def test_weights_are_there_three_times_and_read_twice() -> None:
    """A grid's decoder never reads its vectors of ids; ours has none, an eighth less of Base."""
    keys = ("tok_z", "tok_image", "tok_spectrum_desi")
    theirs = peer(domains_in=list(keys), domains_out=list(keys))
    own = AnyToAny(ModelConfig(keys, dim=32, encoder_depth=2, decoder_depth=2, heads=4))
    unread = sum(
        values.numel()
        for name, values in theirs.named_parameters()
        if name.startswith("decoder_emb") and "token_emb" in name
    )
    counts = [sum(values.numel() for values in part.parameters()) for part in (theirs, own)]
    assert counts[0] - counts[1] == unread
