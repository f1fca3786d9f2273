"""The files of a dataset by their names in its folder, be that on this machine or at an address."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import xxhash

from mmu.errors import FormatError
from mmu.remote.addresses import Address
from mmu.remote.ranges import AbsentError, Place, Ranges, RefusedError, RemoteFile, file_system, insist
from mmu.remote.releases import names_at
from mmu.shards.parquet import checksum

_MOST_COPIED = 1 << 34
"""Bytes of a remote file from which on it is not copied here."""
_BLOCK = 1 << 23


class Tree(ABC):
    """A folder; names are relative to it, with `/`."""

    here: bool

    @abstractmethod
    def shown(self, name: str) -> str:
        """A file as the user may find it."""

    @abstractmethod
    def folders(self) -> list[str]:
        """The folders in it, in order of name; elsewhere, only those that the card names if they cannot be listed."""

    @abstractmethod
    def below(self, folder: str) -> Iterable[str]:
        """All files in a folder of it, in order of name; none where they cannot be listed."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Bytes of a file; None if there is no such file."""

    @abstractmethod
    def local(self, name: str) -> Path:
        """A small file on this machine: itself, or a copy."""

    @abstractmethod
    def place(self, name: str) -> Place:
        """Where to read a file in parts."""

    @abstractmethod
    def digest(self, name: str) -> str:
        """xxh3-128 of all bytes of a file."""


class LocalTree(Tree):
    """A folder on this machine."""

    here = True

    def __init__(self, root: Path) -> None:
        self.root = root

    def shown(self, name: str) -> str:
        return str(self.root / name)

    def folders(self) -> list[str]:
        return sorted(path.name for path in self.root.glob("*") if path.is_dir())

    def below(self, folder: str) -> Iterator[str]:
        for path in sorted((self.root / folder).rglob("*")):
            if not path.is_dir():
                yield path.relative_to(self.root).as_posix()

    def size(self, name: str) -> int | None:
        path = self.root / name
        return path.stat().st_size if path.is_file() else None

    def local(self, name: str) -> Path:
        return self.root / name

    def place(self, name: str) -> Path:
        return self.root / name

    def digest(self, name: str) -> str:
        return checksum(self.root / name)


class RemoteTree(Tree):
    """A folder at an address. Small files are fetched once; of others, sizes are asked for."""

    here = False

    def __init__(self, at: Address) -> None:
        self.at = at
        self._copy = Path(tempfile.mkdtemp(prefix="mmu-tree-"))
        weakref.finalize(self, shutil.rmtree, self._copy, ignore_errors=True)

    def shown(self, name: str) -> str:
        return f"{self.at.shown}/{name}"

    def folders(self) -> list[str]:
        return sorted(names_at(self.at))

    def below(self, folder: str) -> Iterator[str]:
        return (name for name in sorted(self._listed) if name.startswith(f"{folder}/"))

    @cached_property
    def _listed(self) -> dict[str, int]:
        """All files and their sizes; empty where they cannot be listed."""
        if not self.at.listable:
            return {}
        system, top = file_system(self.at.url), self.at.url
        found: dict[str, Any] = insist(lambda: system.find(top, detail=True), top)
        start = _path(top) + "/"
        return {_path(name).removeprefix(start): int(entry["size"]) for name, entry in found.items()}

    def size(self, name: str) -> int | None:
        if self.at.listable:
            return self._listed.get(name)
        system, url = file_system(self.at.url), f"{self.at.url}/{name}"
        try:
            return int(insist(lambda: system.info(url), url)["size"])
        except (AbsentError, RefusedError):
            return None

    def local(self, name: str) -> Path:
        path, size = self._copy / name, self.size(name)
        if path.is_file() or size is None:
            return path
        if size > _MOST_COPIED:
            raise FormatError(f"{self.shown(name)} is larger than {_MOST_COPIED:,} bytes, more than is copied.")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as copy:
            for block in self._blocks(name):
                copy.write(block)
        return path

    def _blocks(self, name: str) -> Iterator[bytes]:
        with Ranges(self.place(name)) as file:
            while block := file.read(_BLOCK):
                yield block

    def place(self, name: str) -> RemoteFile:
        return RemoteFile(f"{self.at.url}/{name}", self.size(name))

    def digest(self, name: str) -> str:
        if (self._copy / name).is_file():
            return checksum(self._copy / name)
        digest = xxhash.xxh3_128()
        for block in self._blocks(name):
            digest.update(block)
        return digest.hexdigest()


def _path(url: str) -> str:
    """An address without its scheme, as file systems name what they list."""
    return unquote(url.partition("://")[2] or url).strip("/")
