"""What the checks cost: healthy builds with all of them and with none, in turn, from a server on this machine."""

from __future__ import annotations

import hashlib
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import xxhash

from mmu.archive import fetch
from mmu.build import run, unit
from mmu.build.run import build
from mmu.build.spec import BuildSpec
from tests.archive.server import serving, simulate
from tests.reliability.conftest import Tally
from tests.reliability.world import tree

PAIRS = 9
ONE_BRICK = (("1856p000", "survey-bricks", "sweep-"), "cone:185.625,0,0.1")
"""What is simulated of the Legacy Survey, and the region that asks for no more."""


class NoHash:
    """Takes bytes and gives a digest of none of them."""

    def update(self, block: Any) -> None:
        """Nothing."""

    def hexdigest(self) -> str:
        return "0" * 64


@contextmanager
def unchecked() -> Iterator[None]:
    """No digest, no look at a file's format, no sync to the disk, no reading back, no count of what a reader gave."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashlib, "new", lambda name: NoHash())
        patch.setattr(fetch, "probe", lambda *args, **options: None)
        patch.setattr(fetch, "expected", lambda *args: None)
        patch.setattr(xxhash, "xxh3_128", NoHash)
        patch.setattr(run, "checksum", lambda path: "0" * 32)
        patch.setattr(unit, "_refuse_imbalance", lambda *args: None)
        patch.setattr(os, "fsync", lambda handle: None)
        yield


def seconds(spec: BuildSpec) -> float:
    started = time.perf_counter()
    assert build(spec).code == 0
    return time.perf_counter() - started


@pytest.mark.slow
@pytest.mark.parametrize("survey", ["desi", "gaia", "legacysurvey"])
def test_checks_change_no_bytes_and_little_time(survey: str, tmp_path: Path, thorough: bool, tally: Tally) -> None:
    if not thorough and survey == "legacysurvey":
        pytest.skip("a brick takes half a minute; `make reliability` times it")
    matches, region = ONE_BRICK if survey == "legacysurvey" else ((), "all")
    simulate(survey, None, tmp_path / "archive", *matches)
    times: dict[str, list[float]] = {"on": [], "off": []}
    with serving(tmp_path / "archive") as archive:
        for turn in range(1 + PAIRS if thorough else 1):
            for checks in ("on", "off") if turn % 2 else ("off", "on"):
                out = tmp_path / f"{checks}{turn}"
                spec = BuildSpec(survey, out, source=archive.url, regions=(region,), workers=0)
                with unchecked() if checks == "off" else pytest.MonkeyPatch.context():
                    times[checks].append(seconds(spec))
    assert hashlib.new("sha256", b"").hexdigest() != NoHash().hexdigest(), "the patches are gone"
    on, off = (shards(tmp_path / f"{checks}0" / survey) for checks in ("on", "off"))
    assert on
    assert on == off
    if thorough:
        with_, without = times["on"][1:], times["off"][1:]  # the first pair also imports
        ratio = statistics.median(on / off for on, off in zip(with_, without, strict=True))
        medians = f"{statistics.median(with_):.2f} s with, {statistics.median(without):.2f} s without"
        tally("Cost of the checks", f"{survey}, a healthy build", f"{ratio:.3f} times: {medians}", PAIRS)


def shards(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree(folder).items() if "Npix" in name}
