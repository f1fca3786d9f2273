"""What licences ask for, and which do not go together."""

from __future__ import annotations

import pytest

from mmu.licences import Terms, asked, conflicts


def terms(licence: str) -> Terms:
    return Terms(licence, f"{licence}, in words", "https://example.org/terms", asked(licence))


@pytest.mark.parametrize(
    ("licence", "parts"),
    [
        ("cc-by-4.0", {"by"}),
        ("cc-by-nc-4.0", {"by", "nc"}),
        ("cc-by-sa-3.0", {"by", "sa"}),
        ("cc-by-nc-sa-4.0", {"by", "nc", "sa"}),
        ("cc-by-nc-nd-4.0", {"by", "nc", "nd"}),
        ("odbl", {"by", "sa"}),
        ("mit", {"by"}),
        ("cc0-1.0", set()),
        ("other", set()),
        ("unknown", set()),
    ],
)
def test_what_a_licence_asks(licence: str, parts: set[str]) -> None:
    assert asked(licence) == parts


@pytest.mark.parametrize(
    ("licences", "said"),
    [
        (("cc-by-4.0", "cc-by-4.0"), []),
        (("cc-by-4.0", "other", "cc0-1.0", "mit"), []),
        (("cc-by-nc-4.0", "cc-by-4.0"), ["d0 (cc-by-nc-4.0) may not be used commercially"]),
        (("cc-by-sa-4.0", "cc-by-sa-4.0"), []),
        (("cc-by-sa-4.0", "cc-by-4.0", "other"), ["d1 and d2 come under other terms"]),
        (("cc-by-sa-4.0", "odbl"), ["shared under cc-by-sa-4.0, and d1 comes", "shared under odbl, and d0 comes"]),
        (("cc-by-nd-4.0",), ["d0 (cc-by-nd-4.0) may not be passed on in changed form"]),
        (("unknown", "cc-by-4.0"), ["no licence of d0 is known", "https://example.org/terms"]),
        (("something-new",), ["no licence of d0 is known"]),
    ],
)
def test_conflicts_are_told_in_words(licences: tuple[str, ...], said: list[str]) -> None:
    found = conflicts({f"d{number}": terms(licence) for number, licence in enumerate(licences)})
    assert bool(found) == bool(said)
    for words in said:
        assert any(words in sentence for sentence in found), found


def test_terms_say_what_to_do() -> None:
    assert str(terms("cc-by-sa-4.0")).endswith(
        "name the source and the licence, and say what was changed; share what is made from it under the same licence."
    )
    assert str(terms("other")) == "other, in words (https://example.org/terms)."
