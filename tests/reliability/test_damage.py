"""`mmu verify` finds any damage to any one file of a dataset, and names the file."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mmu.build.verify import verify
from mmu.cli import app
from mmu.errors import UsageError
from tests.build.toy import Toy, installed

pytestmark = pytest.mark.slow

Damage = Callable[[Path], object]


@pytest.fixture(scope="module", autouse=True)
def toy_survey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with installed(tmp_path_factory.mktemp("plugin")):
        yield


@pytest.fixture(scope="module")
def whole(toy_survey: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished dataset with HDF5 files and a margin that has rows."""
    folder = tmp_path_factory.mktemp("toy")
    toy = Toy(folder / "archive", 4, 5)
    toy.rows += [("b0", 45.0 - 1e-4, 0.0, "u0", 1.0), ("b1", 45.0 + 1e-4, 0.0, "u1", 1.0)]
    toy.write()
    assert toy.build(folder / "out", formats=("parquet", "hdf5")).code == 0
    return folder / "out/toy"


@pytest.fixture
def dataset(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "toy")


def files_of(folder: Path) -> list[Path]:
    """Every file of a dataset but its empty lock files."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith(".lock")]


def problems(folder: Path) -> list[str]:
    try:
        return [problem for verdict in verify(folder) for problem in verdict.problems]
    except UsageError as problem:
        return [str(problem)]


def _flip(place: float) -> Damage:
    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[int(place * (len(data) - 1))] ^= 1
        path.write_bytes(data)

    return damage


def _same_size(path: Path) -> None:
    """Two unlike neighbours change places, as in a number edited by hand."""
    data = bytearray(path.read_bytes())
    at = next(i for i in range(len(data) // 3, len(data) - 1) if data[i] != data[i + 1])
    data[at], data[at + 1] = data[at + 1], data[at]
    path.write_bytes(data)


DAMAGES: dict[str, Damage] = {
    "delete it": Path.unlink,
    "cut off its last byte": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "cut it in the middle": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "append a byte": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    "empty it": lambda path: path.write_bytes(b""),
    "zeros in place of its bytes": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "flip a bit in its first byte": _flip(0.0),
    "flip a bit in its middle": _flip(0.5),
    "flip a bit near its end": _flip(0.97),
    "flip a bit in its last byte": _flip(1.0),
    "exchange two bytes": _same_size,
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_to_any_file_is_found_and_named(dataset: Path, tally: Any, name: str) -> None:
    files = files_of(dataset)
    names = {path.name for path in files}
    assert {"README.md", "hats.properties", "partition_info.csv", "_common_metadata", "skymap.fits"} <= names
    assert {"collection.properties", "build.json", "objects.parquet", "units.parquet", "shards.parquet"} <= names
    assert any(path.suffix == ".hdf5" for path in files)
    assert any("v1_margin" in path.parts and path.name.startswith("Npix=") for path in files)
    assert problems(dataset) == []
    for path in files:
        data = path.read_bytes()
        DAMAGES[name](path)
        found = problems(dataset)
        assert any(str(path) in problem for problem in found), (path, found)
        path.write_bytes(data)
    assert problems(dataset) == []
    tally("Damage found by mmu verify", name, "named", len(files))


def test_two_files_of_a_kind_exchanged(dataset: Path, tally: Any) -> None:
    tried = 0
    for pattern in ("v1/dataset/**/Npix=*.parquet", "v1_margin/dataset/**/Npix=*.parquet", "hdf5/**/*.hdf5"):
        first, second = sorted(dataset.glob(pattern))[:2]
        for _ in range(2):  # there, and back again
            spare = first.rename(first.with_name("spare"))
            second.rename(first)
            spare.rename(second)
            found = problems(dataset)
            if tried % 2 == 0:
                assert all(any(str(path) in problem for problem in found) for path in (first, second)), found
            else:
                assert found == []
            tried += 1
    tally("Damage found by mmu verify", "exchange two shards, margins or HDF5 files", "both named", tried // 2)


def test_a_file_too_many(dataset: Path, tally: Any) -> None:
    folders = sorted({path.parent for path in files_of(dataset)} - {dataset})
    for folder in folders:
        for name in ("more.parquet", "Npix=9.parquet.tmp", ".hidden"):
            extra = folder / name
            extra.write_bytes(b"PAR1")
            assert any(str(extra) in problem for problem in problems(dataset)), extra
            extra.unlink()
    assert problems(dataset) == []
    tally("Damage found by mmu verify", "a file that the ledger does not know", "named", 3 * len(folders))


def test_a_folder_too_few(dataset: Path, tally: Any) -> None:
    folders = [path for path in sorted(dataset.rglob("*")) if path.is_dir()]
    for folder in folders:
        inside = files_of(folder)
        away = folder.rename(dataset.parent / "away")
        found = problems(dataset)
        assert any(str(path) in problem for path in inside for problem in found) or folder.name == "v1", (folder, found)
        assert found
        away.rename(folder)
    assert problems(dataset) == []
    tally("Damage found by mmu verify", "a whole folder is gone", "named", len(folders))


def test_a_card_of_another_build(whole: Path, dataset: Path, toy_survey: None, tmp_path: Path, tally: Any) -> None:
    toy = Toy(tmp_path / "archive", 3, 5)
    toy.build(tmp_path / "other")
    shutil.copy(tmp_path / "other/toy/README.md", dataset / "README.md")
    assert any("README.md" in problem for problem in problems(dataset))
    tally("Damage found by mmu verify", "the card of another build", "named")


def test_the_command_says_so(dataset: Path) -> None:
    whole = CliRunner().invoke(app, ["verify", str(dataset)])
    assert (whole.exit_code, "ok" in whole.output) == (0, True)
    path = next(iter(sorted(dataset.glob("v1/dataset/**/Npix=*.parquet"))))
    _flip(0.5)(path)
    damaged = CliRunner().invoke(app, ["verify", str(dataset)])
    assert damaged.exit_code == 1
    assert str(path) in damaged.output
