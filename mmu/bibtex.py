"""BibTeX, as far as a `cite.bib` needs it: read strictly, merged by key, written in one form.

An entry is `@kind{key, name = {value}, ...}`; values are in braces, in quotes, or whole numbers. Between entries stand
blanks and lines that begin with %. There are no @string abbreviations, so an entry can be carried to another file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mmu.errors import FormatError

_BETWEEN = re.compile(r"(?:\s+|%[^\n]*(?:\n|$))*")
_HEAD = re.compile(r"@\s*(?P<kind>[A-Za-z]+)\s*\{\s*(?P<key>[^\s,{}\"#%=]+)\s*(?:,\s*|(?=\}))")
_NAME = re.compile(r"(?P<name>[A-Za-z][\w-]*)\s*=\s*")
_NUMBER = re.compile(r"\d+")
_END = re.compile(r"\s*,?\s*\}")
_NEXT = re.compile(r"\s*,\s*")


@dataclass(frozen=True)
class Entry:
    """One work: its kind (article, misc, ...), the key it is cited by, and its fields, named in lower case."""

    kind: str
    key: str
    fields: dict[str, str]

    def without(self, name: str) -> Entry:
        """The same work without one of its fields."""
        return replace(self, fields={key: value for key, value in self.fields.items() if key != name})

    def __str__(self) -> str:
        width = max(map(len, self.fields), default=0)
        lines = [f"  {_CASE.get(name, name):{width}} = {{{value}}}" for name, value in self.fields.items()]
        return f"@{self.kind}{{{self.key},\n" + ",\n".join(lines) + "\n}"


_CASE = {"archiveprefix": "archivePrefix", "primaryclass": "primaryClass"}


def parse(text: str, where: str) -> list[Entry]:
    """The entries of a BibTeX text.

    Raises:
        FormatError: it is not BibTeX as above, or a key or a field is there twice; `where` and the line are named.
    """
    entries: list[Entry] = []
    at = _skip(text, 0)
    while at < len(text):
        entry, at = _entry(text, at, where)
        if entry.key in {other.key for other in entries}:
            raise _wrong(text, at, where, f"the key {entry.key!r} is there twice")
        entries.append(entry)
        at = _skip(text, at)
    return entries


def merge(entries: Iterable[Entry]) -> tuple[list[Entry], list[str]]:
    """Each key once, in order of first mention, and the keys under which different works stand (the first is kept)."""
    kept: dict[str, Entry] = {}
    conflicts = [entry.key for entry in entries if kept.setdefault(entry.key, entry) != entry]
    return list(kept.values()), list(dict.fromkeys(conflicts))


def _skip(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    return found.end() if found else at


def _entry(text: str, at: int, where: str) -> tuple[Entry, int]:
    head = _HEAD.match(text, at)
    if head is None:
        raise _wrong(text, at, where, "an entry like @article{key, ...} was expected")
    fields: dict[str, str] = {}
    at = head.end()
    while not (end := _END.match(text, at)):
        if fields:
            comma = _NEXT.match(text, at)
            at = comma.end() if comma else at
        name = _NAME.match(text, at)
        if name is None or (fields and not comma):
            raise _wrong(text, at, where, "a field like name = {value}, with a comma after it, was expected")
        value, at = _value(text, name.end(), where)
        if name["name"].lower() in fields:
            raise _wrong(text, at, where, f"the field {name['name']!r} is there twice")
        fields[name["name"].lower()] = " ".join(value.split())
    return Entry(head["kind"].lower(), head["key"], fields), end.end()


def _value(text: str, at: int, where: str) -> tuple[str, int]:
    """A value in braces or quotes, whose own braces are balanced, or a number; and where it ends."""
    if number := _NUMBER.match(text, at):
        return number[0], number.end()
    closing = {"{": "}", '"': '"'}.get(text[at : at + 1])
    depth = 0
    for end in range(at + 1, len(text)) if closing else ():
        if text[end] == closing and depth == 0:
            return text[at + 1 : end], end + 1
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth < 0:
            break
    raise _wrong(text, at, where, "a value in braces or quotes, closed again, or a number was expected")


def _wrong(text: str, at: int, where: str, why: str) -> FormatError:
    return FormatError(f"{where}, line {text.count(chr(10), 0, at) + 1}: {why}.")
