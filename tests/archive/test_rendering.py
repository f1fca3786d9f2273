"""Files of a simulated archive that are kept: the same bytes, once made, and never touched by who got them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from mmu.archive import rendering
from mmu.archive.fetch import Fetcher
from mmu.archive.source import SimulatedSource
from mmu.kept import VARIABLE, _code
from mmu.simulate.population import cell_objects
from mmu.simulate.sky import Field, Sky
from mmu.survey import File, Policy, Release, Survey, get_survey

SIMULATOR = """
from pathlib import Path
LOG = Path(__file__).with_name("log")
def files(release, sky):
    with LOG.open("a") as log: print("files", release, sky.seed, file=log)
    return {f"{release}.txt": 3}
def write(path, sky, destination):
    with LOG.open("a") as log: print("write", path, sky.seed, file=log)
    if path == "bad": raise ValueError(path)
    destination.write_text(f"{path} of {sky}")
def answer(path, query, sky, destination): destination.write_text(f"{path}: {query}")
"""
MODULE = "rendered_survey"


class Kept:
    """A survey's package, and the folder where its files are kept."""

    def __init__(self, root: Path) -> None:
        self.package, self.folder, self.out = root / "modules" / MODULE, root / "kept", root / "out"
        self.package.mkdir(parents=True)
        (self.package / "__init__.py").touch()
        (self.package / "simulate.py").write_text(SIMULATOR)

    def render(self, path: str, sky: Sky | None = None, query: str = "") -> str:
        rendering.render(MODULE, path, sky or Sky(), self.out, query)
        return self.out.read_text()

    @property
    def made(self) -> list[str]:
        log = self.package / "log"
        return log.read_text().splitlines() if log.exists() else []

    @property
    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    made = Kept(tmp_path)
    monkeypatch.syspath_prepend(str(made.package.parent))
    monkeypatch.setenv(VARIABLE, str(made.folder))
    yield made
    for name in [name for name in sys.modules if name.startswith(MODULE)]:
        del sys.modules[name]


def test_nothing_is_kept_unless_asked_for(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    assert kept.render("a") == kept.render("a")
    assert rendering.files(MODULE, "r1", Sky()) == rendering.files(MODULE, "r1", Sky()) == {"r1.txt": 3}
    assert len(kept.made) == 4
    assert not kept.folder.exists()


def test_what_was_made_is_not_made_again(kept: Kept) -> None:
    assert kept.render("a") == kept.render("a") == f"a of {Sky()}"
    assert rendering.files(MODULE, "r1", Sky()) == rendering.files(MODULE, "r1", Sky()) == {"r1.txt": 3}
    assert kept.made == ["write a 2026", "files r1 2026"]


def test_another_path_sky_question_or_release_is_another_file(kept: Kept) -> None:
    part = Sky(fields=(Field("part", 185.625, 0.0, 0.1),))
    asked = [kept.render("a"), kept.render("b"), kept.render("a", Sky(7)), kept.render("a", part)]
    asked += [kept.render("a", query="one"), kept.render("a", query="two")]
    assert len(set(asked)) == len(kept.files) == 6
    assert rendering.files(MODULE, "r1", Sky()) != rendering.files(MODULE, "r2", Sky())


def test_other_code_has_other_files(kept: Kept) -> None:
    kept.render("a")
    (kept.package / "columns.py").write_text("SIZE = 7\n")
    _code.cache_clear()  # as in the next process
    kept.render("a")
    assert kept.made == ["write a 2026"] * 2


def test_a_damaged_copy_damages_nothing_else(kept: Kept) -> None:
    whole = kept.render("a")
    with kept.out.open("r+") as file:
        file.write("damaged")
    assert kept.render("a") == whole
    assert kept.made == ["write a 2026"]


def test_what_cannot_be_made_leaves_nothing(kept: Kept) -> None:
    with pytest.raises(ValueError, match="bad"):
        kept.render("bad")
    assert kept.files == []


def test_many_at_once_all_get_whole_files(kept: Kept, tmp_path: Path) -> None:
    def get(number: int) -> str:
        rendering.render(MODULE, f"{number % 3}", Sky(), tmp_path / f"{number}.txt")
        return (tmp_path / f"{number}.txt").read_text()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(get, range(24))) == [f"{number % 3} of {Sky()}" for number in range(24)]
    assert len(kept.files) == len(kept.made) == 3


def test_the_same_bytes_as_without(kept: Kept, tmp_path: Path) -> None:
    survey, sky = get_survey("legacysurvey"), Sky(fields=(Field("part", 185.625, 0.0, 0.05),))
    path = "dr10/south/survey-bricks-dr10-south.fits.gz"
    for name in ("made", "copied"):
        rendering.render(survey.module, path, sky, tmp_path / name)
    survey.simulator.write(path, sky, tmp_path / "without")
    assert len([file for file in kept.files if file.parent.name == survey.module]) == 1
    assert len({(tmp_path / name).read_bytes() for name in ("made", "copied", "without")}) == 1


def test_the_sky_is_the_same_as_without(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = int(Sky().cells()[0])
    made, again = (cell_objects.__wrapped__(5, cell) for _ in range(2))
    monkeypatch.delenv(VARIABLE)
    without = cell_objects.__wrapped__(5, cell)
    assert len(kept.files) == 1
    assert made.dtype == again.dtype == without.dtype
    assert made.tobytes() == again.tobytes() == without.tobytes()
    assert not again.flags.writeable


@pytest.mark.slow
def test_a_source_starts_no_process_to_copy(kept: Kept, tmp_path: Path) -> None:
    survey, release = (
        cast(Survey, SimpleNamespace(name="toy", module=MODULE)),
        cast(Release, SimpleNamespace(name="r1")),
    )
    got = []
    for name in ("made", "copied"):
        source = SimulatedSource(survey, release, 5, processes=1)
        with Fetcher(source, tmp_path / name, Policy()) as fetcher:
            got.append(fetcher.get(File("r1.txt", 3)).local.read_text())
            assert (source._pool is None) == (name == "copied")
    assert got == [f"r1.txt of {Sky(5)}"] * 2
    assert kept.made == ["files r1 5", "write r1.txt 5"]
