"""The plan of a match of very many partitions: bounded parts, nothing left out, and soon."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from crossmatch.plan import Task, overlapping, tasks, tiles
from crossmatch.rule import Rule
from crossmatch.sources import Part, Source
from mmu.sky.halo import Cover
from mmu.sky.healpix import MAX_ORDER
from mmu.sky.partition import FINEST_ORDER, Partition

PARTITIONS = 50_000
ROWS = 500_000


class Chosen:
    """A part that says which partitions it is of."""

    def __init__(self, partitions: np.ndarray[Any, Any]) -> None:
        self.partitions = partitions

    def places(self, cover: Cover) -> Any:
        raise NotImplementedError


class Synthetic(Source):
    """Partitions without files."""

    def __init__(self, name: str, leaves: list[Partition], counts: np.ndarray[Any, Any]) -> None:
        self.name, self.address, self.epoch, self.counts = name, "", None, counts
        self.spans = np.array([leaf.span for leaf in leaves], dtype=np.int64).reshape(-1, 2)

    @property
    def fingerprint(self) -> str:
        return ""

    def part(self, partitions: np.ndarray[Any, Any], cover: Cover) -> Part:
        return Chosen(partitions)

    def fastest(self) -> float:
        return 0.0


def adaptive(name: str, count: int, order: int, seed: int) -> Synthetic:
    """About so many partitions that tile the sky, some split further than others, with any number of rows."""
    random = np.random.default_rng(seed)
    leaves = [Partition(order, pixel) for pixel in range(12 * 4**order)]
    while len(leaves) < count:
        split = set(
            random.choice(len(leaves), min(len(leaves), (count - len(leaves)) // 3 + 1), replace=False).tolist()
        )
        kept = [leaf for index, leaf in enumerate(leaves) if index not in split]
        finer = [Partition(leaves[i].order + 1, 4 * leaves[i].pixel + child) for i in split for child in range(4)]
        leaves = kept + finer
    leaves.sort(key=lambda leaf: leaf.span)
    return Synthetic(name, leaves, random.integers(1, 20_000, len(leaves)))


def test_fifty_thousand_partitions_a_side_are_soon_planned() -> None:
    sources = [adaptive("a", PARTITIONS, 5, 1), adaptive("b", PARTITIONS, 6, 2)]
    rule = Rule(("a", "b"), radius_arcsec=1.0)
    start = time.process_time()
    leaves = tiles(rule, sources, ROWS)
    planned = time.process_time() - start
    read: list[set[int]] = [set(), set()]
    count, most = 0, 0
    for leaf, task in tasks(rule, sources, leaves):
        assert isinstance(task, Task)
        assert task.cover.partition == leaf
        for index, part in enumerate(task.parts):
            assert isinstance(part, Chosen)
            read[index].update(part.partitions.tolist())
            most = max(most, len(part.partitions))
        count += 1
    taken = time.process_time() - start
    rows = sum(int(source.counts.sum()) for source in sources)
    said = f"{count:,} parts in {planned:.2f} s, and what each reads in {taken - planned:.2f} s of one core"
    print(f"\n2 x {PARTITIONS:,} partitions, {rows:,} records: {said}; at most {most} of a side in one")  # noqa: T201
    assert rows / ROWS < count < 12 * rows / ROWS
    assert read == [set(range(len(source.spans))) for source in sources]
    assert most < 1000, "what one task is sent"
    bounded(leaves, sources)


def bounded(leaves: list[Partition], sources: list[Synthetic]) -> None:
    """The parts are disjoint, cover every partition, and hold no more rows than allowed, shared out evenly."""
    spans = np.array([leaf.span for leaf in leaves])
    assert (spans[1:, 0] >= spans[:-1, 1]).all()
    rows = np.zeros(len(leaves))
    for source in sources:
        edges = np.r_[0, np.cumsum(source.counts)].astype(float)
        at = np.r_[source.spans[:, 0], source.spans[-1, 1]].astype(float)
        rows += np.interp(spans[:, 1].astype(float), at, edges) - np.interp(spans[:, 0].astype(float), at, edges)
    assert rows.max() <= ROWS * (1 + 1e-9)
    assert rows.sum() == pytest.approx(sum(source.counts.sum() for source in sources))


@pytest.mark.parametrize("how", ["inner", "left", "outer"])
def test_parts_are_where_objects_may_be(how: str) -> None:
    near, far = Partition(3, 10), Partition(3, 500)
    a = Synthetic("a", [near], np.array([5]))
    b = Synthetic("b", [Partition(5, (10 << 4) + 3), far], np.array([5, 5]))
    rule = Rule(("a", "b"), how=how)
    leaves = tiles(rule, [a, b], ROWS)
    assert leaves == [Partition(0, 0), *([Partition(0, 7)] if how == "outer" else [])]
    found = dict(tasks(rule, [a, b], leaves))
    assert [found[leaf] is None for leaf in leaves] == [False] * len(leaves)


def test_a_part_without_a_needed_dataset_is_not_read() -> None:
    a = Synthetic("a", [Partition(0, 1)], np.array([5]))
    b = Synthetic("b", [Partition(0, 11)], np.array([5]))
    for how, none in (("inner", True), ("left", False), ("outer", False)):
        rule = Rule(("a", "b"), how=how)
        found = [task for _, task in tasks(rule, [a, b], tiles(rule, [a, b]))]
        assert [task is None for task in found] == [none] * len(found)


def test_no_records_need_no_parts() -> None:
    none = Synthetic("a", [], np.empty(0, np.int64))
    rule = Rule(("a", "b"), how="outer")
    assert tiles(rule, [none, none]) == []
    assert overlapping(none.spans, np.array([[0, 5]])).tolist() == []


def test_a_crowd_is_split_no_further_than_the_finest_order() -> None:
    crowd = Synthetic("a", [Partition(FINEST_ORDER, 12345)], np.array([10 * ROWS]))
    rule = Rule(("a", "b"))
    assert tiles(rule, [crowd, crowd], ROWS) == [Partition(FINEST_ORDER, 12345)]


def test_a_region_leaves_out_what_is_elsewhere() -> None:
    whole = Synthetic("a", [Partition(0, pixel) for pixel in range(12)], np.full(12, 10**9))
    rule = Rule(("a", "b"), region="cone:10,20,0.1")
    leaves = tiles(rule, [whole, whole], ROWS)
    everywhere = tiles(Rule(("a", "b"), region="cone:10,20,20"), [whole, whole], ROWS)
    assert 0 < len(leaves) < 50 < len(everywhere)


def test_overlapping_is_what_each_pair_of_stretches_says() -> None:
    random = np.random.default_rng(4)
    for _ in range(50):
        edges = [np.unique(random.integers(0, 200, 2 * random.integers(1, 20))) for _ in range(2)]
        partitions, covered = (one[: len(one) // 2 * 2].reshape(-1, 2) << (2 * MAX_ORDER - 10) for one in edges)
        expected = [i for i, (a, b) in enumerate(partitions) if ((covered[:, 0] < b) & (covered[:, 1] > a)).any()]
        assert overlapping(partitions, covered).tolist() == expected
