"""A file in the cache is used for a day as it is; then the archive is asked whether it is still its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmu.archive.fetch import FRESH_FOR_S, Fetcher
from mmu.archive.part import Version
from mmu.archive.protocol import Provenance
from mmu.survey import File

Make = Callable[..., Fetcher]
PATH = "a/image.fits"


def old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Provenance, "age", 2 * FRESH_FOR_S)


def test_a_young_file_is_not_asked_about(archive: Any, make: Make, image: bytes) -> None:
    archive.add(PATH, image)
    make().get(File(PATH, 0))
    assert make().get(File(PATH, 0)).reused
    assert archive.count(PATH) == 1


def test_an_old_one_is_asked_about_once_and_not_fetched_again(
    archive: Any, make: Make, image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add(PATH, image)
    first = make().get(File(PATH, 0))
    old(monkeypatch)
    later = make()
    for _ in range(3):
        again = later.get(File(PATH, 0))
        assert (again.reused, again.time) == (True, first.time)
    assert [asked.method for asked in archive.asked if asked.path == PATH] == ["GET", "HEAD"]


def test_a_replaced_one_is_fetched_anew(
    archive: Any, make: Make, image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add(PATH, image)
    make().get(File(PATH, 0))
    other = archive.add(PATH, image[:-2880] + bytes(2880))
    os.utime(archive.folder / PATH, (2e9, 2e9))
    old(monkeypatch)
    got = make().get(File(PATH, 0))
    assert (got.reused, got.local.read_bytes()) == (False, other)
    assert not Path(f"{got.local}.bad").exists()


def test_without_a_network_the_cache_is_what_there_is(
    archive: Any, make: Make, image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        archive.add(f"{name}.fits", image)
        make(root=archive.url).get(File(f"{name}.fits", 0))
    old(monkeypatch)
    archive.fail("a.fits", lambda handler, data: handler.reply(503, b""), lasting=True)
    offline = make()
    assert offline.get(File("a.fits", 0)).reused
    archive.asked.clear()
    assert offline.get(File("b.fits", 0)).reused
    assert archive.asked == [], "one silence is enough"


@pytest.mark.parametrize(
    ("now", "then", "differs"),
    [
        (Version("", '"a"', "Mon", 5), Version("", '"a"', "Tue", 5), False),
        (Version("", '"b"', "Mon", 5), Version("", '"a"', "Mon", 5), False),
        (Version("", '"b"', "Tue", 5), Version("", '"a"', "Mon", 5), True),
        (Version("", '"b"', "", 5), Version("", '"a"', "", 5), True),
        (Version("", "", "Mon", 6), Version("", "", "Mon", 5), True),
        (Version("", "", "", -1), Version("", "", "", 5), False),
    ],
)
def test_what_counts_as_another_version(now: Version, then: Version, differs: bool) -> None:
    assert now.differs(then) is differs
