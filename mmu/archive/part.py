"""What lies in the cache: file names we made ourselves, partial files, and the sidecars that describe them.

brick.fits.fz                 only ever a verified file
brick.fits.fz.fetched.json    what was verified: bytes, sha256, URL, ETag, source
brick.fits.fz.part            a download under way; kept over a restart
brick.fits.fz.part.json       which version of the file the part belongs to
brick.fits.fz.bad             the last copy that did not pass its checks
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from email.utils import formatdate
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from mmu.errors import UsageError

BLOCK = 1 << 20


def safe_join(root: Path, path: str) -> Path:
    """`root/path`, for a path in an archive's own notation that stays below the root under any system's rules.

    Raises:
        UsageError: the path is empty, absolute, has a drive, a backslash, a NUL, or climbs with `..`.
    """
    posix, windows = PurePosixPath(path), PureWindowsPath(path)
    climbs = any(piece in ("", ".", "..") for piece in path.split("/"))
    if climbs or posix.is_absolute() or windows.drive or windows.root or "\\" in path or not path.isprintable():
        raise UsageError(
            f"{path!r} is not a path inside an archive: it must be relative, with '/' between names and no '..'."
        )
    return root / posix


def refuse_links(root: Path, target: Path) -> None:
    """Refuse a place below `root` that a link leads away from it; `root` itself may be a link.

    Files that are links are no danger: they are replaced or refused, never written through.

    Raises:
        UsageError: a folder on the way is a link.
    """
    for folder in (*target.parents[: len(target.relative_to(root).parts) - 1], root / ".hosts"):
        if folder.is_symlink():
            raise UsageError(f"{folder} is a link to another place; remove it, so that downloads stay in {root}.")


def own_folder(folder: Path) -> Path:
    """A folder in a place that others may write to, made if need be, that is this user's alone.

    Raises:
        UsageError: something of that name is there and is not.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o022:
        raise UsageError(f"{folder} is a link, or others may write to it; remove it, or set TMPDIR to another folder.")
    return folder


def no_link(path: str, flags: int) -> int:
    """An opener that does not follow a link in the last place."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def sibling(path: Path, suffix: str) -> Path:
    """`path` with something appended to its whole name."""
    return path.with_name(path.name + suffix)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut, where the system allows it."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, content: dict[str, Any], sync: bool = True) -> None:
    """Write a small JSON file so that it is either the old one or the whole new one."""
    draft = sibling(path, ".tmp")
    if draft.is_symlink():
        draft.unlink()
    with open(draft, "w", encoding="utf-8", opener=no_link) as handle:
        json.dump(content, handle)
        if sync:
            handle.flush()
            os.fsync(handle.fileno())
    draft.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """A small JSON object, or {} where there is none that can be read."""
    try:
        with path.open("rb") as handle:
            content = json.loads(handle.read(BLOCK))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def digests(path: Path, algorithms: Iterable[str]) -> dict[str, str]:
    """Hex digests of a whole file, one pass."""
    hashers = {name: hashlib.new(name) for name in algorithms}
    with path.open("rb") as handle:
        while block := handle.read(BLOCK):
            for hasher in hashers.values():
                hasher.update(block)
    return {name: hasher.hexdigest() for name, hasher in hashers.items()}


def modified(path: Path) -> str:
    """When a local file was last changed, as an archive would say it."""
    return formatdate(path.stat().st_mtime, usegmt=True)


@dataclass(frozen=True)
class Version:
    """Which version of which file a partial download belongs to; `total` is -1 where the archive did not say."""

    url: str = ""
    etag: str = ""
    modified: str = ""
    total: int = -1

    @property
    def validator(self) -> str:
        """What `If-Range` may carry: a strong ETag, else the date; "" if a resumed download could mix versions."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def differs(self, other: Version) -> bool:
        """True if two answers speak of different versions.

        Equal ETags settle it. Otherwise dates count before ETags, which differ between the machines of some archives.
        """
        if self.etag and self.etag == other.etag:
            return False
        if -1 not in (self.total, other.total) and self.total != other.total:
            return True
        if self.modified and other.modified:
            return self.modified != other.modified
        return bool(self.etag and other.etag)


class Hashing:
    """Digests of bytes as they come, one block behind on a thread: hashing costs a fast download no time."""

    def __init__(self, algorithms: Iterable[str]) -> None:
        self._hashers = {name: hashlib.new(name) for name in algorithms}
        self._thread = ThreadPoolExecutor(1)
        self._behind: Future[None] | None = None

    def update(self, block: bytes) -> None:
        """Take a block; the one before it is done when this returns."""
        self._catch_up()
        self._behind = self._thread.submit(self._update, block)

    def _update(self, block: bytes) -> None:
        for hasher in self._hashers.values():
            hasher.update(block)

    def _catch_up(self) -> None:
        if self._behind is not None:
            self._behind.result()

    def digests(self) -> dict[str, str]:
        """Hex digest of all that came, by algorithm."""
        self._catch_up()
        return {name: hasher.hexdigest() for name, hasher in self._hashers.items()}


class Part:
    """A partial file that is hashed while it grows, and can be taken up again after a kill."""

    def __init__(self, path: Path, url: str, algorithms: Iterable[str] = ("sha256",)) -> None:
        self.path, self.url = path, url
        self.algorithms = tuple(sorted({"sha256", *algorithms}))
        self._open: IO[bytes] | None = None
        self._adopt()

    def _adopt(self) -> None:
        """Take up what an earlier run left, if it is known to be the start of this very file."""
        known = read_json(sibling(self.path, ".json"))
        fields = {name: known[name] for name in Version.__dataclass_fields__ if name in known}
        self.version = Version(**fields)
        if self.version.url != self.url or self.path.is_symlink() or not self.path.is_file():
            self.restart()
            return
        self._hashing = Hashing(self.algorithms)
        self.size = 0
        with self.path.open("rb") as handle:
            while block := handle.read(BLOCK):
                self._count(block)
        if 0 <= self.version.total < self.size:
            self.restart()

    def restart(self) -> None:
        """Forget everything: the next byte is the first."""
        self.close()
        sibling(self.path, ".json").unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self.version, self.size = Version(url=self.url), 0
        self._hashing = Hashing(self.algorithms)

    def begin(self, version: Version) -> None:
        """Bytes of this version follow; said on disk before the first of them is."""
        if version != self.version or self.size == 0:
            write_json(sibling(self.path, ".json"), asdict(version))
        self.version = version
        self.close()
        self._open = os.fdopen(no_link(str(self.path), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC), "ab")

    def write(self, block: bytes) -> None:
        """Append."""
        assert self._open is not None, "begin() comes first"
        self._open.write(block)
        self._count(block)

    def _count(self, block: bytes) -> None:
        self.size += len(block)
        self._hashing.update(block)

    @property
    def complete(self) -> bool:
        """True where the length is known and reached."""
        return self.size == self.version.total

    def digests(self) -> dict[str, str]:
        """Hex digest of everything written so far, by algorithm."""
        return self._hashing.digests()

    def close(self) -> None:
        """Close the file; what was written stays."""
        if self._open is not None:
            self._open.close()
            self._open = None
