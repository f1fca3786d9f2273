"""`mmu crossmatch` as a person meets it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import mmu
from crossmatch import open_association
from mmu.cli import main
from tests.crossmatch.catalogues import scattered, table_of, write_hats


def run(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mmu", "crossmatch", *map(str, words)]
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}  # what is no folder here is not looked for on the Hub
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, env=env)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two catalogues and a table of the same 40 places."""
    random = np.random.default_rng(4)
    centres = 10 + random.random(40), random.random(40)
    for name in ("stars", "galaxies"):
        table = table_of(
            scattered(centres, 0.1, 40, random), name[0], z=random.random(40), flag=random.random(40) > 0.5
        )
        write_hats(tmp_path / "data" / name, table, (4,))
    pq.write_table(table.rename_columns(["sky", "name", "RAdeg", "DEdeg", "z", "flag"]), tmp_path / "table.parquet")
    return tmp_path


def test_a_match_its_pairs_its_card_and_its_picture(folder: Path) -> None:
    words = ("stars", "galaxies", "--data", "data", "--out", "out", "--materialize", "--columns", "stars.z,galaxies.z")
    done = run(*words, cwd=folder)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert "out/association: 40 rows" in done.stdout
    assert "out/pairs: 40 rows" in done.stdout
    assert {"README.md", "match.png", "association", "pairs"} <= {path.name for path in (folder / "out").iterdir()}
    assert {"stars_z", "galaxies_z"} <= set(mmu.open(folder / "out", "pairs").columns)
    before = {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()}
    again = run(*words, "-q", cwd=folder)
    assert again.returncode == 0
    assert {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()} == before
    members = open_association(folder / "out").members
    assert [len(mmu.open(one.address)) for one in members] == [40, 40]  # without --data: it knows where they are


def test_the_command_in_the_account_makes_it_again(folder: Path) -> None:
    done = run("data/stars", "g=data/galaxies", "--out", "out", "--how", "left", "--require", "g", "-j", 0, cwd=folder)
    assert done.returncode == 0, done.stderr
    found = open_association(folder / "out")
    words = found.command.split()[2:]
    again = run(*words[:-1], folder / "second", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert open_association(folder / "second").table().equals(found.table())


def test_a_table_says_which_columns(folder: Path) -> None:
    done = run("data/stars", "t=table.parquet#ra=RAdeg,dec=DEdeg,id=name", "--out", "out", "-q", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert open_association(folder / "out").table(["t_id"])["t_id"][0].as_py().startswith("g")


def test_a_dry_run_writes_nothing(folder: Path) -> None:
    done = run("data/stars", "data/galaxies", "--out", "out", "--dry-run", cwd=folder)
    assert done.returncode == 0
    assert "stars 40, galaxies 40 objects" in done.stdout
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("data/stars", "data/nothing"), "There is no dataset 'data/nothing'"),
        (("data/stars",), "needs two datasets or more"),
        (("data/stars", "data/stars"), "Two datasets are called 'stars'"),
        (("data/stars", "data/galaxies", "--radius", "0"), "must be above 0"),
        (("data/stars", "data/galaxies", "--radius", "4000"), "at most 3600"),
        (("data/stars", "data/galaxies", "--how", "iner"), "Did you mean 'inner'?"),
        (("data/stars", "data/galaxies", "--mode", "best"), "nearest"),
        (("data/stars", "data/galaxies", "--k", "3"), "mode 'knn'"),
        (("data/stars", "data/galaxies", "o=data/stars", "--mode", "all"), "takes two datasets"),
        (("data/stars", "data/galaxies", "--require", "galaxy"), "Did you mean 'galaxies'?"),
        (("data/stars", "data/galaxies", "--epochs"), "proper motions"),
        (("data/stars", "data/galaxies", "--epoch", "stars"), "NAME=VALUE"),
        (("data/stars", "data/galaxies", "--epoch", "stars=soon"), "give a year"),
        (("data/stars", "data/galaxies", "--error", "stars=sigma"), "Unknown column"),
        (("data/stars", "data/galaxies", "--region", "circle:1"), "cone:RA,DEC,RADIUS"),
        (("data/stars", "table.parquet#ra=RAdeg,dec=DEdeg", "--materialize"), "is a table"),
        (("data/stars", "data/galaxies", "-j", "-1"), "0 (this process) or more"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(
    words: tuple[str, ...],
    said: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["mmu", "crossmatch", *words, "--out", "out", "-q"])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert said in printed.err
    assert not (folder / "out" / "association").exists()
