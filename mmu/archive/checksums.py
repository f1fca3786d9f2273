"""Checksum lists in the forms archives publish: `sha256sum`, `sha1sum` and `md5sum` lines, `*name`, BSD lines.

Names in a list are relative to its folder, to the archive's root or to something between; they are only ever
compared with names of ours, never opened.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from mmu.errors import FormatError

TYPICAL_BYTES, MOST_BYTES, MOST_LINE = 1 << 20, 64 << 20, 4096
ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256", 96: "sha384", 128: "sha512"}
_GNU = re.compile(r"^\\?([0-9A-Fa-f]{32,128})[ \t]+\*?(\S.*)$")
_BSD = re.compile(r"^(?:MD5|SHA1|SHA256|SHA384|SHA512)\s*\((.+)\)\s*=\s*([0-9A-Fa-f]{32,128})$")

Digest = tuple[str, str]
"""Algorithm and hex digest."""


def parse(text: str) -> dict[str, Digest]:
    """Name -> digest for every line of a list; a name that is absolute or climbs with `..` is left out.

    Raises:
        FormatError: a line is not a checksum line, or two lines contradict each other.
    """
    table: dict[str, Digest] = {}
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), start=1):
        if len(line) > MOST_LINE:
            raise FormatError(f"Line {number} of the checksum list has {len(line)} characters; it cannot be used.")
        line = line.strip()
        if not line or line.startswith(("#", ";")):
            continue
        name, digest = _entry(line, number)
        if name is None:
            continue
        if table.setdefault(name, digest) != digest:
            raise FormatError(f"The checksum list gives two different digests for {name!r}; it cannot be used.")
    return table


def _entry(line: str, number: int) -> tuple[str | None, Digest]:
    if found := _GNU.match(line):
        digest, name = found.groups()
    elif found := _BSD.match(line):
        name, digest = found.groups()
    else:
        digest, name = "", ""
    if len(digest) not in ALGORITHMS:
        raise FormatError(f"Line {number} of the checksum list is not `HEX  NAME`: {line[:80]!r}.")
    return _clean(name), (ALGORITHMS[len(digest)], digest.lower())


def _clean(name: str) -> str | None:
    pieces = [piece for piece in name.strip().split("/") if piece != "."]
    if not all(pieces) or ".." in pieces or "\\" in name or "\0" in name or ":" in pieces[0]:
        return None
    return "/".join(pieces)


def expected(list_path: Path, file_path: str) -> Digest | None:
    """What a downloaded list says about a file of the archive, or None where the list does not name it.

    An entry is the file's if one of the two names ends with the other, whole folders at a time; the longest wins.

    Raises:
        FormatError: the list cannot be read.
    """
    facts = list_path.stat()
    if facts.st_size > MOST_BYTES:
        raise FormatError(
            f"The checksum list {list_path.name} has {facts.st_size} bytes, more than the {MOST_BYTES} that are read."
        )
    table = _table(list_path, facts.st_size, facts.st_mtime_ns)
    pieces = file_path.split("/")
    for first in range(len(pieces)):
        if digest := table.get("/".join(pieces[first:])):
            return digest
    longer = {digest for name, digest in table.items() if name.endswith("/" + file_path)}
    return longer.pop() if len(longer) == 1 else None


@lru_cache(maxsize=256)
def _table(list_path: Path, size: int, modified: int) -> dict[str, Digest]:
    try:
        return parse(list_path.read_text(encoding="utf-8"))
    except FormatError as problem:
        msg = f"{list_path.name}: {problem}"
        raise FormatError(msg) from problem
    except UnicodeDecodeError as problem:
        msg = f"The checksum list {list_path.name} is not text; it cannot be used."
        raise FormatError(msg) from problem
