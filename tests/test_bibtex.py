"""BibTeX as `cite.bib` files have it: what is read, what is refused and where, how duplicates merge."""

from __future__ import annotations

import pytest

from mmu.bibtex import Entry, merge, parse
from mmu.errors import FormatError

TEXT = """% a comment
@Article{key2024,
  Author = {{Group} and {\\v{Z}}an, A.},
  title  = "Quoted {"}inside{"} braces",
  year   = 2024,
  note   = {over
            two lines},
}

@misc{empty}
"""


def test_entries_are_read_whatever_their_form() -> None:
    first, empty = parse(TEXT, "x.bib")
    assert (first.kind, first.key) == ("article", "key2024")
    assert first.fields == {
        "author": "{Group} and {\\v{Z}}an, A.",
        "title": 'Quoted {"}inside{"} braces',
        "year": "2024",
        "note": "over two lines",
    }
    assert empty == Entry("misc", "empty", {})
    assert parse("", "x.bib") == []


def test_what_is_written_is_read_again_the_same() -> None:
    entries = parse(TEXT, "x.bib")
    assert parse("\n\n".join(map(str, entries)), "y.bib") == entries


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("words\n@misc{a}", 1, "an entry like"),
        ("@misc{a}\n@misc{b", 2, "an entry like"),
        ("@misc{a,\n title = {open", 2, "closed again"),
        ("@misc{a,\n title = {one} year = {2}}", 2, "a comma after it"),
        ("@misc{a,\n title = bare}", 2, "in braces or quotes"),
        ("@misc{a,\n title = {x},\n title = {y}}", 3, "'title' is there twice"),
        ("@misc{a}\n\n@misc{a}", 3, "'a' is there twice"),
        ('@misc{a,\n title = "}{"}', 2, "closed again"),
    ],
)
def test_what_is_not_bibtex_is_told_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(FormatError, match=rf"x\.bib, line {line}: .*{words}"):
        parse(text, "x.bib")


def test_duplicates_merge_and_different_works_of_one_key_are_told() -> None:
    one, same = parse("@misc{a, title = {T}}", "x")[0], parse('@Misc{a,\n title = "T"\n}', "y")[0]
    other, more = parse("@misc{a, title = {Other}} @misc{b, title = {B}}", "z")
    assert merge([one, same, more]) == ([one, more], [])
    assert merge([one, other, more, other]) == ([one, more], ["a"])
