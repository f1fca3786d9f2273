"""What is given and what is asked for: budgets, chances, and nothing of it by anything but seed, epoch and number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mmu.errors import UsageError
from tests.training import token_sets as sets
from training.draws import bits, streams
from training.masking import LEAD, Masking, _one_of
from training.modalities import MODALITIES
from training.ragged import Ragged
from training.spans import END, SENTINEL

KEYS = "catalog tok_flux_g tok_image12_hsc tok_spectrum_desi tok_z tok_xp_bp"
GRIDS = "tok_ebv tok_xp_bp tok_segmap"


def places(side: Any, key: str) -> set[int]:
    return {place for name, place in side if name == key}


@settings(max_examples=40, deadline=None)
@given(
    inputs=st.integers(2, 300),
    targets=st.integers(2, 200),
    there=st.floats(0.1, 1),
    seed=st.integers(0, 2**63),
    beta=st.booleans(),
)
def test_what_is_given_and_asked_is_of_the_object(
    inputs: int, targets: int, there: float, seed: int, beta: bool
) -> None:
    tokens = sets.tokens(12, KEYS, seed % 1000, there)
    share: Any = ("beta", 0.5, 1.0) if beta else "full"
    made = Masking(inputs, targets, share, share).masked(tokens, np.arange(12), seed)
    assert made.skipped == 12 - len(made.kept)
    assert made.batch.inputs.objects.count == made.batch.targets.objects.count == len(made.kept)
    for number, (own, before, labels) in zip(made.kept, sets.sides(made.batch), strict=True):
        assert 1 <= len(own) <= inputs
        assert 1 <= len(labels) <= targets
        for key in KEYS.split():
            ids = tokens[key][number]
            if MODALITIES[key].kind == "grid":
                assert not places(own, key) & places(labels, key)
                assert all(ids[place] == own[key, place] for place in places(own, key))
                assert all(ids[place] == labels[key, place] for place in places(labels, key))
                assert all(before[key, place] == 0 for place in places(before, key))
                continue
            left, first, asked_for = (sets.sequence(side, key) for side in (own, before, labels))
            assert [SENTINEL, *asked_for[:-1]] == first or not first
            if asked_for and asked_for[-1] == END:
                whole = ids[ids >= 0].tolist()
                assert sets.rebuilt(left or [SENTINEL, END], [*first, END]) == whole
            assert not left or left[-1] == END


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 39), min_size=1, max_size=20, unique=True), st.integers(0, 2**40), st.integers(0, 99))
def test_masks_do_not_depend_on_the_rest_of_the_batch(some: list[int], first: int, epoch: int) -> None:
    tokens, masking = sets.tokens(40, KEYS, 3, 0.6), Masking(60, 30)
    whole = masking.masked(tokens, first + np.arange(40), 5, epoch)
    alone = masking.masked(sets.taken(tokens, some), first + np.array(some), 5, epoch)
    every = dict(zip(whole.kept.tolist(), sets.sides(whole.batch), strict=True))
    assert sets.sides(alone.batch) == [every[some[kept]] for kept in alone.kept]
    assert {some[kept] for kept in alone.kept} == set(every) & set(some)


def test_masks_do_not_depend_on_modalities_that_nobody_has() -> None:
    tokens = sets.tokens(20, GRIDS)
    more = {**tokens, **{key: ids * 0 - 1 for key, ids in sets.tokens(20, "tok_image catalog").items()}}
    one, other = (Masking(50, 20).masked(each, np.arange(20), 1) for each in (tokens, more))
    assert sets.sides(one.batch) == sets.sides(other.batch)


def test_another_seed_epoch_or_number_is_another_mask() -> None:
    tokens, masking = sets.tokens(8, KEYS), Masking()
    made = [masking.masked(tokens, np.arange(8) + n, seed, epoch) for n, seed, epoch in np.eye(3, dtype=int)]
    assert len({str(sets.sides(each.batch)) for each in made}) == 3
    again = masking.masked(tokens, np.arange(8) + 1, 0, 0)
    assert sets.sides(again.batch) == sets.sides(made[0].batch)


def counts(side: Ragged, keys: str) -> Any:
    """(objects, keys) tokens of each modality."""
    lengths = np.diff(side.objects.offsets.numpy())
    flat = np.repeat(np.arange(len(lengths)), lengths) * len(MODALITIES) + side.rows.numpy()
    every = np.bincount(flat, minlength=len(lengths) * len(MODALITIES)).reshape(-1, len(MODALITIES))
    return every[:, [MODALITIES[key].id for key in keys.split()]]


def cells(side: Ragged, key: str) -> Any:
    """Places of one modality, of all objects."""
    return side.places.numpy()[side.rows.numpy() == MODALITIES[key].id]


def led(objects: int, seed: int) -> Any:
    """Which of three modalities leads the inputs of each object."""
    return _one_of(np.ones((objects, 3), bool), bits(streams(seed, 0, np.arange(objects)), LEAD))


def test_lead_and_its_count_are_uniform() -> None:
    lead = led(6000, 7)
    assert stats.chisquare(np.bincount(lead)).pvalue > 1e-3
    made = Masking(120, 30).masked(sets.tokens(6000, GRIDS), np.arange(6000), 7)
    number = counts(made.batch.inputs, GRIDS)
    for own, most in enumerate((1, 120, 55)):  # in the order of the table: a number, a map, coefficients
        column = GRIDS.split().index(("tok_ebv", "tok_segmap", "tok_xp_bp")[own])
        sizes = number[lead == own, column]
        assert stats.chisquare(np.bincount(sizes, minlength=most + 1)[1:]).pvalue > 1e-3 or most == 1
        assert sizes.max() == most
        others = np.minimum(120 - sizes, 200 - (1, 144, 55)[own])
        assert (number[lead == own].sum(1) == sizes + others).all()


def test_each_modality_leads_as_often() -> None:
    keys = "tok_ebv tok_xp_bp tok_xp_rp"
    made = Masking(2, 2).masked(sets.tokens(9000, keys), np.arange(9000), 1)
    number = counts(made.batch.inputs, keys)
    # One token of the lead and one of another; two of it in half of the cases where it has more than one.
    found = [(number == pair).all(1).sum() for pair in ([1, 1, 0], [1, 0, 1], [0, 1, 1], [0, 2, 0], [0, 0, 2])]
    beside_one, alone, both = 1500 + 1500 / 56, 1500, 2 * 1500 * 55 / 56
    assert stats.chisquare(found, [beside_one, beside_one, both, alone, alone]).pvalue > 1e-3


def test_the_rest_is_uniform_over_the_others_and_their_places() -> None:
    made = Masking(20, 10).masked(sets.tokens(6000, GRIDS), np.arange(6000), 2)
    only = led(6000, 2) == 0
    number = counts(made.batch.inputs, "tok_xp_bp")[only, 0]
    # Beside the one token that leads, 19 of the other 199, of which 55 are these.
    expected = stats.hypergeom(199, 55, 19).pmf(np.arange(3, 9))
    found = np.bincount(number, minlength=20)
    found = np.r_[found[:3].sum(), found[3:9], found[9:].sum()]
    below, above = stats.hypergeom(199, 55, 19).cdf(2), stats.hypergeom(199, 55, 19).sf(8)
    assert stats.chisquare(found, np.r_[below, expected, above] * only.sum()).pvalue > 1e-3
    for key, tokens in (("tok_segmap", 144), ("tok_xp_bp", 55)):
        assert stats.chisquare(np.bincount(cells(made.batch.inputs, key), minlength=tokens)).pvalue > 1e-3


def test_targets_are_uniform_over_the_places_left() -> None:
    tokens = sets.tokens(3000, "tok_segmap")
    made = Masking(40, 10).masked(tokens, np.arange(3000), 3)
    for side in (made.batch.inputs, made.batch.targets):
        assert stats.chisquare(np.bincount(cells(side, "tok_segmap"), minlength=144)).pvalue > 1e-3
    sizes = counts(made.batch.inputs, "tok_segmap")[:, 0]
    assert stats.chisquare(np.bincount(sizes, minlength=41)[1:41]).pvalue > 1e-3
    assert (counts(made.batch.targets, "tok_segmap") == 10).all()


def test_leading_targets_are_uniform_and_the_budget_is_full() -> None:
    keys = "tok_xp_bp tok_segmap"
    made = Masking(2, 40).masked(sets.tokens(6000, keys), np.arange(6000), 4)
    number = counts(made.batch.targets, keys)
    assert (number.sum(1) == 40).all()
    # Whichever leads has 1 to 40, the other the rest: so each has 0 to 39, or 1 to 40, equally often.
    expected = np.r_[0.5, np.ones(39), 0.5]
    assert stats.chisquare(np.bincount(number[:, 0], minlength=41), expected * 150).pvalue > 1e-3


def test_a_share_of_the_targets_is_beta_distributed() -> None:
    tokens = sets.tokens(4000, "tok_segmap tok_spectrum_desi")
    made = Masking(100, 100, target_counts=("beta", 2.0, 3.0)).masked(tokens, np.arange(4000), 5)
    sizes = counts(made.batch.targets, "tok_segmap tok_spectrum_desi").sum(1) / 100
    assert abs(sizes.mean() - 0.4) < 0.01
    assert abs(sizes.var() - 0.04) < 0.004
    few = Masking(100, 100, target_counts=("beta", 0.1, 1.0)).masked(tokens, np.arange(4000), 5)
    assert counts(few.batch.targets, "tok_segmap tok_spectrum_desi").sum(1).min() == 1


def test_a_share_of_the_inputs_is_beta_distributed() -> None:
    keys = "tok_segmap tok_spectrum_desi"
    tokens = sets.tokens(4000, keys)
    made = Masking(100, 100, input_counts=("beta", 2.0, 3.0)).masked(tokens, np.arange(4000), 5)
    sizes = counts(made.batch.inputs, keys).sum(1) / 100
    assert abs(sizes.mean() - 0.4) < 0.01
    assert abs(sizes.var() - 0.04) < 0.004
    assert (counts(made.batch.targets, keys).sum(1) == 100).all()
    few = Masking(100, 100, input_counts=("beta", 0.1, 1.0)).masked(tokens, np.arange(4000), 5)
    assert counts(few.batch.inputs, keys).sum(1).min() == 1


def test_modalities_are_hidden_but_for_one() -> None:
    tokens = sets.tokens(6000, GRIDS)
    made = Masking(120, 30, hidden=0.5).masked(tokens, np.arange(6000), 3)
    given = counts(made.batch.inputs, GRIDS) > 0
    alone = Masking(120, 30, hidden=1.0).masked(tokens, np.arange(6000), 3)
    only = counts(alone.batch.inputs, GRIDS) > 0
    assert (only.sum(1) == 1).all()
    assert (given | ~only).all()
    shares = given[~only].reshape(-1, len(GRIDS.split()) - 1).mean()
    assert 0.3 < shares < 0.5
    assert (counts(made.batch.targets, GRIDS).sum(1) == 30).all()


def test_small_objects_are_shared_out_and_single_tokens_skipped() -> None:
    tokens = sets.tokens(30, "tok_ebv tok_flux_g tok_flux_r tok_z")
    made = Masking(256, 128).masked(tokens, np.arange(30), 1)
    assert made.skipped == 0
    assert set(map(len, (one[0] for one in sets.sides(made.batch)))) == {2}
    assert set(map(len, (one[2] for one in sets.sides(made.batch)))) == {2}
    for key in ("tok_flux_r", "tok_flux_g", "tok_z"):
        tokens[key][:10] = -1
    tokens["tok_ebv"][:3] = -1
    made = Masking(256, 128).masked(tokens, np.arange(30), 1)
    assert made.skipped == 10
    assert made.kept.tolist() == list(range(10, 30))
    none = Masking().masked(sets.taken(tokens, slice(0, 3)), np.arange(3), 1)
    assert (none.skipped, none.batch.tokens, none.batch.inputs.objects.count) == (3, 0, 0)


def test_twins_among_random_numbers_do_not_break_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    coarse = np.uint64(0xC0000000C0000000)
    monkeypatch.setattr("training.masking.bits", lambda own, what: bits(own, what) & coarse)
    tokens = sets.tokens(50, GRIDS)
    made = Masking(30, 15).masked(tokens, np.arange(50), 1)
    assert (counts(made.batch.inputs, GRIDS).sum(1) <= 30).all()
    assert (counts(made.batch.targets, GRIDS).sum(1) == 15).all()


def test_what_cannot_be_done_is_told() -> None:
    tokens = sets.tokens(2, GRIDS)
    with pytest.raises(UsageError, match="tok_zz"):
        Masking(keys=("tok_zz",)).masked(tokens, np.arange(2), 0)
    with pytest.raises(UsageError, match="tok_z"):
        Masking(keys=("tok_z",)).masked(tokens, np.arange(2), 0)
    with pytest.raises(UsageError, match="it has 1 an object"):
        Masking().masked({"tok_ebv": np.zeros((2, 3), np.int16)}, np.arange(2), 0)
    with pytest.raises(UsageError, match="same objects"):
        Masking().masked({**tokens, "tok_z": np.zeros((3, 1), np.int16)}, np.arange(2), 0)
    with pytest.raises(UsageError, match="2 or more"):
        Masking(inputs=1)
    bad: Any = ("gamma", 1.0, 1.0)
    with pytest.raises(UsageError, match="'full'"):
        Masking(target_counts=bad)
    with pytest.raises(UsageError, match="'full'"):
        Masking(input_counts=bad)
    with pytest.raises(UsageError, match="a chance"):
        Masking(hidden=1.5)
