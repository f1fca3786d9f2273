"""Bad input, kills and damage, on the toy survey: one sentence, nothing lost, and the same bytes in the end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mmu
from mmu.archive.source import FolderSource
from mmu.build import run, unit
from mmu.build.journal import Journal
from mmu.build.ledger import read_ledger
from mmu.build.verify import verify
from mmu.errors import DownloadError, FormatError, MmuError, UsageError

LEFT, RIGHT = "box:8,10,-5,5", "box:10,12,-5,5"
HTML = "<html><body>Not found</body></html>"


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "_mmu" not in path.parts and not path.name.endswith(".lock")
    }


def problems(folder: Path) -> list[str]:
    return [problem for verdict in verify(folder) for problem in verdict.problems]


def rows_on_disk(folder: Path) -> int:
    return sum(pq.read_metadata(path).num_rows for path in folder.rglob("Npix=*.parquet") if "margin" not in str(path))


def interrupt(patch: pytest.MonkeyPatch, owner: Any, name: str, call: int, *, after: bool = False) -> None:
    """Raise KeyboardInterrupt at (or right after) the `call`-th call of a function."""
    real, calls = getattr(owner, name), iter(range(1, 10_000))

    def stopped(*args: Any, **options: Any) -> Any:
        now = next(calls) == call
        if now and not after:
            raise KeyboardInterrupt
        result = real(*args, **options)
        if now:
            raise KeyboardInterrupt
        return result

    patch.setattr(owner, name, stopped)


def killed(toy: Any, out: Path, owner: Any, name: str, call: int, *, after: bool = False, **options: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, owner, name, call, after=after)
        with pytest.raises(KeyboardInterrupt):
            toy.build(out, **options)


def killed_after_lines(toy: Any, out: Path, lines: int, **options: Any) -> Path:
    """A build stopped when its journal has so many lines; returns its work folder."""
    killed(toy, out, Journal, "add", lines, after=True, **options)
    return out / "toy/.building-v1"


# -- what the archive gives ---------------------------------------------------------------------------------------


def test_a_catalogue_without_rows_is_an_empty_dataset(toy: Any, tmp_path: Path) -> None:
    (toy.folder / "catalogue.csv").write_text("object_id,ra,dec,unit,value\n")
    assert (toy.build(tmp_path / "out").code, problems(tmp_path / "out/toy")) == (0, [])
    data = mmu.open(tmp_path / "out/toy")
    assert (len(data), data.partitions, list(data.batches())) == (0, [], [])
    assert (
        data.table("all").num_rows == data.table(region="cone:1,1,1").num_rows == len(data.array("spectrum.flux")) == 0
    )
    with pytest.raises(UsageError, match="no object 'x'"):
        data.record("x")


@pytest.mark.parametrize(("text", "said"), [("", "is empty"), (HTML, "web page")])
def test_a_catalogue_that_is_none_is_one_sentence(toy: Any, tmp_path: Path, text: str, said: str) -> None:
    (toy.folder / "catalogue.csv").write_text(text)
    with pytest.raises(DownloadError, match=said):
        toy.build(tmp_path / "out")
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize("data", [b"object_id,ra,unit,value\na,1,u0,2\n", b"\xff\xfe\x00" * 50])
def test_a_catalogue_not_of_the_data_model_is_one_sentence(toy: Any, tmp_path: Path, data: bytes) -> None:
    (toy.folder / "catalogue.csv").write_bytes(data)
    with pytest.raises(MmuError, match=r"catalogue\.csv"):
        toy.build(tmp_path / "out")


@pytest.mark.parametrize("text", ["", HTML])
def test_a_file_that_is_none_costs_its_unit(toy: Any, tmp_path: Path, text: str) -> None:
    (toy.folder / "data/u1.csv").write_text(text)
    report = toy.build(tmp_path / "out")
    assert (report.code, report.counts["failed"]) == (1, {"download failed": 6})
    assert problems(tmp_path / "out/toy") == []


def test_a_file_that_stays_damaged_leaves_a_verified_partial_dataset(toy: Any, tmp_path: Path) -> None:
    (toy.folder / "data/u1.csv").write_text(HTML)
    for _ in range(2):
        assert toy.build(tmp_path / "out").counts["failed"] == {"download failed": 6}
        assert problems(tmp_path / "out/toy") == []


def test_an_id_twice_in_a_file_is_one_record(toy: Any, tmp_path: Path) -> None:
    path = toy.folder / "data/u1.csv"
    path.write_text(f"{path.read_text()}\n{path.read_text().split()[-1]}")
    assert toy.build(tmp_path / "out").counts["written"] == 36


def test_every_unit_failing_is_an_empty_dataset_that_can_be_mended(toy: Any, tmp_path: Path) -> None:
    toy.build(tmp_path / "whole")
    for number in range(6):
        toy.spoil(f"u{number}", "WRONG")
    for _ in range(2):
        assert (toy.build(tmp_path / "out").code, problems(tmp_path / "out/toy")) == (1, [])
    assert len(mmu.open(tmp_path / "out/toy")) == 0
    toy.write()
    assert toy.build(tmp_path / "out").code == 0
    assert tree(tmp_path / "out/toy") == tree(tmp_path / "whole/toy")


def test_an_absent_catalogue_is_tried_again(toy: Any, tmp_path: Path) -> None:
    (toy.folder / "catalogue.csv").unlink()
    report = toy.build(tmp_path / "out")
    assert (report.code, report.absent, report.counts["written"]) == (1, 1, 0)
    toy.write()
    assert toy.build(tmp_path / "out").counts["written"] == 36


def test_an_absent_catalogue_does_not_empty_a_dataset(toy: Any, tmp_path: Path) -> None:
    toy.spoil("u1", "WRONG")
    toy.build(tmp_path / "out")
    before = tree(tmp_path / "out/toy")
    (toy.folder / "catalogue.csv").unlink()
    with pytest.raises(MmuError):
        toy.build(tmp_path / "out")
    assert tree(tmp_path / "out/toy") == before


def test_a_catalogue_that_lost_a_row_changes_nothing(toy: Any, tmp_path: Path) -> None:
    toy.spoil("u1", "WRONG")
    toy.build(tmp_path / "out")
    del toy.rows[2]
    toy.write()
    with pytest.raises(MmuError):
        toy.build(tmp_path / "out")
    assert problems(tmp_path / "out/toy") == []


@pytest.mark.parametrize(("ra", "dec"), [(0, -90), (360, 90), (359.9999999999, 0), (0, 0)])
def test_objects_at_the_poles_and_at_ra_0(toy: Any, tmp_path: Path, ra: float, dec: float) -> None:
    name = toy.rows[3][0]
    toy.rows[3] = (name, ra, dec, *toy.rows[3][3:])
    toy.write()
    assert toy.build(tmp_path / "out").counts["written"] == 36
    assert problems(tmp_path / "out/toy") == []
    near = f"cone:{ra},{dec},0.01"
    assert mmu.open(tmp_path / "out/toy").table(["object_id"], region=near)["object_id"].to_pylist() == [name]
    assert toy.build(tmp_path / "near", regions=(near,)).counts["written"] == 1


@pytest.mark.parametrize("ra", [400.0, -10.0, 1e300])
def test_a_right_ascension_out_of_range_is_no_position(toy: Any, tmp_path: Path, ra: float) -> None:
    toy.rows[3] = (toy.rows[3][0], ra, 0.0, *toy.rows[3][3:])
    toy.write()
    assert toy.build(tmp_path / "out").counts["cut"]["no usable position"] == 1


def test_a_source_inside_the_cache_is_not_deleted(toy: Any, tmp_path: Path) -> None:
    source = tmp_path / "raw/toy/v1"
    shutil.copytree(toy.folder, source)
    toy.build(tmp_path / "out", source=str(source), cache=tmp_path / "raw")
    assert (source / "catalogue.csv").is_file()


# -- adding ---------------------------------------------------------------------------------------------------------


def test_adding_twice_and_adding_what_is_inside_change_nothing(toy: Any, tmp_path: Path) -> None:
    toy.build(tmp_path / "out", regions=(LEFT,))
    toy.build(tmp_path / "out", regions=(RIGHT,), add=True)
    before = tree(tmp_path / "out/toy/v1/dataset")
    for region in (RIGHT, LEFT):
        assert toy.build(tmp_path / "out", regions=(region,), add=True).done_before
    assert toy.build(tmp_path / "out", regions=("box:9,9.5,-1,1",), add=True).counts["written"] == 36
    assert tree(tmp_path / "out/toy/v1/dataset") == before
    assert problems(tmp_path / "out/toy") == []


def test_adding_to_a_partial_build_also_mends_it(toy: Any, tmp_path: Path) -> None:
    toy.spoil("u3", "WRONG")
    assert toy.build(tmp_path / "out", regions=(LEFT,)).code == 1
    toy.write()
    assert toy.build(tmp_path / "out", regions=(RIGHT,), add=True).counts["written"] == 36
    assert problems(tmp_path / "out/toy") == []


def test_adding_with_other_ids_is_refused_and_with_the_same_is_done(toy: Any, tmp_path: Path) -> None:
    ids = frozenset({"o1-3", "o2-4"})
    toy.build(tmp_path / "out", regions=(LEFT,), ids=ids)
    with pytest.raises(UsageError, match="ids was"):
        toy.build(tmp_path / "out", regions=(RIGHT,), add=True)
    assert toy.build(tmp_path / "out", regions=(RIGHT,), add=True, ids=ids).counts["written"] == 2
    assert problems(tmp_path / "out/toy") == []


def test_adding_to_a_limited_build_is_refused(toy: Any, tmp_path: Path) -> None:
    toy.build(tmp_path / "out", regions=(RIGHT,), max_objects=5)
    with pytest.raises(UsageError, match="max-objects"):
        toy.build(tmp_path / "out", regions=(LEFT,), max_objects=5, add=True)
    assert problems(tmp_path / "out/toy") == []


# -- killed ---------------------------------------------------------------------------------------------------------

STEPS: list[tuple[Any, str, int]] = [
    (run, "make_plan", 1),
    (run, "write_catalogue", 1),
    (run, "fold", 1),
    (run, "write_card", 1),
    (shutil, "rmtree", 1),
]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("owner", "name", "call"), STEPS, ids=[step[1] for step in STEPS])
@pytest.mark.parametrize("what", ["fresh", "add", "retry", "hdf5"])
def test_killed_at_a_step_and_run_again_gives_the_same_bytes(
    toy: Any, tmp_path: Path, what: str, owner: Any, name: str, call: int, after: bool
) -> None:
    toy.build(tmp_path / "whole", **({"regions": (LEFT,)} if what == "add" else {}))
    options: dict[str, Any] = {}
    if what == "add":
        toy.build(tmp_path / "out", regions=(LEFT,))
        options = {"regions": (RIGHT,), "add": True}
    elif what == "retry":
        toy.spoil("u1", "WRONG")
        toy.build(tmp_path / "out")
        toy.write()
    elif what == "hdf5":
        toy.build(tmp_path / "out")
        options = {"formats": ("parquet", "hdf5")}
    toy.build(tmp_path / "whole", **options)
    killed(toy, tmp_path / "out", owner, name, call, after=after, **options)
    assert toy.build(tmp_path / "out", **options).code == 0
    assert tree(tmp_path / "out/toy") == tree(tmp_path / "whole/toy")
    assert problems(tmp_path / "out/toy") == []


@pytest.mark.parametrize("call", range(1, 60, 7))
def test_killed_at_a_rename_and_run_again_gives_the_same_bytes(toy: Any, tmp_path: Path, call: int) -> None:
    toy.build(tmp_path / "whole")
    killed(toy, tmp_path / "out", Path, "replace", call)
    assert toy.build(tmp_path / "out").code == 0
    assert tree(tmp_path / "out/toy") == tree(tmp_path / "whole/toy")


@pytest.mark.parametrize(("owner", "name"), [(unit, "write_shard"), (Journal, "add")])
def test_killed_while_adding_splits_a_partition(tmp_path: Path, owner: Any, name: str) -> None:
    from tests.build.toy import Toy

    toy = Toy(tmp_path / "archive", 3, 5)
    toy.build(tmp_path / "whole", regions=(LEFT,))
    toy.build(tmp_path / "whole", regions=(RIGHT,), add=True)
    toy.build(tmp_path / "out", regions=(LEFT,))
    killed(toy, tmp_path / "out", owner, name, 2, regions=(RIGHT,), add=True)
    assert toy.build(tmp_path / "out", regions=(RIGHT,), add=True).code == 0
    assert tree(tmp_path / "out/toy") == tree(tmp_path / "whole/toy")


def test_adding_to_an_unfinished_build_leaves_no_stray_shards(tmp_path: Path) -> None:
    from tests.build.toy import Toy

    toy = Toy(tmp_path / "archive", 12, 14)
    killed_after_lines(toy, tmp_path / "out", 14, regions=(LEFT,))
    report = toy.build(tmp_path / "out", regions=(RIGHT,), add=True)
    assert problems(tmp_path / "out/toy") == []
    assert rows_on_disk(tmp_path / "out/toy/v1") == report.counts["written"]


def test_adding_again_while_adding_is_unfinished(tmp_path: Path) -> None:
    from tests.build.toy import Toy

    toy = Toy(tmp_path / "archive", 12, 14)
    toy.build(tmp_path / "out", regions=("box:9.9,10.1,-5,5",))
    killed_after_lines(toy, tmp_path / "out", 15, regions=("box:9,9.9,-5,5",), add=True)
    toy.build(tmp_path / "out", regions=("box:10.1,12,-5,5",), add=True)
    assert problems(tmp_path / "out/toy") == []


# -- damage to what an interrupted build left -------------------------------------------------------------------------


def _drop(name: str) -> Callable[[Path], None]:
    return lambda work: (work / name).unlink()


def _write(name: str, text: str) -> Callable[[Path], None]:
    def damage(work: Path) -> None:
        (work / name).write_text(text)

    return damage


def _damaged_line(work: Path) -> None:
    lines = (work / "journal.jsonl").read_text().splitlines(keepends=True)
    (work / "journal.jsonl").write_text("".join([lines[0], "@@@\n", *lines[2:]]))


DAMAGE: dict[str, Callable[[Path], None]] = {
    "no cache": lambda work: shutil.rmtree(work.parent.parent / ".cache", ignore_errors=True),
    "no journal": _drop("journal.jsonl"),
    "no plan.json": _drop("plan.json"),
    "no work folder": shutil.rmtree,
    "no spool": lambda work: shutil.rmtree(work / "spool"),
    "no plan.parquet": _drop("plan.parquet"),
    "torn plan.json": _write("plan.json", "{"),
    "torn plan.parquet": _write("plan.parquet", "x"),
    "torn spec.json": _write("spec.json", "{"),
    "damaged journal line": _damaged_line,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_to_an_interrupted_build_costs_time_only(toy: Any, tmp_path: Path, damage: str) -> None:
    toy.build(tmp_path / "whole")
    DAMAGE[damage](killed_after_lines(toy, tmp_path / "out", 4))
    assert toy.build(tmp_path / "out").code == 0
    assert tree(tmp_path / "out/toy") == tree(tmp_path / "whole/toy")
    assert problems(tmp_path / "out/toy") == []


def test_shards_of_a_build_given_up_do_not_stay(toy: Any, tmp_path: Path) -> None:
    shutil.rmtree(killed_after_lines(toy, tmp_path / "out", 8))
    report = toy.build(tmp_path / "out", regions=(LEFT,))
    assert problems(tmp_path / "out/toy") == []
    assert rows_on_disk(tmp_path / "out/toy/v1") == report.counts["written"]


@pytest.mark.parametrize("options", [{"partition_bytes": 1 << 20}, {"regions": (LEFT,)}, {"max_objects": 3}])
def test_an_unfinished_build_is_not_changed_by_other_options(toy: Any, tmp_path: Path, options: dict[str, Any]) -> None:
    work = killed_after_lines(toy, tmp_path / "out", 4)
    before = tree(work)
    with pytest.raises(UsageError, match=next(iter(options)).rstrip("s")):
        toy.build(tmp_path / "out", **options)
    assert tree(work) == before
    with pytest.raises(UsageError, match="holds no dataset"):
        mmu.open(tmp_path / "out/toy")
    assert any("unfinished" in problem for problem in problems(tmp_path / "out/toy"))


def test_a_catalogue_half_written_does_not_open(toy: Any, tmp_path: Path) -> None:
    from mmu.shards import catalogue

    killed(toy, tmp_path / "out", catalogue, "write_text", 1, after=True)
    with pytest.raises(UsageError, match="holds no dataset"):
        mmu.open(tmp_path / "out/toy").table()


@pytest.mark.parametrize("text", ["{}", "[]", "null"])
def test_a_ledger_of_another_shape_is_named(toy: Any, tmp_path: Path, text: str) -> None:
    toy.build(tmp_path / "out")
    (tmp_path / "out/toy/v1/_mmu/build.json").write_text(text)
    assert any("build.json" in problem for problem in problems(tmp_path / "out/toy"))
    with pytest.raises(MmuError, match=r"build\.json"):
        toy.build(tmp_path / "out")


# -- where it goes ----------------------------------------------------------------------------------------------------


def test_odd_folders_and_links(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    toy.build(tmp_path / "whole")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for out in (Path("sp ace ünï ☃ [x]"), Path("link"), Path("./a/../a/b")):
        assert toy.build(out).code == 0
        assert tree(out / "toy") == tree(tmp_path / "whole/toy")
        assert problems(out / "toy") == []
    assert toy.build(tmp_path / "real").done_before


def test_verify_and_open_from_inside(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.build(tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out/toy/v1")
    assert problems(Path()) == []
    assert mmu.open(".").release == "v1"


@pytest.mark.parametrize("blocked", [".cache", "toy"])
def test_a_file_in_place_of_a_folder_is_said_first(toy: Any, tmp_path: Path, blocked: str) -> None:
    (tmp_path / blocked).write_text("")
    with pytest.raises(UsageError, match="Cannot write"):
        toy.build(tmp_path)
    assert not list(tmp_path.rglob("*.parquet"))


# -- how much ---------------------------------------------------------------------------------------------------------


def test_more_objects_than_there_are_and_ids_that_are_not(toy: Any, tmp_path: Path) -> None:
    toy.build(tmp_path / "whole")
    assert toy.build(tmp_path / "all", max_objects=10**9).counts["written"] == 36
    assert tree(tmp_path / "all/toy/v1") == tree(tmp_path / "whole/toy/v1")
    none = toy.build(tmp_path / "none", ids=frozenset({"nobody"}))
    assert (none.code, none.counts["cut"]) == (0, {"not in the list of ids": 42})
    assert problems(tmp_path / "none/toy") == []


def test_hdf5_later_leaves_the_shards_alone(toy: Any, tmp_path: Path) -> None:
    toy.build(tmp_path / "out")
    before = tree(tmp_path / "out/toy/v1")
    assert toy.build(tmp_path / "out", formats=("parquet", "hdf5")).code == 0
    assert list((tmp_path / "out/toy/hdf5/v1").rglob("*.hdf5"))
    assert tree(tmp_path / "out/toy/v1") == before
    assert toy.build(tmp_path / "out").done_before
    assert problems(tmp_path / "out/toy") == []


def test_an_archive_out_of_reach_ends_the_build_and_it_resumes(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = FolderSource.local

    def gone(self: FolderSource, path: str) -> Path | None:
        if path.startswith("data/"):
            raise DownloadError("the archive cannot be reached")
        return real(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(FolderSource, "local", gone)
        with pytest.raises(DownloadError, match="cannot be reached"):
            toy.build(tmp_path / "out")
    assert toy.build(tmp_path / "out").counts["written"] == 36
    assert problems(tmp_path / "out/toy") == []


def test_whatever_a_reader_trips_over_is_one_sentence(
    toy: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (toy.folder / "data/u1.csv").write_text("\n".join(f"{row[0]},n/a" for row in toy.rows))
    with caplog.at_level("DEBUG", logger="mmu"):
        assert toy.build(tmp_path / "out").counts["failed"] == {"file not as the data model says": 6}
    errors = read_ledger(tmp_path / "out/toy/v1/_mmu").units["error"].to_pylist()  # type: ignore[union-attr]
    assert [text for text in errors if text] == [
        "u1: the files are not as the data model says (ValueError: could not convert string to float: 'n/a'); "
        "fetch them again, or look at them: u1.csv."
    ]
    assert any(record.exc_info for record in caplog.records if "u1: reading failed" in record.message)


def test_a_record_that_is_elsewhere_than_its_object_is_refused() -> None:
    rows = pa.table({"object_id": ["b", "a"], "ra": [10.0, 359.99999], "dec": [0.0, 1.0]})
    same = pa.table({"object_id": ["a", "b"], "ra": [0.00001, 10.0], "dec": [1.0, 0.0001]})
    unit._refuse_moved("u0", rows, same)
    unit._refuse_moved("u0", rows, same.slice(0, 0))
    other = same.set_column(2, "dec", pa.array([1.0, 0.001]))
    with pytest.raises(FormatError, match=r"u0: 1 objects \(such as b\) are not where the catalogue has them"):
        unit._refuse_moved("u0", rows, other)
