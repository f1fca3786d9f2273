"""The commands of training end alike: what they cannot do is one line on stderr, and an exit code."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from training import command

ROOT = Path(__file__).resolve().parents[2]
WRONG = {
    "pretrain": ["--recipe", "bse", "--data", "nowhere", "--out", "nowhere"],
    "train_codec": ["image", "--recipe", "image-tyni", "--data", "nowhere", "--out", "nowhere"],
    "evaluate": ["codecs", "--codecs", "nowhere", "--data", "nowhere", "--most", "0"],
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_done_is_one_line(name: str) -> None:
    asked = [sys.executable, "-m", f"training.{name}"]
    done = subprocess.run([*asked, *WRONG[name]], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"{name}: ")
    assert done.stderr.count("\n") == 1
    helped = subprocess.run([*asked, "--help"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert helped.returncode == 0
    assert f"usage: python -m training.{name}" in helped.stdout


def test_shares_of_the_sky_are_read() -> None:
    assert command.splits("train=0.8,test=0.2") == {"train": 0.8, "test": 0.2}
    for words in ("train", "train=most", "train=0.5=0.5"):
        with pytest.raises(argparse.ArgumentTypeError, match="give names and shares"):
            command.splits(words)
