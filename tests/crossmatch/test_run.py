"""A match on disk: the same as in memory, whatever stopped it on the way, and never of datasets that changed since."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mmu
from crossmatch import finish, run
from crossmatch.api import crossmatch
from crossmatch.association import Association, open_association
from crossmatch.tile import match_tile
from crossmatch.work import Where
from mmu.build.hold import hold
from mmu.build.journal import Journal
from mmu.build.verify_match import verify_match
from mmu.errors import LedgerError, MmuError, UsageError
from mmu.remote.tree import LocalTree
from tests.crossmatch.catalogues import scattered, separations, table_of, vertices, write_hats

RADIUS = 30.0
HERE = Where(0, tile_rows=100)
Folders = dict[str, Path]


def catalogue(folder: Path, name: str, count: int = 150, seed: int = 1) -> Path:
    """Objects round corners of large and of small partitions."""
    random = np.random.default_rng(seed)
    at = scattered(vertices(1, 4, np.random.default_rng(1)), RADIUS, count, random)
    return write_hats(folder / name, table_of(at, name), {"a": [0, 2], "b": [4, 1]}[name], 20)


@pytest.fixture
def paths(tmp_path: Path) -> Folders:
    return {name: catalogue(tmp_path, name, seed=seed) for seed, name in enumerate("ab")}


def matched(paths: Folders, out: Path | None, **how: Any) -> Association:
    return crossmatch(paths, out=out, **{"radius_arcsec": RADIUS, "how": "outer", "where": HERE, **how})


def tree(folder: Path) -> dict[str, bytes]:
    """Every file but the locks, which stay."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def whole(paths: Folders, out: Path) -> dict[str, bytes]:
    """What an uninterrupted run writes; it is moved away."""
    matched(paths, out)
    files = tree(out)
    out.rename(out.with_name("whole"))
    return files


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The parts that are matched."""
    parts: list[str] = []

    def noted(rule: Any, task: Any, *more: Any) -> Any:
        parts.append(str(task.cover.partition))
        return match_tile(rule, task, *more)

    monkeypatch.setattr(run, "match_tile", noted)
    return parts


def test_on_disk_is_what_is_in_memory(paths: Folders, out: Path) -> None:
    memory, disk = matched(paths, None), matched(paths, out)
    assert len(memory) > 150
    for found in (disk, open_association(out), open_association(out / "association")):
        assert found.table() == memory.table()
        assert (found.rule, found.rows, found.tallies) == (memory.rule, memory.rows, memory.tallies)
        assert [member.fingerprint for member in found.members] == [member.fingerprint for member in memory.members]
        found.check()
    assert mmu.open(out / "association").table().num_rows == len(memory)
    assert verify_match(LocalTree(out), "association")[3] == ()
    assert not (out / ".matching").exists()


def test_the_same_command_does_nothing_more(paths: Folders, out: Path, done: list[str]) -> None:
    matched(paths, out)
    before, files = len(done), {path: path.stat().st_mtime_ns for path in (out / "association").rglob("*")}
    assert before > 5
    again = matched(paths, out)
    assert len(done) == before
    assert {path: path.stat().st_mtime_ns for path in (out / "association").rglob("*")} == files
    assert again.table() == open_association(out).table()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"radius_arcsec": 31.0}, "radius_arcsec 30.0 there, 31.0 now.; give another --out, or --renew"),
        ({"how": "left"}, "how 'outer' there, 'left' now"),
        ({"mode": "mutual"}, "mode 'nearest' there, 'mutual' now"),
    ],
)
def test_another_match_is_refused_and_replaced_when_asked(
    paths: Folders, out: Path, how: dict[str, Any], words: str
) -> None:
    matched(paths, out)
    files = tree(out)
    with pytest.raises(UsageError, match=words):
        matched(paths, out, **how)
    assert tree(out) == files
    assert matched(paths, out, renew=True, **how).table() == matched(paths, None, **how).table()
    assert verify_match(LocalTree(out), "association")[3] == ()


def test_other_datasets_are_refused_in_words(paths: Folders, out: Path, tmp_path: Path) -> None:
    matched(paths, out)
    with pytest.raises(UsageError, match=r"holds another match.*names.*'c'"):
        matched({"a": paths["a"], "c": paths["b"]}, out)
    with pytest.raises(UsageError, match="b changed since"):
        matched({"a": paths["a"], "b": catalogue(tmp_path / "other", "b", seed=9)}, out)


def test_a_dataset_that_changed_is_refused_until_renewed(paths: Folders, out: Path, tmp_path: Path) -> None:
    old = matched(paths, out).table()
    catalogue(tmp_path, "b", 170, seed=5)
    with pytest.raises(UsageError, match=r"b changed since .* was matched; give --renew"):
        matched(paths, out)
    with pytest.raises(UsageError, match=r"b \(.*\) changed .* renew the match: mmu crossmatch a=.* --renew"):
        open_association(out).check()
    new = matched(paths, out, renew=True)
    assert new.table() == matched(paths, None).table() != old
    new.check()
    open_association(out).check()


class Stop(BaseException):
    """As an interrupt or a kill: nothing that runs takes it."""


def stop(*given: Any) -> None:
    raise Stop


def stopped(paths: Folders, out: Path, entries: int) -> None:
    """A run that ends when so many parts are in the journal."""

    class Stopping(Journal):
        count = 0

        def add(self, **entry: Any) -> None:
            if self.count == entries:
                raise Stop
            super().add(**entry)
            self.count += 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "Journal", Stopping)
        with pytest.raises(Stop):
            matched(paths, out)


@pytest.mark.parametrize("entries", [0, 1, 5])
def test_stopped_between_parts_and_run_again(
    paths: Folders, out: Path, whole: dict[str, bytes], entries: int, done: list[str]
) -> None:
    stopped(paths, out, entries)
    with pytest.raises(UsageError, match="holds no finished match"):
        open_association(out)
    first = len(done)
    matched(paths, out)
    assert tree(out) == whole
    assert len(done) - first == len(set(done)) - entries


def moved_away(made: Path, folder: Path) -> None:
    """The old match is out of the way, and the new one not yet in its place."""
    folder.rename(folder.with_name(f".old-{folder.name}"))
    raise Stop


@pytest.mark.parametrize("step", ["write_objects", "write_account", "put_in_place", "rename"])
def test_stopped_while_it_is_finished_and_run_again(
    paths: Folders, out: Path, whole: dict[str, bytes], step: str, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    matched(paths, out, how="left")
    with monkeypatch.context() as patch:
        patch.setattr(finish, "put_in_place" if step == "rename" else step, moved_away if step == "rename" else stop)
        with pytest.raises(Stop):
            matched(paths, out, renew=True)
    first = len(done)
    matched(paths, out, renew=True)
    assert tree(out) == whole
    assert len(done) == first


def test_a_journal_torn_in_its_last_line_loses_that_part_only(
    paths: Folders, out: Path, whole: dict[str, bytes], done: list[str]
) -> None:
    stopped(paths, out, 4)
    journal = out / ".matching" / "journal.jsonl"
    os.truncate(journal, journal.stat().st_size - 5)
    first = len(done)
    matched(paths, out)
    assert tree(out) == whole
    assert len(done) - first == len(set(done)) - 3


def test_an_interrupted_match_of_other_datasets_is_begun_anew(paths: Folders, out: Path, tmp_path: Path) -> None:
    stopped(paths, out, 4)
    catalogue(tmp_path, "b", 170, seed=5)
    assert matched(paths, out).table() == matched(paths, None).table()
    assert verify_match(LocalTree(out), "association")[3] == ()


SCRIPT = """
import sys, time
from crossmatch import crossmatch, Where, tile
import crossmatch.run as run
def slow(*given):
    time.sleep(0.05)
    return tile.match_tile(*given)
