"""How to cite what was used: papers as BibTeX, acknowledgements, licences; for surveys, datasets and matches.

A dataset names its survey and release in its ledger (`_mmu/build.json`), a match its datasets (`_mmu/match.json`).
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmu.bibtex import Entry, merge
from mmu.errors import LedgerError, MmuError, UsageError
from mmu.licences import Terms, conflicts
from mmu.references import acknowledgement, papers, software
from mmu.survey import Survey, get_survey, survey_names

if TYPE_CHECKING:
    from mmu.dataset import Dataset

_MATCH = ("", "association", "pairs")
_WIDTH = 100


@dataclass(frozen=True)
class Used:
    """A survey that was used. No release named means all of them."""

    survey: Survey
    releases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Citation:
    """What to cite and to say.

    Attributes:
        used: the surveys, each once.
        entries: their papers, and those of this software, each key once.
        warnings: licences that do not go together or are not known, datasets that could not be told; a sentence each.
        untold: names of a match's datasets that do not say what they are.
        simulated: surveys with the releases of which a dataset holds objects that were never observed.
    """

    used: tuple[Used, ...]
    entries: tuple[Entry, ...]
    warnings: tuple[str, ...]
    untold: tuple[str, ...] = ()
    simulated: tuple[str, ...] = ()

    @property
    def bibtex(self) -> str:
        """The contents of a .bib file."""
        return "\n\n".join(str(entry) for entry in self.entries) + "\n"

    @property
    def text(self) -> str:
        """Acknowledgements and licences, ready to paste, with the keys of the papers to cite."""
        own = ", ".join(entry.key for entry in software())
        parts = [_paragraphs(one) for one in self.used] + [f"This software. Cite: {own}."]
        if self.warnings:
            parts.append("\n".join(["Heed:", *(_wrapped(f"- {words}", "  ") for words in self.warnings)]))
        return "\n\n".join(parts) + "\n"

    def __str__(self) -> str:
        return f"{self.bibtex}\n{self.text}"


@dataclass
class _Found:
    """What the names came to."""

    releases: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)
    simulated: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def add(self, survey: str, releases: Iterable[str] = ()) -> None:
        """A survey with some of its releases; none means all, and then it stays so."""
        names = list(releases)
        known = self.releases.setdefault(survey, names)
        self.releases[survey] = list(dict.fromkeys([*known, *names])) if known and names else []


def cite(*names: str | Path, pairs: Sequence[str | Path] = ()) -> Citation:
    """What to cite for surveys (`desi`, `desi:edr_sv3`), built datasets and matches; this software is always among it.

    Args:
        names: surveys, folders of datasets or matches, or whatever else `mmu.open` opens, as `ORG/NAME` on the Hub.
        pairs: folders that must be matches; all their datasets are cited.

    Raises:
        UsageError: nothing is named; a name is neither; a folder of `pairs` holds no match.
        LedgerError: a ledger cannot be read, or names a survey that is not installed.
        FormatError: a survey's `cite.bib` is not BibTeX.
    """
    if not (names or pairs):
        raise UsageError(f"Name what to cite: surveys ({', '.join(survey_names())}), or folders of datasets.")
    found = _Found()
    for folder in pairs:
        members = _members(Path(folder).expanduser())
        if members is None:
            raise UsageError(f"{folder} holds no finished match; `mmu crossmatch A B --out {folder}` makes one.")
        _add_members(found, str(Path(folder).resolve()), members)
    for name in names:
        _add(found, str(name))
    used = tuple(Used(get_survey(name), tuple(releases)) for name, releases in found.releases.items())
    entries, twice = merge(
        [entry for one in used for entry in papers(one.survey, one.releases)] + software(),
    )
    found.warnings += [
        f"two different works are called {key}; the first is kept, the other is left out." for key in twice
    ]
    simulated = tuple(dict.fromkeys(found.simulated))
    found.warnings += [f"{what} is made from the simulated sky here: these are not observations." for what in simulated]
    found.warnings += conflicts({one.survey.name: Terms.of(one.survey) for one in used})
    return Citation(used, tuple(entries), tuple(dict.fromkeys(found.warnings)), tuple(found.untold), simulated)


def _add(found: _Found, name: str) -> None:
    """Add what a name stands for: a folder before a survey of that name, before anything else that can be opened."""
    folder = Path(name).expanduser()
    if folder.is_dir() and (members := _members(folder)) is not None:
        _add_members(found, str(folder.resolve()), members)
    elif folder.is_dir() and (builds := _builds(folder)):
        _add_builds(found, name, builds)
    elif (survey := name.partition(":"))[0] in survey_names():
        found.add(survey[0], [get_survey(survey[0]).release(survey[2]).name] if survey[2] else [])
    else:
        data = _opened(name)
        named = ":" in name.rpartition("://")[2]
        for one in [data] if named else [data.sibling(release) for release in data.releases]:
            _add_dataset(found, one)


def _opened(name: str) -> Dataset:
    from mmu.opening import open as open_dataset

    if not name:
        raise UsageError("A table in memory does not say what to cite.")
    try:
        return open_dataset(name)
    except UsageError as problem:
        msg = f"{name!r} is no survey ({', '.join(survey_names())}) and no dataset to be cited. {problem}"
        raise UsageError(msg) from problem


def _add_dataset(found: _Found, data: Dataset) -> None:
    """Add one release, or the result of a match, by what its account says; it may be on the Hub or elsewhere."""
    account = data.account
    if account is None:
        raise UsageError(f"{data.address} was not built by mmu and does not say what to cite: cite as its source asks.")
    if "members" in account:
        _add_members(found, data.address, _named(account, data.address))
    else:
        _add_builds(found, data.address, [account])


def _members(folder: Path) -> list[dict[str, str]] | None:
    """The datasets of a match; None if the folder holds none."""
    for path in (folder / part / "_mmu" / "match.json" for part in _MATCH):
        if path.is_file():
            return _named(_json(path), str(path))
    return None


def _named(account: Mapping[str, Any], where: str) -> list[dict[str, str]]:
    """Name and address of each dataset of a match."""
    try:
        return [{"name": str(one["name"]), "address": str(one["address"])} for one in account["members"]]
    except (LookupError, TypeError) as problem:
        raise LedgerError(f"{where} does not name the datasets of a match; make it anew.") from problem


def _builds(folder: Path) -> list[dict[str, Any]]:
    """The ledgers of a release's folder, of its collection, or of the releases in a survey's folder."""
    own = folder.with_name(folder.name.removesuffix("_collection"))
    if (own / "_mmu" / "build.json").is_file():
        return [_json(own / "_mmu" / "build.json")]
    return [_json(path) for path in sorted(folder.glob("*/_mmu/build.json"))]


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise LedgerError(f"{path} cannot be read ({problem}).") from problem
    return value if isinstance(value, dict) else {}


def _add_builds(found: _Found, name: str, builds: list[dict[str, Any]]) -> None:
    for build in builds:
        if not {"survey", "release"} <= build.keys():
            raise LedgerError(f"The ledger of {name} does not name a survey and a release; build the dataset anew.")
        if build["survey"] not in survey_names():
            raise LedgerError(f"{name} was built from the survey {build['survey']!r}, which is not installed here.")
        found.add(build["survey"], [build["release"]])
        if str(build.get("spec", {}).get("source", "")).startswith("simulated"):
            found.simulated.append(f"{build['survey']} {build['release']}")


def _add_members(found: _Found, where: str, members: list[dict[str, str]]) -> None:
    """Every dataset of a match; one that is not there any more is taken for the survey of its name."""
    if where in found.seen:
        return
    found.seen.add(where)
    for member in members:
        name, address = member["name"], member["address"]
        try:
            _add_dataset(found, _opened(address))
        except MmuError:
            if name in survey_names():
                found.add(name)
                found.warnings.append(f"{name} is not where it was when matched: the survey of that name is cited.")
            else:
                found.untold.append(name)
                where = f" ({address})" if "://" in address else ""
                found.warnings.append(f"{name}{where} does not say what to cite: cite it as its source asks.")


def _paragraphs(one: Used) -> str:
    survey = one.survey
    keys = ", ".join(entry.key for entry in papers(survey, one.releases))
    head = f"{survey.title} ({', '.join((survey.name, *one.releases))}). Cite: {keys}. Licence: {Terms.of(survey)}"
    thanks = acknowledgement(survey) or f"No text is known: see {survey.homepage}."
    return "\n\n".join(_wrapped(text) for text in [head, *thanks.split("\n\n")])


def _wrapped(text: str, indent: str = "") -> str:
    words = " ".join(text.split())
    return textwrap.fill(words, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
