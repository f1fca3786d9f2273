"""What `mmu.cite` finds for surveys, datasets and matches; the command line on top of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import mmu
from mmu.bibtex import parse
from mmu.cli import app
from mmu.errors import LedgerError, UsageError
from mmu.references import acknowledgement, papers, software
from mmu.survey import get_survey

OWN = [entry.key for entry in software()]


def keys(citation: Any) -> list[str]:
    return [entry.key for entry in citation.entries]


def dataset(folder: Path, survey: str, release: str, source: str = "https://example.org/") -> Path:
    """As much of a built dataset as says what it is."""
    place = folder / survey / release
    (place / "_mmu").mkdir(parents=True)
    (place / "hats.properties").write_text("dataproduct_type=object\n")
    build = {"survey": survey, "release": release, "spec": {"source": source}}
    (place / "_mmu" / "build.json").write_text(json.dumps(build))
    return place.parent


def match(folder: Path, **members: Path | str) -> Path:
    for part in ("association", "pairs"):
        (folder / part / "_mmu").mkdir(parents=True)
        facts = {"members": [{"name": name, "address": str(where)} for name, where in members.items()]}
        (folder / part / "_mmu" / "match.json").write_text(json.dumps(facts))
    return folder


def test_surveys_and_their_releases() -> None:
    assert keys(mmu.cite("desi")) == ["desi_dr1", "desi_edr", *OWN]
    assert keys(mmu.cite("desi:edr_sv3")) == ["desi_edr", *OWN]
    assert keys(mmu.cite("desi:edr_sv3", "desi:dr1_main")) == ["desi_dr1", "desi_edr", *OWN]
    assert keys(mmu.cite("desi:edr_sv3", "desi")) == keys(mmu.cite("desi"))
    jwst = keys(mmu.cite("jwst:gds"))
    assert "eisenstein2023jades" in jwst
    assert "bagley2023ceers" not in jwst
    assert keys(mmu.cite("desi", "desi_provabgs")).count("desi_edr") == 1


def test_the_text_says_thanks_in_the_surveys_own_words() -> None:
    text = mmu.cite("gaia", "desi:dr1_main").text
    words = " ".join(text.split())
    for name in ("gaia", "desi"):
        assert " ".join(acknowledgement(get_survey(name)).split()) in words
    assert "Cite: desi_dr1. Licence: CC BY 4.0: name the source and the licence, and say what was changed." in words
    assert max(map(len, text.splitlines())) <= 130  # an address is not broken


def test_a_dataset_names_its_survey_and_releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = dataset(tmp_path, "sdss", "segue1")
    assert "boss_pipeline" not in keys(mmu.cite(folder))
    assert keys(mmu.cite(folder)) == keys(mmu.cite(folder / "segue1")) == keys(mmu.cite("sdss:segue1"))
    dataset(tmp_path, "sdss", "boss")
    assert "boss_pipeline" in keys(mmu.cite(folder))
    assert mmu.cite(folder).used[0].releases == ("boss", "segue1")
    assert mmu.cite(folder / "segue1").used[0].releases == ("segue1",)
    monkeypatch.setenv("MMU_DATA", str(tmp_path))
    (tmp_path / "mine").mkdir()
    (folder / "segue1").rename(tmp_path / "mine" / "segue1")
    assert mmu.cite("mine:segue1").used[0].releases == ("segue1",)


def test_simulated_data_are_told(tmp_path: Path) -> None:
    found = mmu.cite(dataset(tmp_path, "gaia", "gaia_dr3", "simulated:seed=1"))
    assert found.simulated == ("gaia gaia_dr3",)
    assert "not observations" in found.warnings[0]
    assert found.warnings[0] in " ".join(found.text.split())
    assert mmu.cite("gaia").warnings == ()


def test_a_match_cites_all_its_datasets(tmp_path: Path) -> None:
    desi, gaia = dataset(tmp_path, "desi", "edr_sv3"), dataset(tmp_path, "gaia", "gaia_dr3")
    inner = match(tmp_path / "inner", desi=desi, spectra=gaia / "gaia_dr3")
    assert keys(mmu.cite(pairs=[inner])) == keys(mmu.cite("desi:edr_sv3", "gaia:gaia_dr3"))
    assert keys(mmu.cite(inner / "pairs")) == keys(mmu.cite(pairs=[inner / "association"]))
    for part in ("association", "pairs"):
        (inner / part / "hats.properties").write_text("dataproduct_type=object\n")
    hsc = dataset(tmp_path, "hsc", "pdr3_wide_21")
    outer = match(tmp_path / "outer", both=inner, hsc=hsc)
    assert set(keys(mmu.cite(outer))) == {*keys(mmu.cite(inner)), *keys(mmu.cite("hsc"))}


def test_what_a_match_was_made_of_may_be_gone(tmp_path: Path) -> None:
    gone = {"gaia": str(tmp_path / "gone"), "mine": "", "theirs": "hf://datasets/ORG/x", "table": str(tmp_path / "t")}
    found = mmu.cite(pairs=[match(tmp_path / "m", **gone)])
    assert keys(found) == keys(mmu.cite("gaia"))
    assert found.untold == ("mine", "theirs", "table")
    assert any("the survey of that name is cited" in words for words in found.warnings)
    assert any("theirs (hf://datasets/ORG/x) does not say what to cite" in words for words in found.warnings)
    assert not any(str(tmp_path) in words for words in found.warnings)  # they stand in the card of a match


def test_different_works_of_one_key_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    other = parse("@misc{desi_edr, title = {Something else}}", "x")
    monkeypatch.setattr("mmu.citation.papers", lambda survey, _: other if survey.name == "gaia" else papers(survey))
    found = mmu.cite("desi", "gaia")
    assert "two different works are called desi_edr" in found.warnings[0]
    assert keys(found).count("desi_edr") == 1


def test_what_cannot_be_cited_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Name what to cite: surveys"):
        mmu.cite()
    with pytest.raises(UsageError, match=r"'desj' is no survey \(desi, .*\) and no dataset"):
        mmu.cite("desj")
    with pytest.raises(UsageError, match="the known ones are: dr1_main, edr_sv3"):
        mmu.cite("desi:dr9")
    with pytest.raises(UsageError, match="holds no finished match"):
        mmu.cite(pairs=[tmp_path])
    foreign = dataset(tmp_path, "gaia", "gaia_dr3")
    (foreign / "gaia_dr3" / "_mmu" / "build.json").unlink()
    with pytest.raises(UsageError, match="was not built by mmu"):
        mmu.cite(foreign)
    with pytest.raises(LedgerError, match="'atlantis', which is not installed"):
        mmu.cite(dataset(tmp_path, "atlantis", "v1"))


def test_the_software_is_cited_as_its_citation_file_says() -> None:
    root = Path(__file__).resolve().parents[1]
    said = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    for entry, part in zip(software(), [said, *said["references"]], strict=True):
        assert re.sub("[{}]", "", entry.fields["title"]) == part["title"]
        assert re.sub("[{}]", "", entry.fields["author"]) == part["authors"][0]["name"]
    assert software()[0].fields["note"] == f"Version {mmu.__version__}"
    assert said["references"][0]["url"].endswith(software()[1].fields["eprint"])


def test_the_command_writes_files_and_warns(tmp_path: Path) -> None:
    refs, words = tmp_path / "refs.bib", tmp_path / "thanks.txt"
    done = CliRunner().invoke(app, ["cite", "desi", "gz10", "-o", str(refs), "--text", str(words)])
    assert done.exit_code == 0, done.output
    found = mmu.cite("desi", "gz10")
    assert refs.read_text() == found.bibtex
    assert words.read_text() == found.text
    assert done.stdout == ""
    assert "warning: no licence of gz10 is known" in " ".join(done.stderr.split())
    shown = CliRunner().invoke(app, ["cite", "desi", "-o", str(refs)])
    assert shown.stdout == mmu.cite("desi").text + "\n"
    assert mmu.cite("desi").bibtex in CliRunner().invoke(app, ["cite", "desi"]).stdout
