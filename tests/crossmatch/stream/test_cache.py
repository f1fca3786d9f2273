"""The cache gives what Parquet gives, notices damage, keeps to its size, and is shared."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmu
from crossmatch.stream import looking, reading
from mmu.errors import UsageError
from tests.crossmatch.stream.test_stream import check

Paths = dict[str, Path]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The row groups that are decoded."""
    found: list[Any] = []
    read = reading.read

    def noted(place: Any, number: int, paths: list[str]) -> Any:
        found.append((place, number))
        return read(place, number, paths)

    assert vars(looking)["read"] is read, "what is only looked at for its shape is not noted"
    monkeypatch.setattr(reading, "read", noted)
    return found


def opened(sky: Paths, folder: Path, **how: Any) -> Any:
    names = ("ls", "desi", "sdss")
    return mmu.stream([sky[name] for name in names], how="left", batch_size=16, shuffle=1, cache=folder, **how)


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.arrow"))


def test_what_is_cached_is_what_was_read_and_is_read_once(sky: Paths, tmp_path: Path, decoded: list[Any]) -> None:
    for run in range(3):
        stream = opened(sky, tmp_path / "cache")
        for _ in range(2):
            for batch in stream:
                check(batch)
        if run == 0:
            assert len(decoded) == len(set(decoded)) == len(files(tmp_path / "cache")) > 20
            decoded.clear()
    assert not decoded
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_a_damaged_file_is_made_anew(sky: Paths, tmp_path: Path, decoded: list[Any], damage: str) -> None:
    list(opened(sky, tmp_path))
    path = max(files(tmp_path), key=lambda one: one.stat().st_size)
    data = path.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 0x55]) + data[middle + 1 :]
    path.write_bytes({"cut": data[:middle], "flipped": flipped, "empty": b"", "text": b"no Arrow file"}[damage])
    decoded.clear()
    for batch in opened(sky, tmp_path):
        check(batch)
    assert len(decoded) == 1
    assert path.read_bytes() == data


@pytest.mark.parametrize("how", [{"crop": 4}, {"dtype": "float64"}, {"bands": {"ls": "gr"}}, {"columns": ["ls.image"]}])
def test_other_arrays_are_other_files(sky: Paths, tmp_path: Path, how: dict[str, Any]) -> None:
    list(opened(sky, tmp_path))
    before = len(files(tmp_path))
    plain, cached = (
        mmu.stream(sky["ls"], batch_size=16, **_own(how)),
        mmu.stream(sky["ls"], batch_size=16, cache=tmp_path, **_own(how)),
    )
    for one, other in zip(plain, cached, strict=True):
        assert list(one["ls"]) == list(other["ls"])
        for name, array in one["ls"].items():
            assert np.array_equal(array, other["ls"][name])
            assert array.dtype == other["ls"][name].dtype
    assert len(files(tmp_path)) > before


def _own(how: dict[str, Any]) -> dict[str, Any]:
    return {**how, "columns": ["image"]} if "columns" in how else how


def test_a_changed_dataset_is_read_anew(sky: Paths, tmp_path: Path, decoded: list[Any]) -> None:
    list(opened(sky, tmp_path))
    path = next((sky["sdss"] / "dataset").rglob("*.parquet"))
    facts = path.stat()
    decoded.clear()
    try:
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1_000_000))
        list(opened(sky, tmp_path))
    finally:
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert {place for place, _ in decoded} == {path}


def test_it_keeps_to_its_size(sky: Paths, tmp_path: Path) -> None:
    list(opened(sky, tmp_path / "whole"))
    total = sum(path.stat().st_size for path in files(tmp_path / "whole"))
    for _ in range(2):
        for batch in opened(sky, tmp_path / "half", cache_bytes=total // 2):
            check(batch)
        assert total // 4 < sum(path.stat().st_size for path in files(tmp_path / "half")) <= total // 2


def test_several_threads_and_a_second_process_share_it(sky: Paths, tmp_path: Path) -> None:
    code = (
        "import sys, mmu; "
        "s = mmu.stream(sys.argv[2:], how='left', batch_size=16, shuffle=1, cache=sys.argv[1]); "
        "print(sum(batch.size for batch in s))"
    )
    words = [sys.executable, "-c", code, str(tmp_path), *(str(sky[name]) for name in ("ls", "desi", "sdss"))]
    other = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    problems: list[BaseException] = []

    def go() -> None:
        try:
            for batch in opened(sky, tmp_path):
                check(batch)
        except Exception as problem:  # noqa: BLE001  told by the main thread
            problems.append(problem)

    threads = [threading.Thread(target=go) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert other.communicate()[0].strip() == "240"
    assert other.returncode == 0


@pytest.fixture
def locked(tmp_path: Path) -> Path:
    """A place where no folder can be made."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "cache"


def test_where_nothing_can_be_written_is_told(sky: Paths, locked: Path) -> None:
    with pytest.raises(UsageError, match="nothing can be written there"):
        mmu.stream(sky["ls"], cache=locked)
