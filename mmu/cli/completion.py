"""What a shell is offered to complete a word with. Nothing heavy is imported: a person waits for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import typer


def choices(*words: str) -> Callable[[str], list[str]]:
    """Completion by fixed words."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def surveys(incomplete: str) -> Iterator[str]:
    """The surveys of this installation."""
    from mmu.survey import survey_names

    return (name for name in survey_names() if name.startswith(incomplete))


def releases(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """The releases of the survey that the command line names, with their titles; of all if it names none.

    While an option lacks its value, the parser has not yet told arguments from one another.
    """
    from mmu.survey import get_survey, survey_names

    named = [name for name in survey_names() if name in (ctx.params.get("survey"), *ctx.args)]
    for name in named or survey_names():
        survey = get_survey(name)
        yield from ((one.name, one.title) for one in survey.releases if one.name.startswith(incomplete))


def datasets(ctx: typer.Context, incomplete: str) -> list[str]:
    """Datasets as `NAME` and `NAME:RELEASE`, under `--data` or MMU_DATA.

    Bash takes a colon for a word of its own: what it asks for then is the word after `NAME` and `:`.
    """
    folder = ctx.params.get("data") or os.environ.get("MMU_DATA")
    given = [str(word) for word in ctx.params.get("datasets") or ()]
    if not folder:
        return []
    found = _datasets(Path(folder))
    if incomplete == ":" and given:
        return [f":{release}" for release in found.get(given[-1], ())]
    if given and given[-1] == ":":
        return [one for one in found.get(given[-2] if len(given) > 1 else "", ()) if one.startswith(incomplete)]
    addresses = [*found, *(f"{name}:{one}" for name, several in found.items() if len(several) > 1 for one in several)]
    name, colon, _ = incomplete.partition(":")
    if colon:
        addresses = [f"{name}:{one}" for one in found.get(name, ())]
    return [address for address in sorted(addresses) if address.startswith(incomplete)]


def _datasets(folder: Path) -> dict[str, list[str]]:
    """Name -> releases of the datasets in a folder: those of its folders that hold a release each."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*/*/hats.properties")):
        if not path.parent.name.endswith("_margin"):
            found.setdefault(path.parts[-3], []).append(path.parts[-2])
    return found
