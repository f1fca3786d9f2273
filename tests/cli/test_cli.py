"""The command line as a person meets it: words, exit codes, and the same verbs as the functions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mmu.cli import app, main
from mmu.cli.options import parse_bytes, read_ids
from mmu.errors import UsageError


def mmu(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mmu", *map(str, words)], capture_output=True, text=True, cwd=cwd, check=False
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("build", "desi", "--release", "dr9", "--out", "x"), "dr1_main"),
        (("build", "desi", "--region", "circle:1,2,3", "--out", "x"), "cone:RA,DEC,RADIUS"),
        (("build", "desi", "--region", "cone:1,2", "--out", "x"), "needs 3 numbers"),
        (("build", "desi", "--partition-bytes", "many", "--out", "x"), "16MB"),
        (("build", "desi", "--format", "zarr", "--out", "x"), "hdf5"),
        (("build", "desi", "--max-objects", "0", "--out", "x"), "1 or more"),
        (("build", "desi", "--source", "/no/such/folder", "--out", "x"), "simulated"),
        (("verify", "."), "holds no dataset"),
        (("build", "desi", "--ids", "nothing.txt", "--out", "x"), "one object_id a line"),
        (("simulate", "desi", "--match", "no-such-file", "--out", "x"), "in its path"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["mmu", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr().err
    assert ended.value.code == 2, printed
    assert said in printed
    assert "Traceback" not in printed
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_mistake_ends_the_process_in_the_same_way(tmp_path: Path) -> None:
    done = mmu("build", "desj", "--out", "x", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Did you mean 'desi'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_network_is_one_sentence(tmp_path: Path) -> None:
    done = mmu(
        "build", "desi", "--source", "http://127.0.0.1:9/", "--region", "cone:10,10,0.1", "--out", tmp_path, "-j", 0
    )
    assert done.returncode == 1
    assert "--source" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_verb_has_help() -> None:
    from typer.testing import CliRunner

    for verb in [str(command.name) for command in app.registered_commands]:
        result = CliRunner().invoke(app, [verb, "--help"])
        assert result.exit_code == 0
        assert len(result.output) > 200


def test_build_info_verify_and_list(tmp_path: Path) -> None:
    built = mmu("build", "gaia", "--source", "simulated", "--max-objects", 20, "--out", tmp_path, "-j", 0)
    assert built.returncode == 0, built.stderr
    assert "20 objects" in built.stdout
    again = mmu("build", "gaia", "--source", "simulated", "--max-objects", 20, "--out", tmp_path, "-j", 0)
    assert "nothing to do" in again.stdout
    assert mmu("verify", tmp_path / "gaia").returncode == 0
    assert "written 20" in mmu("info", tmp_path / "gaia").stdout
    next(tmp_path.rglob("Npix=*.parquet")).unlink()
    broken = mmu("verify", tmp_path / "gaia")
    assert broken.returncode == 1
    assert "is missing" in broken.stdout
    assert "gaia_dr3" in mmu("list").stdout


def test_fetch_then_build_needs_nothing_more(tmp_path: Path) -> None:
    options = ("--source", "simulated", "--max-objects", 20, "--out", tmp_path, "--cache", tmp_path / "raw", "-j", 0)
    fetched = mmu("fetch", "gaia", *options)
    assert fetched.returncode == 0, fetched.stderr
    files = {
        path.relative_to(tmp_path / "raw"): path.stat().st_mtime_ns for path in (tmp_path / "raw").rglob("*.csv.gz")
    }
    assert files
    assert mmu("build", "gaia", *options, "--keep-raw").returncode == 0
    now = {path.relative_to(tmp_path / "raw"): path.stat().st_mtime_ns for path in (tmp_path / "raw").rglob("*.csv.gz")}
    assert now == files


@pytest.mark.parametrize(
    ("text", "count"), [("16MB", 16_000_000), ("1GiB", 1 << 30), ("70000", 70_000), ("1.5 kB", 1500)]
)
def test_sizes_as_people_write_them(text: str, count: int) -> None:
    assert parse_bytes(text) == count


def test_ids_file(tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("a\n\n b \n")
    assert read_ids(tmp_path / "ids") == frozenset({"a", "b"})
    (tmp_path / "none").write_text("\n")
    with pytest.raises(UsageError):
        read_ids(tmp_path / "none")
