"""Tar streams of a cutout service, taken apart member by member and compared with what was asked for.

A stream that breaks off still gives every member that came whole. Names in it are only ever compared with names of
ours, never opened; only plain files count, each of a bounded size.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from mmu.errors import FormatError

_SOME = 3


class MissingMembersError(FormatError):
    """A stream lacks members that were asked for; `missing` names them, to be asked for again."""

    def __init__(self, text: str, missing: tuple[str, ...]) -> None:
        super().__init__(text)
        self.missing = missing


def plain_name(wire: str) -> str:
    """A member's name without a leading `./`."""
    return wire.removeprefix("./")


def members(
    path: Path, expected: Collection[str], most_bytes: int, name_of: Callable[[str], str | None] = plain_name
) -> Iterator[tuple[str, bytes]]:
    """The members asked for that came whole, in the stream's order: (our name, content).

    Args:
        expected: the names asked for.
        most_bytes: how large one member may be.
        name_of: which of our names a name in the stream stands for; None for one to be passed over.

    Raises:
        MissingMembersError: at the end, once all that came whole were given: the stream was cut, or lacks some.
        FormatError: a member that was not asked for, one that comes twice, is no plain file or is too large.
    """
    left, why = dict.fromkeys(expected), "they are not in it"
    try:
        with tarfile.open(path, "r:") as stream:
            while (member := stream.next()) is not None:
                name = name_of(member.name)
                if member.isdir() or name is None:
                    continue
                _refuse(path, member, name, left, expected, most_bytes)
                content = stream.extractfile(member)
                data = content.read(member.size + 1) if content is not None else b""
                if len(data) != member.size:
                    why = f"it is cut in the middle of {name!r}"
                    break
                del left[name]
                yield name, data
    except (tarfile.TarError, EOFError) as problem:
        why = f"it is cut or damaged ({problem})"
    if left:
        raise MissingMembersError(
            f"{path.name} lacks {len(left)} of the {len(expected)} members asked for ({_few(left)}): {why}; ask for "
            "those again.",
            tuple(left),
        )


def _refuse(
    path: Path, member: tarfile.TarInfo, name: str, left: Collection[str], expected: Collection[str], most_bytes: int
) -> None:
    if not member.isreg() or member.issparse():
        raise FormatError(f"{path.name}: {member.name!r} is no plain file; the stream is refused.")
    if name not in expected:
        raise FormatError(f"{path.name} holds {member.name!r}, which was not asked for; the stream is refused.")
    if name not in left:
        raise FormatError(f"{path.name} holds {name!r} more than once; the stream is refused.")
    if member.size > most_bytes:
        raise FormatError(f"{path.name}: {name!r} declares {member.size} bytes, at most {most_bytes} are allowed.")


def _few(names: Collection[str]) -> str:
    some = ", ".join(map(repr, list(names)[:_SOME]))
    return some if len(names) <= _SOME else f"{some}, ..."
