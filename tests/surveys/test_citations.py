"""Every survey's `cite.bib` and acknowledgement: well-formed, complete, and the same work the same everywhere."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from mmu.bibtex import Entry, parse
from mmu.references import RELEASES, acknowledgement, description, papers, software
from mmu.survey import get_survey, survey_names

SURVEYS = [name for name in survey_names() if name != "toy"]
REQUIRED = {
    "article": {"author", "title", "journal", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "misc": {"author", "title", "year"},
}


def entries(name: str) -> list[Entry]:
    return parse(get_survey(name).text("cite.bib"), name)


@pytest.mark.parametrize("name", SURVEYS)
def test_entries_are_complete_and_name_releases_that_there_are(name: str) -> None:
    survey = get_survey(name)
    assert entries(name)
    for entry in entries(name):
        assert entry.fields.keys() >= REQUIRED[entry.kind], entry.key
        assert {"doi", "eprint"} & entry.fields.keys(), entry.key
        assert re.fullmatch(r"10\.\d{4,5}/\S+", entry.fields.get("doi", "10.1000/x")), entry.key
        if entry.fields.get("archiveprefix") == "arXiv":
            assert re.fullmatch(r"\d{4}\.\d{4,5}", entry.fields["eprint"]), entry.key
        else:
            assert entry.fields.get("archiveprefix") == ("ascl" if "eprint" in entry.fields else None), entry.key
        named = entry.fields.get(RELEASES, "").replace(",", " ").split()
        assert set(named) <= {release.name for release in survey.releases}, entry.key
    for release in survey.releases:
        assert papers(survey, [release.name]), release.name


def test_one_work_is_the_same_entry_under_the_same_key_everywhere() -> None:
    by_key, by_work = defaultdict(set), defaultdict(set)
    for entry in [entry for name in SURVEYS for entry in papers(get_survey(name))] + software():
        by_key[entry.key].add(str(entry))
        for field in ("doi", "eprint"):
            if field in entry.fields:
                by_work[entry.fields[field].lower()].add(entry.key)
    assert {key: texts for key, texts in by_key.items() if len(texts) > 1} == {}
    assert {work: names for work, names in by_work.items() if len(names) > 1} == {}


@pytest.mark.parametrize("name", SURVEYS)
def test_another_reader_finds_the_same(name: str) -> None:
    """Pybtex reads the file, and what we write of it, to the same fields."""
    pybtex = pytest.importorskip("pybtex.database")
    ours = entries(name)
    for text in (get_survey(name).text("cite.bib"), "\n\n".join(map(str, ours))):
        theirs = pybtex.parse_string(text, "bibtex").entries
        assert list(theirs) == [entry.key for entry in ours]
        for entry in ours:
            found = {key.lower(): " ".join(value.split()) for key, value in theirs[entry.key].fields.items()}
            assert found == {key: value for key, value in entry.fields.items() if key != "author"}
            assert theirs[entry.key].type == entry.kind
            assert len(theirs[entry.key].persons["author"]) == len(re.split(r"\s+and\s+", entry.fields["author"]))


@pytest.mark.parametrize("name", SURVEYS)
def test_the_card_has_an_acknowledgement_and_says_where_it_is_from(name: str) -> None:
    survey = get_survey(name)
    assert len(acknowledgement(survey)) > 200
    assert "https://" in acknowledgement(survey)
    assert "## Acknowledgement" not in description(survey)
    assert description(survey).startswith("## What this is")
