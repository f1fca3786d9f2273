"""What the licences of data ask for, and where those of several datasets do not go together: in words, not advice.

Ids are the Hub's (`license` of a card): `other` for terms of the archive's own, in words, `unknown` where none are
known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmu.survey import Survey

_CREATIVE_COMMONS = re.compile(r"cc-by(?P<parts>(-(nc|sa|nd))*)-\d\.\d")
_FREE = {"cc0-1.0", "pddl", "unlicense"}
_SHARE_ALIKE = {"odbl", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0"}
_NOTICE = {"odc-by", "mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause"}

_ASKS = {
    "by": "name the source and the licence, and say what was changed",
    "nc": "no commercial use",
    "sa": "share what is made from it under the same licence",
    "nd": "do not pass it on in changed form",
}


@dataclass(frozen=True)
class Terms:
    """A dataset's licence: its id, the archive's words, and what it asks for (keys of the list above)."""

    id: str
    words: str
    where: str
    asks: frozenset[str]

    @staticmethod
    def of(survey: Survey) -> Terms:
        return Terms(survey.licence_id, survey.licence, survey.homepage, asked(survey.licence_id))

    def __str__(self) -> str:
        sentence = self.words.rstrip(".")
        if self.asks:
            return f"{sentence}: {'; '.join(words for key, words in _ASKS.items() if key in self.asks)}."
        return f"{sentence} ({self.where})." if self.id in ("other", "unknown") else f"{sentence}."


def asked(licence: str) -> frozenset[str]:
    """What a licence asks for; nothing for a dedication to the public, and for terms that only words tell."""
    if found := _CREATIVE_COMMONS.fullmatch(licence):
        return frozenset({"by", *found["parts"].split("-")} - {""})
    if licence in _SHARE_ALIKE:
        return frozenset({"by", "sa"})
    return frozenset({"by"}) if licence in _NOTICE else frozenset()


def conflicts(terms: Mapping[str, Terms]) -> list[str]:
    """What to heed before datasets, by name, are joined and passed on; a sentence each."""
    found = []
    for name, one in terms.items():
        others = [other for other in terms if other != name]
        different = [other for other in others if terms[other].id != one.id]
        if "nc" in one.asks:
            found.append(f"{name} ({one.id}) may not be used commercially, nor what is made from it{_with(others)}.")
        if "nd" in one.asks:
            found.append(f"{name} ({one.id}) may not be passed on in changed form: no subset and no match of it.")
        if "sa" in one.asks and different:
            found.append(
                f"{name} ({one.id}) asks that what is made from it be shared under {one.id}, and {_and(different)} "
                f"{'comes' if len(different) == 1 else 'come'} under other terms: pass them on apart, or ask."
            )
        if not _known(one.id):
            found.append(f"no licence of {name} is known: ask those who made it before you pass it on ({one.where}).")
    return found


def _known(licence: str) -> bool:
    return bool(asked(licence)) or licence in _FREE or licence == "other"


def _with(others: Sequence[str]) -> str:
    return f", together with {_and(others)} or alone" if others else ""


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
