"""A stream stopped anywhere goes on with exactly the rest, whatever reads it and with how many workers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmu
from crossmatch.stream.batch import Batch
from crossmatch.stream.stream import Stream
from mmu.errors import UsageError
from mmu.sky import healpix
from tests.crossmatch.stream.skies import spectra

ROWS, SIZE = 400, 7
_GONE = object()


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The same number of rows in 1, 3, 20 and 200 partitions."""
    found = {}
    for parts in (1, 3, 20, 200):
        ra, dec = healpix.centres(6, 5000 + np.arange(parts))
        at = np.arange(ROWS) % parts
        folder = tmp_path_factory.mktemp("parted") / f"s{parts}"
        found[parts] = spectra(folder, np.arange(ROWS) * 1.0, ra[at], dec[at], order=6, group=9, length=2)
    return found


def opened(path: Path, rank: int = 0, world_size: int = 1, **how: Any) -> Stream:
    how = {"tail": "exact", "shuffle": 5, **how}
    stream: Stream = mmu.stream(path, batch_size=SIZE, pool_bytes=4000, rank=rank, world_size=world_size, **how)
    return stream


def by_workers(stream: Stream, workers: int) -> Iterator[Batch]:
    """What a DataLoader does: one batch of each worker in turn, each worker knowing what was done before."""
    order = stream.order()
    turns = [stream._made(order, worker, workers or 1) for worker in range(workers or 1)]
    for turn in zip_longest(*turns, fillvalue=_GONE):
        for batch in turn:
            if isinstance(batch, Batch):
                yield batch


def rows(batch: Batch) -> list[int]:
    (name,) = batch
    return [int(one) & 0xFFFF for one in batch[name]["TARGETID"]]


@pytest.mark.parametrize("parts", [1, 3, 20, 200])
@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 4), (4, 0), (4, 1), (0, 4)])
def test_the_rest_is_exactly_what_was_not_delivered(
    parted: dict[int, Path], parts: int, world: int, before: int, after: int
) -> None:
    random = np.random.default_rng((parts, world, before, after))
    seen: list[int] = []
    for rank in range(world):
        every = {batch.index: rows(batch) for batch in opened(parted[parts], rank, world)}
        stream, found = opened(parted[parts], rank, world), dict[int, list[int]]()
        stop = int(random.integers(0, len(every) + 1))
        for batch in by_workers(stream, before):
            if len(found) == stop:
                break
            found[batch.index] = rows(batch)
            stream._done.add(batch.index)
        state = json.loads(json.dumps(stream.state_dict()))
        again = opened(parted[parts], rank, world)
        again.load_state_dict(state)
        rest = {batch.index: rows(batch) for batch in by_workers(again, after)}
        assert not found.keys() & rest.keys()
        assert {**found, **rest} == every
        seen += chain.from_iterable(every.values())
    assert sorted(seen) == list(range(ROWS))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(
    ("workers", "world", "parts"), [(1, 1, 20), (2, 1, 1), (2, 3, 200), (4, 1, 20), (4, 2, 3), (4, 8, 200)]
)
def test_real_worker_processes(parted: dict[int, Path], workers: int, world: int, parts: int) -> None:
    pytest.importorskip("torch", reason="workers are torch's")
    every = {batch.index: rows(batch) for batch in opened(parted[parts], world - 1, world)}
    stream = opened(parted[parts], world - 1, world, workers=workers)
    found: dict[int, list[int]] = {}
    for batch in stream:
        found[batch.index] = rows(batch)
        if len(found) == 3:
            break
    again = opened(parted[parts], world - 1, world, workers=workers - 1)
    again.load_state_dict(stream.state_dict())
    rest = {batch.index: rows(batch) for batch in again}
    assert {**found, **rest} == every
    assert len(found) + len(rest) == len(every)


def test_a_dataloader_of_the_users_gets_every_batch(parted: dict[int, Path]) -> None:
    torch = pytest.importorskip("torch", reason="the DataLoader is torch's")
    loader = torch.utils.data.DataLoader(opened(parted[20]), batch_size=None, num_workers=2)
    assert len(loader) == len(opened(parted[20]))
    assert sorted(chain.from_iterable(rows(batch) for batch in loader)) == list(range(ROWS))


def test_epochs_follow_one_another_and_differ(parted: dict[int, Path]) -> None:
    stream = opened(parted[20])
    first, second = ([rows(batch) for batch in stream] for _ in range(2))
    assert stream.epoch == 2
    assert first != second
    assert sorted(chain.from_iterable(first)) == sorted(chain.from_iterable(second)) == list(range(ROWS))
    assert [rows(batch) for batch in opened(parted[20])] == first


@pytest.mark.parametrize("how", [{"shuffle": 6}, {"tail": "drop"}, {"rank": 1, "world_size": 2}, {"split": "train"}])
def test_a_checkpoint_of_another_stream_is_refused(parted: dict[int, Path], how: dict[str, Any]) -> None:
    state = opened(parted[20]).state_dict()
    with pytest.raises(UsageError, match="of another stream"):
        opened(parted[20], **how).load_state_dict(state)
    with pytest.raises(UsageError, match=r"of another stream: (datasets|samples|group)"):
        opened(parted[3]).load_state_dict(state)


def test_tail_drop_says_how_many_it_leaves_out(parted: dict[int, Path]) -> None:
    stream = opened(parted[20], tail="drop")
    assert sum(batch.size for batch in stream) == ROWS - stream.order().dropped == ROWS // SIZE * SIZE


def test_padding_is_told(parted: dict[int, Path]) -> None:
    """The samples at the end of batches that come in another batch too."""
    batches = [batch for rank in range(3) for batch in opened(parted[20], rank, 3, tail="pad")]
    assert sum(batch.padding for batch in batches) == len(batches) * SIZE - ROWS > 0
    own = chain.from_iterable(rows(batch)[: batch.size - batch.padding] for batch in batches)
    assert sorted(own) == list(range(ROWS))


def test_a_loader_of_ones_own_is_told_the_epoch(parted: dict[int, Path]) -> None:
    stream = opened(parted[20])
    first, second = ([rows(batch) for batch in stream] for _ in range(2))
    again = opened(parted[20])
    again.set_epoch(1)
    assert [rows(batch) for batch in again] == second != first
