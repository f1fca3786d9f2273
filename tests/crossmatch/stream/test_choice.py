"""Splits by the sky share no object, weights are the frequencies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmu
from crossmatch.stream.choice import CELL_ORDER, SPLITS, Choice, _connected, in_split, split_of
from crossmatch.stream.samples import Samples
from tests.crossmatch.stream.skies import spectra

NAMES = list(SPLITS)


def samples(sky: np.ndarray, *rows: list[int]) -> Samples:
    """Objects and, of each dataset, the row of the record, all in one partition."""
    row = np.array(rows).reshape(len(rows), len(sky))
    leaf = np.where(row < 0, -1, 0).astype(np.int32)
    return Samples((), np.asarray(sky), leaf, row, np.zeros(row.shape, np.float32))


def test_shares_of_the_sky_are_those_asked_for() -> None:
    sky = np.arange(12 * 4**6) << (2 * (29 - 6))
    of = split_of(sky, SPLITS, order=6)
    assert np.allclose(np.bincount(of) / len(of), list(SPLITS.values()), atol=0.01)
    assert np.array_equal(of, split_of(sky, SPLITS, order=6)), "the same for every dataset"
    assert (of != split_of(sky, SPLITS, order=6, seed=1)).any()


def test_a_cell_goes_as_a_whole() -> None:
    random = np.random.default_rng(0)
    sky = random.integers(0, 12 * 4**29, 10_000)
    of = split_of(sky, SPLITS)
    cell = sky >> (2 * (29 - CELL_ORDER))
    for one in np.unique(cell)[:200]:
        assert len(set(of[cell == one].tolist())) == 1


@given(st.lists(st.tuples(st.integers(-1, 6), st.integers(-1, 6)), min_size=1, max_size=30))
def test_groups_are_what_shared_records_connect(rows: list[tuple[int, int]]) -> None:
    made = samples(np.arange(len(rows)), *(list(side) for side in zip(*rows, strict=True)))
    label = _connected(made)
    near = [
        {j for j, b in enumerate(rows) if any(x == y >= 0 for x, y in zip(a, b, strict=True))} | {i}
        for i, a in enumerate(rows)
    ]
    for start in range(len(rows)):
        reached, todo = {start}, [start]
        while todo:
            new = near[todo.pop()] - reached
            reached |= new
            todo += new
        assert {other for other in range(len(rows)) if label[other] == label[start]} == reached


@given(st.integers(0, 1000))
def test_no_record_is_in_two_splits_and_every_sample_is_counted(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = 60
    sky = random.integers(0, 12 * 4**29, count)
    records = random.integers(0, 12 * 4**29, 40)
    row = random.integers(-1, 40, count)
    made = samples(sky, row.tolist())
    of = [np.where(row < 0, -1, records[row])]
    found = {name: in_split(made, of, name, SPLITS)[0] for name in NAMES}
    owned = {name: set(row[rows][row[rows] >= 0].tolist()) for name, rows in found.items()}
    for one in NAMES:
        assert (split_of(sky[found[one]], SPLITS) == NAMES.index(one)).all()
        for other in NAMES:
            assert one == other or not owned[one] & owned[other]
    inside = np.concatenate(list(found.values()))
    left = np.setdiff1d(np.arange(count), inside)
    straddling = [in_split(made, of, name, SPLITS)[1] for name in NAMES]
    assert sum(straddling) >= len(left), "one that touches two splits is counted in both"
    assert (len(left) > 0) == (sum(straddling) > 0)


def test_streams_of_the_splits_share_nothing(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    ra, dec = random.uniform(0, 90, 900), random.uniform(-40, 40, 900)
    one = spectra(tmp_path / "one", np.arange(900.0), ra, dec)
    other = spectra(tmp_path / "other", np.arange(900.0), ra, dec)
    ids = {}
    for split in NAMES:
        stream = mmu.stream([one, other], split=split, batch_size=10, tail="exact")
        ids[split] = {identifier for batch in stream for identifier in batch.ids["one"]}
        alone = mmu.stream(one, split=split, batch_size=10, tail="exact")
        assert ids[split] == {identifier for batch in alone for identifier in batch.ids["one"]}
    assert sum(map(len, ids.values())) == len(set.union(*ids.values())) == 900
    assert len(ids["train"]) > len(ids["validation"]) > 0


def test_samples_are_drawn_by_weight() -> None:
    """A chi-square of 40 samples over 200 epochs, five standard deviations allowed."""
    weights = np.random.default_rng(0).uniform(0, 3, 40)
    weights[7] = 0
    choice = Choice(np.arange(40), weights, seed=3)
    drawn = np.concatenate([choice(epoch) for epoch in range(200)])
    counts, expected = np.bincount(drawn, minlength=40), 200 * 40 * weights / weights.sum()
    assert counts[7] == 0
    some = weights > 0
    chi2 = ((counts[some] - expected[some]) ** 2 / expected[some]).sum()
    free = some.sum() - 1
    assert abs(chi2 - free) < 5 * np.sqrt(2 * free)
    assert not np.array_equal(choice(0), choice(1))
    assert np.array_equal(choice(1), choice(1))
    assert (np.diff(choice(0)) >= 0).all(), "in the order of the sky"


def test_maps_and_datasets_weigh(sky: dict[str, Path]) -> None:
    chart = np.zeros(12 * 4**6)
    stream = mmu.stream([sky["ls"], sky["desi"]], how="left", batch_size=16)
    half = np.unique(stream.samples.sky >> (2 * 23))[::2]
    chart[half] = 1
    for batch in mmu.stream(
        [sky["ls"], sky["desi"]], how="left", weights=chart, batch_size=16, columns=["ls.ra", "ls.dec"]
    ):
        from mmu.sky import healpix

        assert np.isin(healpix.pixel(batch["ls"]["ra"], batch["ls"]["dec"], 6), half).all()
    for batch in mmu.stream(
        [sky["ls"], sky["desi"]], how="left", weights={"desi": 1e9}, batch_size=16, columns=["ls.ra"]
    ):
        assert batch.present["desi"].all()


@pytest.mark.parametrize("weights", [np.full(12, np.nan), -np.ones(48), np.zeros(12)])
def test_weights_that_are_none_are_refused(sky: dict[str, Path], weights: np.ndarray) -> None:
    with pytest.raises(mmu.UsageError, match="finite, not negative, and not zero everywhere"):
        mmu.stream(sky["ls"], weights=weights)
