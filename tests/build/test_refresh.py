"""What the archive replaced is built again with everything that depends on it, and nothing else is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mmu.archive.protocol import Provenance
from mmu.build import run, unit
from mmu.build.journal import Journal
from mmu.survey import File, Group
from tests.build.test_bad_input import killed, problems, tree
from tests.build.toy import Toy


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    """Several units in each partition."""
    return Toy(tmp_path / "archive", 12, 14)


def other_data(toy: Toy) -> None:
    toy.rows = [(*row[:3], row[3], row[4] + (100 if row[3] == "u3" else 0)) for row in toy.rows]


def moved(toy: Toy) -> None:
    toy.rows = [(row[0], row[1] + (1 if row[0] == "o3-4" else 0), *row[2:]) for row in toy.rows]


def gone(toy: Toy) -> None:
    toy.rows = [row for row in toy.rows if row[0] not in ("o3-4", "o5-1")]


def new(toy: Toy) -> None:
    toy.rows += [("x1", 10.1, 0.2, "u3", 5.5), ("x2", 10.3, -0.2, "u99", 6.5)]


def without_data(toy: Toy) -> None:
    toy.write()
    path = toy.folder / "data/u3.csv"
    path.write_text("\n".join(line for line in path.read_text().split() if not line.startswith("o3-4")))


def everything(toy: Toy) -> None:
    for change in (other_data, moved, gone, new):
        change(toy)


CHANGES = [other_data, moved, gone, new, without_data, everything]
Change = Callable[[Toy], None]


def release_anew(toy: Toy, change: Change) -> None:
    """The archive with a change in it, and dates that say so."""
    change(toy)
    if change is not without_data:
        toy.write()
    for path in toy.folder.rglob("*.csv"):
        os.utime(path, (2e9, 2e9))


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_refreshed_dataset_is_the_one_built_from_the_new_archive(toy: Toy, tmp_path: Path, change: Change) -> None:
    toy.build(tmp_path / "out")
    release_anew(toy, change)
    assert toy.build(tmp_path / "out").done_before, "only --refresh asks the archive"
    report = toy.build(tmp_path / "out", refresh=True)
    assert (report.code, report.done_before) == (0, False)
    toy.build(tmp_path / "whole")
    assert tree(tmp_path / "out/toy") == tree(tmp_path / "whole/toy")
    assert problems(tmp_path / "out/toy") == []
    assert toy.build(tmp_path / "out", refresh=True).done_before


def test_what_did_not_change_is_not_touched(toy: Toy, tmp_path: Path) -> None:
    toy.build(tmp_path / "out")
    toy.spoil("u3", "zzz")
    shards = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/toy/v1/dataset").rglob("Npix=*.parquet")}
    objects = pq.read_table(tmp_path / "out/toy/v1/_mmu/objects.parquet", filters=[("unit", "=", "u3")])
    holding = {f"Npix={pixel}.parquet" for pixel in objects["Npix"].to_pylist()}
    toy.build(tmp_path / "out", refresh=True)
    rewritten = {path.name for path, when in shards.items() if path.stat().st_mtime_ns != when}
    assert rewritten <= holding
    assert len(holding) < len(shards)


def test_a_copy_with_new_dates_is_no_change(toy: Toy, tmp_path: Path) -> None:
    toy.build(tmp_path / "out")
    for path in toy.folder.rglob("*.csv"):
        os.utime(path, (2e9, 2e9))
    assert toy.build(tmp_path / "out", refresh=True).done_before


def test_the_ledger_says_where_every_file_came_from(toy: Toy, tmp_path: Path) -> None:
    toy.build(tmp_path / "out")
    units = pq.read_table(tmp_path / "out/toy/v1/_mmu/units.parquet").to_pylist()
    for row in units:
        files = json.loads(row["files"])
        assert [file["path"] for file in files] == ["catalogue.csv", f"data/{row['unit']}.csv"]
        for file in files:
            assert len(file["sha256"]) == 64
            assert file["url"].startswith("file:///")
            assert file["modified"].endswith("GMT")
            assert file["time"].endswith("Z")


KILLS = [
    (run, "make_plan", 1),
    (unit, "write_shard", 1),
    (unit, "write_shard", 4),
    (Journal, "add", 6),
    (run, "fold", 1),
]


@pytest.mark.parametrize(("owner", "name", "call"), KILLS, ids=lambda value: str(value) if value != run else "")
def test_killed_while_refreshing(toy: Toy, tmp_path: Path, owner: Any, name: str, call: int) -> None:
    toy.build(tmp_path / "out")
    release_anew(toy, everything)
    killed(toy, tmp_path / "out", owner, name, call, refresh=True)
    for again in ({}, {"refresh": True}):
        assert toy.build(tmp_path / "out", **again).code == 0
    toy.build(tmp_path / "whole")
    assert tree(tmp_path / "out/toy") == tree(tmp_path / "whole/toy")
    assert problems(tmp_path / "out/toy") == []


def test_a_catalogue_replaced_between_a_kill_and_the_next_run(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(toy, tmp_path / "out", Journal, "add", 6)
    release_anew(toy, everything)
    monkeypatch.setattr(Provenance, "age", 1e6)
    assert toy.build(tmp_path / "out").code == 0
    toy.build(tmp_path / "whole")
    assert tree(tmp_path / "out/toy") == tree(tmp_path / "whole/toy")


def test_a_unit_that_cannot_be_had_any_more_is_told_and_tried_again(toy: Toy, tmp_path: Path) -> None:
    toy.build(tmp_path / "out")
    release_anew(toy, other_data)
    toy.spoil("u3", "WRONG")
    report = toy.build(tmp_path / "out", refresh=True)
    assert (report.code, report.counts["failed"]) == (1, {"file not as the data model says": 14})
    assert problems(tmp_path / "out/toy") == []
    toy.write()
    assert toy.build(tmp_path / "out").code == 0
    toy.build(tmp_path / "whole")
    assert tree(tmp_path / "out/toy") == tree(tmp_path / "whole/toy")


def test_an_optional_catalogue_that_arrives_later(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import toysurvey.archive as archive  # type: ignore[import-not-found]

    def groups(release: Any, paths: Any, region: Any, walk: bool) -> Any:
        yield Group("all", (File("catalogue.csv", 100), File("more.csv", 10, required=False)))

    monkeypatch.setattr(archive, "groups", groups)
    assert toy.build(tmp_path / "out").not_there == 1
    assert toy.build(tmp_path / "out", refresh=True).done_before
    (toy.folder / "more.csv").write_text("there")
    assert toy.build(tmp_path / "out", refresh=True).not_there == 0
    assert problems(tmp_path / "out/toy") == []
