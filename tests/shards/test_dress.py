"""A dressed dataset shows its rows as they are, stays what its ledger says, and loads as before."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmu import look
from mmu.build.verify import verify
from mmu.errors import UsageError
from mmu.shards.dress import dress
from tests.build.toy import Toy, installed
from tests.shards.sample import SURVEY, write

LEFT, RIGHT = "box:8,10,-5,5", "box:10,12,-5,5"
PICTURES = ["coverage-v1.png", "samples-v1.png"]


@pytest.fixture(scope="module", autouse=True)
def toy_survey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with installed(tmp_path_factory.mktemp("plugin")):
        yield


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "archive")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pictures that take no time, and which were drawn."""
    made: list[str] = []

    def draw(data: Any, path: Path, count: int = 0) -> Path:
        made.append(path.name)
        rows = len(next(iter(data.values())) if isinstance(data, dict) else data)
        path.write_bytes(b"\x89PNG" + str(rows).encode())
        return path

    monkeypatch.setattr(look, "draw", draw)
    monkeypatch.setattr(look, "draw_sky", draw)
    return made


def problems(folder: Path) -> list[str]:
    return [problem for verdict in verify(folder) for problem in verdict.problems]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def shown(folder: Path) -> list[str]:
    card = (folder / "README.md").read_text()
    return [name for name in PICTURES if f"](pictures/{name})" in card]


def test_pictures_are_shown_and_a_second_call_changes_nothing(toy: Toy, tmp_path: Path, drawn: list[str]) -> None:
    toy.build(tmp_path / "out")
    folder = tmp_path / "out" / "toy"
    assert shown(folder) == []
    dress(folder)
    assert shown(folder) == sorted(path.name for path in (folder / "pictures").iterdir()) == PICTURES
    assert problems(folder) == []
    before = files(folder)
    dress(folder)
    assert files(folder) == before
    assert len(drawn) == 2
    assert toy.build(tmp_path / "out").done_before
    assert files(folder) == before


def test_a_build_that_changes_rows_drops_their_pictures(toy: Toy, tmp_path: Path, drawn: list[str]) -> None:
    folder = tmp_path / "out" / "toy"
    toy.build(tmp_path / "out", regions=(LEFT,))
    dress(folder)
    first = (folder / "pictures" / PICTURES[0]).read_bytes()
    toy.build(tmp_path / "out", regions=(RIGHT,), add=True)
    assert shown(folder) == []
    assert list((folder / "pictures").iterdir()) == []
    assert problems(folder) == []
    dress(folder)
    assert shown(folder) == PICTURES
    assert (folder / "pictures" / PICTURES[0]).read_bytes() != first
    assert problems(folder) == []


@pytest.mark.parametrize("name", ["pictures/coverage-v1.png", "croissant.json"])
def test_verify_finds_what_was_changed_and_dress_mends_it(
    toy: Toy, tmp_path: Path, drawn: list[str], name: str
) -> None:
    toy.build(tmp_path / "out")
    folder = tmp_path / "out" / "toy"
    dress(folder)
    whole = files(folder)
    (folder / name).write_bytes(b"else")
    assert problems(folder) == [f"{(folder / name).resolve()} was changed since it was written."]
    (folder / name).unlink()
    assert problems(folder) == [f"{(folder / name).resolve()} is missing."]
    dress(folder)
    assert files(folder) == whole


def test_without_matplotlib_there_are_no_pictures(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    toy.build(tmp_path / "out")
    folder = tmp_path / "out" / "toy"
    before = files(folder)
    monkeypatch.setattr("mmu.shards.dress.find_spec", lambda name: None)
    with caplog.at_level(logging.INFO, "mmu"):
        dress(folder)
    assert "multimodal-universe[plot]" in caplog.text
    assert files(folder) == before


def test_what_cannot_be_drawn_is_left_out(
    toy: Toy, tmp_path: Path, drawn: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise UsageError("no such column")

    monkeypatch.setattr(look, "draw", refuse)
    toy.build(tmp_path / "out")
    folder = tmp_path / "out" / "toy"
    dress(folder)
    assert shown(folder) == ["coverage-v1.png"]
    assert "samples-v1.png could not be drawn: no such column" in caplog.text
    assert [path.name for path in (folder / "pictures").iterdir()] == ["coverage-v1.png"]


def test_what_is_no_dataset_is_told(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="OUT/SURVEY"):
        dress(tmp_path)
    toy.build(tmp_path / "out")
    with pytest.raises(UsageError, match="one release; give the folder that it is in"):
        dress(tmp_path / "out" / "toy" / "v1")


def test_it_loads_as_before_and_the_hub_takes_its_card(
    toy: Toy, tmp_path: Path, drawn: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets
    from huggingface_hub import DatasetCard

    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)
    rows = toy.build(tmp_path / "out").counts["written"]
    folder = tmp_path / "out" / "toy"
    dress(folder)
    builder = datasets.load_dataset_builder(str(folder), cache_dir=str(tmp_path / "cache"))
    assert (builder.dataset_name, builder.config.name, type(builder).__name__) == ("toy", "v1", "ParquetToy")
    assert [len(paths) for paths in builder.config.data_files.values()] == [
        len(list(folder.rglob("v1/**/Npix=*.parquet")))
    ]
    stream = datasets.load_dataset(str(folder), split="train", streaming=True, cache_dir=str(tmp_path / "cache"))
    assert len(list(stream.select_columns(["object_id"]))) == rows
    card = DatasetCard.load(folder / "README.md")
    assert (card.data.license, card.data.size_categories, card.data.language) == ("mit", ["n<1K"], None)
    assert card.data.task_categories == ["feature-extraction"]
    assert card.data.tags == ["astronomy", "multimodal-universe", "hats", "toy", "spectrum"]
    assert "![Map of the sky" in card.text


def test_real_pictures(toy: Toy, tmp_path: Path) -> None:
    """The sky of the toy, as it really is drawn."""
    pytest.importorskip("matplotlib")
    toy.build(tmp_path / "out")
    folder = tmp_path / "out" / "toy"
    dress(folder)
    assert shown(folder) == PICTURES
    assert (folder / "pictures" / "coverage-v1.png").read_bytes().startswith(b"\x89PNG")
    assert problems(folder) == []


def test_two_releases_have_their_own_pictures(
    tmp_path: Path, drawn: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = SURVEY.releases
    write(tmp_path, 20)
    write(tmp_path, 10, second)
    monkeypatch.setattr("mmu.shards.dress.get_survey", lambda name: SURVEY)
    dress(tmp_path)
    assert sorted(drawn) == [f".{kind}-{one.name}.png" for kind in ("coverage", "samples") for one in (first, second)]
    write(tmp_path, 15, second)
    kept = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert kept == ["coverage-dr1_south.png", "samples-dr1_south.png"]
