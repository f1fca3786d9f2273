"""The engine, on a toy survey: counts balance, runs resume, unions add up, trouble costs one unit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mmu.build.journal import Journal
from mmu.build.run import build, dry_run
from mmu.build.verify import verify
from mmu.errors import MmuError, UsageError


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "_mmu" not in path.parts and not path.name.endswith(".lock")
    }


def _problems(folder: Path) -> list[str]:
    return [problem for verdict in verify(folder) for problem in verdict.problems]


def test_every_object_is_accounted_for(toy: Any, tmp_path: Path) -> None:
    report = toy.build(tmp_path / "out")
    assert report.code == 0
    assert report.counts == {
        "read": 42,
        "cut": {"not positive": 6},
        "selected": 36,
        "written": 36,
        "excluded": {},
        "failed": {},
    }
    assert _problems(tmp_path / "out/toy") == []
    assert not list((tmp_path / "out").rglob("*.arrow"))
    rows = pq.read_table(tmp_path / "out/toy/v1/_mmu/objects.parquet")
    assert set(rows["status"].to_pylist()) == {"written"}


def test_same_again_does_nothing(toy: Any, tmp_path: Path) -> None:
    toy.build(tmp_path / "out")
    before = _tree(tmp_path / "out/toy")
    assert toy.build(tmp_path / "out").done_before
    assert _tree(tmp_path / "out/toy") == before


def test_two_processes_and_one_give_the_same_bytes(toy: Any, tmp_path: Path) -> None:
    toy.build(tmp_path / "one")
    toy.build(tmp_path / "two", workers=2)
    assert _tree(tmp_path / "one/toy") == _tree(tmp_path / "two/toy")


@pytest.mark.parametrize("after", range(1, 14, 3))
def test_stopped_anywhere_and_run_again_gives_the_same_bytes(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    toy.build(tmp_path / "whole")
    settled = {"count": 0}
    add = Journal.add

    def die_later(self: Any, **entry: Any) -> None:
        settled["count"] += 1
        if settled["count"] > after:
            raise KeyboardInterrupt
        add(self, **entry)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", die_later)
        with pytest.raises(KeyboardInterrupt):
            toy.build(tmp_path / "out")
    assert any("unfinished" in problem for problem in _problems(tmp_path / "out/toy"))
    assert toy.build(tmp_path / "out").code == 0
    assert _tree(tmp_path / "out/toy") == _tree(tmp_path / "whole/toy")
    assert _problems(tmp_path / "out/toy") == []


def test_adding_a_region_equals_building_both_at_once(toy: Any, tmp_path: Path) -> None:
    left, right = "box:8,10,-5,5", "box:10,12,-5,5"
    toy.build(tmp_path / "both")
    first = toy.build(tmp_path / "out", regions=(left,))
    before = {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "out/toy/v1").rglob("Npix=*.parquet")
    }
    second = toy.build(tmp_path / "out", regions=(right,), add=True)
    same = {path: when for path, (data, when) in before.items() if path.exists() and path.read_bytes() == data}
    assert same, "no shard was left as it was"
    assert {path: path.stat().st_mtime_ns for path in same} == same, "a shard that did not change was rewritten"
    assert 0 < first.counts["written"] < second.counts["written"] == 36
    ours, whole = _tree(tmp_path / "out/toy/v1"), _tree(tmp_path / "both/toy/v1")
    assert {n: b for n, b in ours.items() if "Npix" in n} == {n: b for n, b in whole.items() if "Npix" in n}
    assert _problems(tmp_path / "out/toy") == []


def test_another_specification_is_refused_and_named(toy: Any, tmp_path: Path) -> None:
    toy.build(tmp_path / "out", max_objects=5)
    with pytest.raises(UsageError, match="max_objects was 5 and is now 6") as caught:
        toy.build(tmp_path / "out", max_objects=6)
    assert caught.value.exit_code == 2


def test_max_objects_walks_units_in_name_order(toy: Any, tmp_path: Path) -> None:
    report = toy.build(tmp_path / "out", max_objects=8)
    objects = pq.read_table(tmp_path / "out/toy/v1/_mmu/objects.parquet")
    assert report.counts["written"] == 8
    assert set(objects["unit"].to_pylist()) == {"u0", "u1"}
    assert report.counts["cut"]["beyond the number of objects asked for"] == 28


def test_ids_select(toy: Any, tmp_path: Path) -> None:
    report = toy.build(tmp_path / "out", ids=frozenset({"o1-3", "o2-4", "nobody"}))
    assert report.counts["written"] == 2


def test_a_wrong_file_costs_its_unit_and_a_mended_one_completes(toy: Any, tmp_path: Path) -> None:
    toy.build(tmp_path / "whole")
    good = (toy.folder / "data/u3.csv").read_text()
    toy.spoil("u3", "WRONG")
    report = toy.build(tmp_path / "out")
    assert report.code == 1
    assert report.counts["failed"] == {"file not as the data model says": 6}
    assert report.counts["written"] == 30
    assert _problems(tmp_path / "out/toy") == []
    (toy.folder / "data/u3.csv").write_text(good)
    assert toy.build(tmp_path / "out").code == 0
    ours, whole = _tree(tmp_path / "out/toy"), _tree(tmp_path / "whole/toy")
    assert ours == whole


def test_a_reader_that_loses_a_row_is_found_out(toy: Any, tmp_path: Path) -> None:
    toy.spoil("u2", "LOSE")
    report = toy.build(tmp_path / "out")
    assert report.counts["failed"] == {"file not as the data model says": 6}


def test_a_crashing_worker_costs_one_unit(toy: Any, tmp_path: Path) -> None:
    toy.spoil("u1", "CRASH")
    report = toy.build(tmp_path / "out", workers=2)
    assert report.counts["failed"] == {"reading failed (WorkerDied)": 6}
    assert report.counts["written"] == 30
    assert _problems(tmp_path / "out/toy") == []


def test_an_absent_file_is_recorded_not_fatal(toy: Any, tmp_path: Path) -> None:
    (toy.folder / "data/u4.csv").unlink()
    report = toy.build(tmp_path / "out")
    assert report.counts["failed"] == {"absent upstream": 6}
    units = {row["unit"]: row for row in pq.read_table(tmp_path / "out/toy/v1/_mmu/units.parquet").to_pylist()}
    assert "u4.csv" in units["u4"]["error"]


def test_excluded_rows_keep_their_reason(toy: Any, tmp_path: Path) -> None:
    path = toy.folder / "data/u0.csv"
    path.write_text("\n".join(path.read_text().split()[:-2]))
    report = toy.build(tmp_path / "out")
    assert report.counts["excluded"] == {"no data": 2}
    assert report.code == 0


def test_duplicate_ids_fail_in_the_plan(toy: Any, tmp_path: Path) -> None:
    toy.rows.append(("o1-3", 10.1, 0.1, "u5", 3.0))
    toy.write()
    with pytest.raises(MmuError, match="o1-3"):
        toy.build(tmp_path / "out")
    assert not list((tmp_path / "out/toy").glob("v1/dataset/*"))


def test_positions_that_are_no_positions_are_cut(toy: Any, tmp_path: Path) -> None:
    toy.rows[3] = (toy.rows[3][0], float("nan"), *toy.rows[3][2:])
    toy.rows[4] = (toy.rows[4][0], 10.0, 91.0, *toy.rows[4][3:])
    toy.write()
    assert toy.build(tmp_path / "out").counts["cut"]["no usable position"] == 2


def test_nothing_selected_is_an_empty_dataset(toy: Any, tmp_path: Path) -> None:
    report = toy.build(tmp_path / "out", regions=("cone:200,40,1",))
    assert (report.code, report.counts["written"], report.shards) == (0, 0, 0)
    assert not list((tmp_path / "out/toy").rglob("Npix*"))
    assert "no objects" in (tmp_path / "out/toy/README.md").read_text()
    assert _problems(tmp_path / "out/toy") == []


def test_dry_run_leaves_nothing(toy: Any, tmp_path: Path) -> None:
    cost = dry_run(toy.spec(tmp_path / "out"))
    assert (cost.objects, cost.units, cost.files) == (36, 6, 12)
    assert not (tmp_path / "out/toy").exists()


def test_a_large_build_asks_first(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmu.build.estimate.ASK_ABOVE_BYTES", 10)
    with pytest.raises(UsageError, match="--yes"):
        toy.build(tmp_path / "out")
    assert build(toy.spec(tmp_path / "out"), confirm=lambda _: True).code == 0


@pytest.mark.parametrize("damage", ["delete", "truncate", "flip", "extra", "ledger", "card", "catalogue"])
def test_verify_names_the_damaged_file(toy: Any, tmp_path: Path, damage: str) -> None:
    toy.build(tmp_path / "out")
    folder = tmp_path / "out/toy"
    shard = sorted(folder.glob("v1/dataset/**/Npix=*.parquet"))[0]
    victim = {
        "ledger": folder / "v1/_mmu/objects.parquet",
        "card": folder / "README.md",
        "catalogue": folder / "v1/partition_info.csv",
        "extra": shard.with_name("Npix=999999.parquet"),
    }.get(damage, shard)
    data = shard.read_bytes() if damage == "extra" else victim.read_bytes()
    if damage in ("delete", "card", "catalogue"):
        victim.unlink()
    elif damage == "truncate":
        victim.write_bytes(data[:-10])
    elif damage == "extra":
        victim.write_bytes(data)
    else:
        victim.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    assert any(victim.name in problem for problem in _problems(folder)), _problems(folder)


def test_two_builds_into_one_folder(toy: Any, tmp_path: Path) -> None:
    import filelock

    (tmp_path / "out/toy").mkdir(parents=True)
    with filelock.FileLock(tmp_path / "out/toy/.v1.lock"), pytest.raises(UsageError, match="Another build"):
        toy.build(tmp_path / "out")


def test_unwritable_output_is_told(toy: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="Cannot write"):
        toy.build(tmp_path / "file")
