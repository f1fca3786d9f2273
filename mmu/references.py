"""What is to be cited, and said in thanks, for a survey and for this software: from the texts beside the code."""

from __future__ import annotations

import logging
from collections.abc import Collection
from importlib.resources import files as resource_files

from mmu.bibtex import Entry, merge, parse
from mmu.errors import FormatError
from mmu.survey import Survey

log = logging.getLogger("mmu")

RELEASES = "releases"
"""Field of an entry of a survey's `cite.bib`: the releases whose paper it is. Without it, it is for all of them."""


def papers(survey: Survey, releases: Collection[str] = ()) -> list[Entry]:
    """The works to cite for these releases of a survey; for all of its releases if none is named.

    Raises:
        FormatError: its `cite.bib` is not BibTeX.
    """
    entries = parse(survey.text("cite.bib"), f"surveys/{survey.name}/cite.bib")
    kept = [entry for entry in entries if not releases or not _own(entry) or set(releases) & set(_own(entry))]
    return [entry.without(RELEASES) for entry in kept]


def acknowledgement(survey: Survey) -> str:
    """The text under `## Acknowledgement` of the survey's card; empty if there is none."""
    return _parted(survey)[1]


def description(survey: Survey) -> str:
    """The survey's card without its acknowledgement."""
    return _parted(survey)[0]


def _parted(survey: Survey) -> tuple[str, str]:
    before, _, below = ("\n" + survey.text("card.md")).partition("\n## Acknowledgement\n")
    thanks, heading, after = below.partition("\n## ")
    return (before + heading + after).strip(), thanks.strip()


def software() -> list[Entry]:
    """This software, in its version, and the paper of the collection that it builds."""
    from mmu import __version__

    text = resource_files("mmu").joinpath("cite.bib").read_text(encoding="utf-8")
    builder, *others = parse(text, "mmu/cite.bib")
    return [Entry(builder.kind, builder.key, {**builder.fields, "note": f"Version {__version__}"}), *others]


def bibtex(survey: Survey, releases: Collection[str] = ()) -> str:
    """The papers of these releases, and this software's; a survey's own text where it cannot be read as BibTeX."""
    try:
        entries, _ = merge([*papers(survey, releases), *software()])
    except FormatError as problem:
        log.warning("%s", problem)
        return survey.text("cite.bib").strip()
    return "\n\n".join(str(entry) for entry in entries)


def _own(entry: Entry) -> list[str]:
    return entry.fields.get(RELEASES, "").replace(",", " ").split()