run.match_tile = slow
a, b, out = sys.argv[1:]
crossmatch({"a": a, "b": b}, out=out, radius_arcsec=30.0, how="outer", where=Where(0, tile_rows=100))
"""


def kill_when(process: subprocess.Popen[Any], ready: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end and not ready():
        time.sleep(0.002)
    process.kill()
    process.wait()


@pytest.mark.slow
def test_killed_and_run_again_gives_the_same_bytes(
    paths: Folders, out: Path, whole: dict[str, bytes], done: list[str]
) -> None:
    journal = out / ".matching" / "journal.jsonl"
    words = [sys.executable, "-c", SCRIPT, str(paths["a"]), str(paths["b"]), str(out)]
    kill_when(subprocess.Popen(words), lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 3)
    assert journal.exists(), "it was over before it was killed"
    matched(paths, out)
    assert tree(out) == whole
    assert done


def test_a_damaged_file_costs_the_parts_round_it_only(
    paths: Folders, out: Path, whole: dict[str, bytes], done: list[str]
) -> None:
    file = sorted(paths["b"].rglob("Npix=*.parquet"))[0]
    sound = file.read_bytes()
    file.write_bytes(sound[:4] + bytes(len(sound) // 2) + sound[4 + len(sound) // 2 :])
    with pytest.raises(
        MmuError, match=rf"(?s)parts of the sky could not be .*{file.name} cannot be read.*run the same"
    ):
        matched(paths, out)
    file.write_bytes(sound)
    first = len(done)
    matched(paths, out)
    assert tree(out) == whole
    assert 0 < len(done) - first < first


def test_a_file_that_is_gone_is_told_before_anything_is_read(paths: Folders, out: Path) -> None:
    file = sorted(paths["b"].rglob("Npix=*.parquet"))[0]
    file.unlink()
    with pytest.raises(UsageError, match=f"{file.name} is missing: .* is not whole"):
        matched(paths, out)
    assert not out.exists()


def test_one_match_at_a_time_in_a_folder(paths: Folders, out: Path) -> None:
    with hold(out / ".matching.lock"), pytest.raises(UsageError, match=f"at work in {out}: process {os.getpid()}"):
        matched(paths, out)
    matched(paths, out)


def test_where_nothing_can_be_written_is_told_in_words(paths: Folders, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"Cannot write to .*file/out \(.*\); give another --out"):
        matched(paths, tmp_path / "file" / "out")


def test_no_match_there_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no finished match; `mmu crossmatch A B --out .*` makes one"):
        open_association(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"rule": {}}'])
def test_an_account_that_cannot_be_read_is_told_in_words(paths: Folders, out: Path, text: str) -> None:
    matched(paths, out)
    (out / "association" / "_mmu" / "match.json").write_text(text)
    with pytest.raises(LedgerError, match=r"match\.json cannot be read"):
        open_association(out)
    with pytest.raises(LedgerError, match=r"match\.json cannot be read"):
        matched(paths, out)


@pytest.fixture(scope="module")
def lsdb() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas 3.1 warns of an option lsdb sets when imported
        import lsdb as library

        library.open_catalog  # noqa: B018  some of lsdb is loaded when first touched
    return library


@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")
@pytest.mark.filterwarnings("ignore:.*is deprecated.*:DeprecationWarning")
def test_an_empty_match_is_a_catalogue_of_no_rows(paths: Folders, out: Path, lsdb: Any) -> None:
    found = matched(paths, out, how="inner", radius_arcsec=1e-4)
    assert len(found) == 0
    dataset, catalogue_of_none = mmu.open(out / "association"), lsdb.open_catalog(out / "association")
    assert len(dataset) == len(dataset.table()) == len(list(dataset.batches())) == 0
    assert dataset.columns == matched(paths, None).table().column_names
    assert len(catalogue_of_none) == len(catalogue_of_none.compute(progress_bar=False)) == 0
    assert not list(out.rglob("Npix=*"))
    assert verify_match(LocalTree(out), "association")[3] == ()
    assert len(matched(paths, out, how="inner", radius_arcsec=1e-4)) == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")
@pytest.mark.filterwarnings("ignore:.*is deprecated.*:DeprecationWarning")
def test_lsdb_opens_the_result_and_finds_the_same_pairs(paths: Folders, out: Path, lsdb: Any) -> None:
    found = matched(paths, out, how="inner", mode="all").table()
    theirs = lsdb.open_catalog(out / "association", columns="all").compute(progress_bar=False)
    ours = found.to_pandas()
    assert len(theirs) == len(ours) > 200
    for name in ("object_id", "a_id", "b_id", "b_sep_arcsec", "b_row", "b_rank"):
        keys = ["_healpix_29", "object_id", "b_rank"]
        assert theirs.reset_index().sort_values(keys)[name].tolist() == ours.sort_values(keys)[name].tolist()
    frames = {name: mmu.open(path).table().to_pandas().drop(columns="_healpix_29") for name, path in paths.items()}
    pairs = lsdb_pairs(lsdb, frames)
    assert pairs == set(zip(ours["a_id"], ours["b_id"], strict=True))
    sep = separations(*((frame["ra"].to_numpy(), frame["dec"].to_numpy()) for frame in frames.values()))
    assert len(pairs) == np.count_nonzero(sep <= RADIUS)


def lsdb_pairs(lsdb: Any, frames: dict[str, pd.DataFrame]) -> set[tuple[str, str]]:
    """What lsdb finds, with margins as wide as the radius."""
    left, right = (
        lsdb.from_dataframe(
            frame, ra_column="ra", dec_column="dec", lowest_order=order, margin_threshold=RADIUS, catalog_name=name
        )
        for (name, frame), order in zip(frames.items(), (0, 1), strict=True)
    )
    pairs = left.crossmatch(
        right, radius_arcsec=RADIUS, n_neighbors=60, suffixes=("_a", "_b"), suffix_method="all_columns"
    ).compute(progress_bar=False)
    return set(zip(pairs["object_id_a"], pairs["object_id_b"], strict=True))


def test_parts_without_a_required_dataset_are_not_missed_in_the_account(tmp_path: Path, out: Path) -> None:
    near, far = (np.array([10.0]), np.array([20.0])), (np.array([200.0]), np.array([-20.0]))
    both = np.r_[near[0], far[0]], np.r_[near[1], far[1]]
    paths = {
        "a": write_hats(tmp_path / "a", table_of(both, "a"), [3]),
        "b": write_hats(tmp_path / "b", table_of(near, "b"), [3]),
    }
    account = {path: path / "_mmu" / "shards.parquet" for path in paths.values()}
    for path, file in account.items():  # as our own catalogues have it: then the counts must balance
        rows = [{"Norder": p.order, "Npix": p.pixel, "objects": 1, "xxh3": ""} for p in mmu.open(path).partitions]
        file.parent.mkdir()
        pq.write_table(pa.Table.from_pylist(rows), file)
    for how in ("inner", "left", "outer"):
        found = matched(paths, out / how, how=how, required=["b"])
        assert found.table()["object_id"].to_pylist() == ["a0000000"]
    assert len(matched(paths, out, how="outer")) == 2
