"""The order of samples: every one once, the same whoever asks, and no two ranks alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmatch.stream.order import Done, Order
from mmu.errors import UsageError


def every(order: Order) -> list[np.ndarray[Any, Any]]:
    return [batch for group in range(order.groups) for batch in order.batches(group)]


def ranks(count: int, world: int, **how: Any) -> list[list[np.ndarray[Any, Any]]]:
    samples = 10 * np.arange(count)
    return [every(Order(samples, rank=rank, world_size=world, **how)) for rank in range(world)]


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(1, 300))
    chunks = np.unique([0, *draw(st.lists(st.integers(0, count - 1), max_size=20))])
    blocks = np.unique([0, *draw(st.lists(st.sampled_from(chunks.tolist()), max_size=5))])
    return {
        "count": count, "world": draw(st.sampled_from([1, 2, 3, 8])), "batch_size": draw(st.integers(1, 40)),
        "group": draw(st.integers(1, 5)), "seed": draw(st.sampled_from([None, 0, 7])), "chunks": chunks,
        "blocks": blocks, "open_blocks": draw(st.integers(1, 3)), "epoch": draw(st.integers(0, 3)),
    }  # fmt: skip


@given(cases())
def test_exact_gives_every_sample_once(case: dict[str, Any]) -> None:
    found = ranks(**case, tail="exact")
    assert len({len(one) for one in found}) == 1, "every rank has as many batches"
    together = np.concatenate([np.concatenate(one) for one in found])
    assert np.array_equal(np.sort(together), 10 * np.arange(case["count"]))
    sizes = [len(batch) for one in found for batch in one]
    assert max(sizes) <= case["batch_size"]
    assert max(sizes) - min(sizes) <= 1


@given(cases())
def test_drop_gives_whole_batches_and_counts_what_it_leaves_out(case: dict[str, Any]) -> None:
    whole = case["batch_size"] * case["world"]
    if case["count"] < whole:
        with pytest.raises(UsageError, match="take a smaller batch_size, fewer ranks, or tail='pad' or 'exact'"):
            ranks(**case)
        return
    found = ranks(**case)
    assert [len(one) for one in found] == [case["count"] // whole] * case["world"]
    together = np.concatenate([np.concatenate(one) for one in found])
    assert len(np.unique(together)) == len(together) == case["count"] - case["count"] % whole
    assert (
        Order(np.arange(case["count"]), case["batch_size"], world_size=case["world"]).dropped == case["count"] % whole
    )


@given(cases())
def test_pad_gives_whole_batches_with_every_sample(case: dict[str, Any]) -> None:
    found = ranks(**case, tail="pad")
    sizes = {len(batch) for one in found for batch in one}
    assert sizes == {case["batch_size"]}
    together = np.concatenate([np.concatenate(one) for one in found])
    assert np.array_equal(np.unique(together), 10 * np.arange(case["count"]))
    assert len({len(one) for one in found}) == 1


@given(cases())
def test_batches_keep_the_order_of_chunks_inside(case: dict[str, Any]) -> None:
    """Runs of a batch that are of one chunk follow one another as in the sky."""
    chunk = np.searchsorted(case["chunks"], np.arange(case["count"]), side="right")
    for batch in ranks(**case, tail="exact")[0]:
        mine = chunk[batch // 10]
        for one in np.unique(mine):
            at = np.flatnonzero(mine == one)
            assert (np.diff(batch[at]) > 0).all()
            assert at[-1] - at[0] == len(at) - 1


def test_without_a_seed_the_order_is_that_of_the_sky() -> None:
    found = np.concatenate(every(Order(np.arange(100), 10, group=3)))
    assert np.array_equal(found, np.arange(100))


def test_another_epoch_is_another_order_and_the_same_again() -> None:
    def one(epoch: int, seed: int = 3) -> list[int]:
        order = Order(np.arange(400), 16, 4, np.arange(0, 400, 10), None, 4, seed, epoch)
        return [int(sample) for sample in np.concatenate(every(order))]

    assert one(0) == one(0)
    assert one(0) != one(1)
    assert one(0) != one(0, seed=4)


def test_a_batch_mixes_many_places_of_the_sky() -> None:
    """With 100 chunks of 10 and groups of 8 batches, a batch of 16 holds samples of more than 6 chunks."""
    order = Order(np.arange(1000), 16, 8, np.arange(0, 1000, 10), None, 8, seed=1)
    assert np.mean([len(np.unique(batch // 10)) for batch in every(order)]) > 6


def test_chunks_of_few_blocks_are_open_at_a_time() -> None:
    blocks = np.arange(0, 1000, 100)
    order = Order(np.arange(1000), 50, 2, np.arange(0, 1000, 10), blocks, 2, seed=1)
    opened = [len(np.unique(np.concatenate(order.batches(group)) // 100)) for group in range(order.groups)]
    assert max(opened) <= 4


@pytest.mark.parametrize(("how", "words"), [({"tail": "keep"}, "keep"), ({"rank": 2, "world_size": 2}, "from 0 to 1")])
def test_what_is_no_order_is_refused(how: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Order(np.arange(10), 2, **how)


@given(st.lists(st.integers(0, 30), max_size=40))
def test_done_is_a_set_in_stretches(numbers: list[int]) -> None:
    done = Done()
    for number in numbers:
        done.add(number)
    assert [number for number in range(32) if number in done] == sorted(set(numbers))
    assert len(done) == len(set(numbers))
    again = Done(list(done))
    assert list(again) == list(done)
    assert all(first[1] < second[0] for first, second in zip(again.stretches, again.stretches[1:], strict=False))
