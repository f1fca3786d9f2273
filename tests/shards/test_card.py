"""The card tells `datasets` what to load and people what was kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmu.shards.card import write_card
from tests.shards.sample import RELEASE, SURVEY, write

NONE: dict[str, Any] = {"read": 0, "cut": {}, "selected": 0, "written": 0, "excluded": {}, "failed": {}}
COUNTS = NONE | {
    "read": 9,
    "cut": {"faint": 4},
    "selected": 5,
    "written": 3,
    "excluded": {"edge": 1},
    "failed": {"slow": 1},
}


def build(root: Path, release: str, counts: dict[str, Any], **spec: Any) -> None:
    folder = root / release / "_mmu"
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"survey": "sample", "release": release, "spec": spec, "counts": counts, "bytes": 10, "shards": 1}
    (folder / "build.json").write_text(json.dumps(facts))


def front(root: Path) -> dict[str, Any]:
    head: dict[str, Any] = yaml.safe_load((root / "README.md").read_text().split("---\n")[1])
    return head


def test_releases_present_are_configurations_and_one_is_default(tmp_path: Path) -> None:
    build(tmp_path, "dr2_north", COUNTS)
    write_card(tmp_path, SURVEY)
    assert [(c["config_name"], c.get("default")) for c in front(tmp_path)["configs"]] == [("dr2_north", True)]
    build(tmp_path, "dr1_south", COUNTS)
    write_card(tmp_path, SURVEY)
    configs = front(tmp_path)["configs"]
    assert [(c["config_name"], c.get("default")) for c in configs] == [("dr1_south", True), ("dr2_north", None)]
    assert configs[1]["data_files"] == [{"split": "train", "path": "dr2_north/dataset/Norder=*/Dir=*/Npix=*.parquet"}]
    info = front(tmp_path)["dataset_info"][0]
    assert info["splits"] == [{"name": "train", "num_bytes": 3 * RELEASE.bytes_per_row, "num_examples": 3}]
    assert front(tmp_path)["license"] == "cc-by-4.0"


def test_every_count_and_word_is_told(tmp_path: Path) -> None:
    spec = {"region": "moc:/home/someone/area.fits", "max_objects": 60, "source": "simulated:seed=1"}
    build(tmp_path, "dr1_south", COUNTS, **spec)
    write_card(tmp_path, SURVEY)
    text = (tmp_path / "README.md").read_text()
    for row in ("read | 9", "cut: faint | 4", "excluded: edge | 1", "failed: slow | 1", "written | 3"):
        assert f"| {row} |" in text
    for words in ("brighter than 21 mag", "Words about the sample.", "@article{sample", "CC BY 4.0", "`moc:area.fits`"):
        assert words in text
    assert "not observations" in text
    assert "ids are text" in text
    assert "`image.flux`" in text
    assert "/home/" not in text


@pytest.mark.parametrize(
    ("source", "said"), [("https://example.org/x", "<https://example.org/x>"), ("/data/raw", "public")]
)
def test_the_source_is_named_unless_it_is_a_folder(tmp_path: Path, source: str, said: str) -> None:
    build(tmp_path, "dr1_south", COUNTS, source=source)
    write_card(tmp_path, SURVEY)
    assert said in (tmp_path / "README.md").read_text()
    assert "/data/raw" not in (tmp_path / "README.md").read_text()


def test_an_empty_release_says_so_and_does_not_break_the_others(tmp_path: Path) -> None:
    build(tmp_path, "dr1_south", NONE)
    write_card(tmp_path, SURVEY)
    assert "This selection holds no objects" in (tmp_path / "README.md").read_text()
    assert front(tmp_path)["configs"][0]["default"]
    build(tmp_path, "dr2_north", COUNTS)
    write_card(tmp_path, SURVEY)
    assert [c["config_name"] for c in front(tmp_path)["configs"]] == ["dr2_north"]
    assert "This selection holds no objects" in (tmp_path / "README.md").read_text()


def test_the_card_depends_on_the_releases_alone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, 20)
    assert (tmp_path / "a" / "README.md").read_bytes() == (tmp_path / "b" / "README.md").read_bytes()


def test_a_survey_without_differences_has_no_such_section(tmp_path: Path) -> None:
    build(tmp_path, "dr1_south", COUNTS)
    write_card(tmp_path, replace(SURVEY, differences=()))
    assert "Differences from" not in (tmp_path / "README.md").read_text()
