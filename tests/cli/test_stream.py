"""`mmu stream` as a person meets it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmu.cli import main
from tests.crossmatch.stream.skies import field, images, spectra


def run(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mmu", "stream", *map(str, words)]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, env=env)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ra, dec = field(100)
    images(tmp_path / "ls", np.arange(100.0), ra, dec)
    spectra(tmp_path / "desi", np.arange(100.0), ra, dec, length=None)
    return tmp_path


def test_what_a_stream_gives(folder: Path) -> None:
    done = run("ls", "desi", "--data", folder, cwd=folder)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert "100 samples, 1 batches of 256" in done.stdout
    assert "MB of batches in memory at once" in done.stdout
    assert re.search(r"ls +image\.flux +4 x 8 x 8 \(g r i z\) +float32 +1,024 *\n", done.stdout)
    assert re.search(r"desi +spectrum\.flux +any +float32 +any *\n", done.stdout)


def test_how_fast(folder: Path) -> None:
    words = ("--stats", "--shuffle", 1, "--cache", "cache", "-b", 16, "--columns", "ls.image.flux,desi.Z")
    for _ in range(2):
        done = run("ls", "desi", *words, cwd=folder)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False)
        assert re.search(r"objects +100 in [\d.]+ s", done.stdout)
        for line in ("objects/s", "MB/s delivered", "of the time; 99 % of batches under", "MB at most"):
            assert line in done.stdout
    few = run("ls", "--stats", "--batches", 2, "-b", 10, cwd=folder)
    assert re.search(r"objects +20 in", few.stdout)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("ls", "--columns", "ls.imag"), "imag"),
        (("ls", "--dtype", "float8"), "float16"),
        (("ls", "--pool", "much"), "much"),
    ],
)
def test_a_mistake_is_one_sentence(
    folder: Path,
    words: tuple[str, ...],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["mmu", "stream", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr().err
    assert ended.value.code == 2, printed
    assert told in printed
    assert "Traceback" not in printed


def test_a_mistake_ends_the_process_in_the_same_way(folder: Path) -> None:
    done = run("nothing", cwd=folder)
    assert done.returncode == 2
    assert "There is no dataset 'nothing'" in done.stderr
    assert "Traceback" not in done.stderr
