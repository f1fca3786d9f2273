"""Row groups that are kept for the next parts of the sky, whole or their borders: the same match, and fewer reads."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from crossmatch import partitions
from crossmatch.api import crossmatch
from crossmatch.row_groups import RowGroups
from crossmatch.work import Where
from tests.crossmatch.catalogues import table_of, write_hats

RADIUS, ROWS, GROUP = 20.0, 2500, 40


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    """Two crowded fields over corners of coarse pixels, in partitions of two orders."""
    found = {}
    for seed, (name, orders) in enumerate({"a": [0, 2], "b": [3, 1]}.items()):
        random = np.random.default_rng(seed)
        at = 44.0 + 2.0 * random.random(ROWS), random.uniform(-1.0, 1.0, ROWS)
        found[name] = write_hats(tmp_path / name, table_of(at, name), orders, GROUP)
    return found


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[Any]:
    """How often each row group was decoded."""
    times: Counter[Any] = Counter()
    decode = partitions.PartitionFile._decode

    def counted(self: partitions.PartitionFile, groups: list[int]) -> pa.Table:
        times.update((self.path, group) for group in groups)
        return decode(self, groups)

    monkeypatch.setattr(partitions.PartitionFile, "_decode", counted)
    return times


def matched(paths: dict[str, Path], threads: bool = False) -> pa.Table:
    where = Where(None if threads else 0, tile_rows=150)
    return crossmatch(paths, radius_arcsec=RADIUS, how="outer", where=where).table()


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize(("whole", "borders"), [(0, 0), (0, 10**9), (30_000, 10**9), (10**9, 0), (10**9, 10**9)])
def test_what_is_kept_changes_nothing(
    paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch, whole: int, borders: int, threads: bool
) -> None:
    plain = matched(paths)
    assert len(plain) > ROWS
    monkeypatch.setattr(partitions, "_LARGE_GROUP", 1)
    monkeypatch.setattr(partitions, "KEPT", RowGroups(whole))
    monkeypatch.setattr(partitions, "BORDERS", RowGroups(borders))
    assert matched(paths, threads) == plain


def test_borders_that_are_kept_spare_reads(
    paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch, read: Counter[Any]
) -> None:
    """Reads of a row group: with nothing kept, with borders, and with everything, which is one."""
    monkeypatch.setattr(partitions, "_LARGE_GROUP", 1)
    average = []
    for whole, borders in ((0, 0), (0, 10**9), (10**9, 10**9)):
        read.clear()
        monkeypatch.setattr(partitions, "KEPT", RowGroups(whole))
        monkeypatch.setattr(partitions, "BORDERS", RowGroups(borders))
        matched(paths)
        average.append(read.total() / len(read))
    assert average[2] == 1.0
    assert average[1] < 0.8 * average[0]
