"""What of a dataset's folder belongs to the dataset: just what its accounts list, the card, and what the card shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmu.errors import UsageError

CARD = "README.md"
EXTRAS = ("croissant.json", "match.png", "pictures")
"""Files and folders beside the card that go with it, where they are."""
_PARTS = ("{}", "{}_margin", "{}_collection", "hdf5/{}")
"""The folders of a release."""
_ACCOUNTS = ("build.json", "match.json")


@dataclass(frozen=True)
class Item:
    """A file that goes: its name in the dataset, where it is, and its size; -1 if it is not there."""

    name: str
    path: Path
    bytes: int

    @classmethod
    def at(cls, name: str, path: Path) -> Item:
        return cls(name, path, path.stat().st_size if path.is_file() else -1)

    @property
    def is_data(self) -> bool:
        """True for shards and HDF5 files; the others say what there is, and go when all of those are there."""
        return ("/dataset/" in self.name and self.name.endswith(".parquet")) or self.name.startswith("hdf5/")


@dataclass(frozen=True)
class Contents:
    """A dataset's files, in order of name; its releases; and what is left out: name -> why."""

    items: tuple[Item, ...]
    releases: tuple[str, ...]
    skipped: dict[str, str]

    def owns(self, name: str) -> bool:
        """True for names within the folders of these releases: what is not among the files is of an earlier state."""
        return any(name.startswith(f"{part.format(one)}/") for one in self.releases for part in _PARTS)


def contents_of(root: Path) -> Contents:
    """What is to go of a dataset's folder.

    Raises:
        UsageError: it holds no finished dataset.
    """
    if not root.is_dir():
        raise UsageError(f"There is no folder {root}; give that of a dataset, OUT/SURVEY or the --out of a match.")
    releases = [path.name for path in sorted(root.iterdir()) if _account(path) is not None]
    if not releases:
        whole = f"; give the whole dataset, {root.parent}" if _account(root) is not None else ""
        raise UsageError(f"{root} holds no finished dataset of mmu{whole or '; `mmu status` says what it is'}.")
    if not (root / CARD).is_file():
        raise UsageError(f"{root / CARD} (the dataset card) is missing; run the build again, which writes it.")
    names = {CARD, *(name for release in releases for name in _listed(root, release)), *_extras(root)}
    items = tuple(Item.at(name, root / name) for name in sorted(names))
    return Contents(items, tuple(releases), dict(_left_out(root, {name.split("/")[0] for name in names})))


def _account(folder: Path) -> Path | None:
    """The account of a finished release or match."""
    return next((path for name in _ACCOUNTS if (path := folder / "_mmu" / name).is_file()), None)


def _listed(root: Path, release: str) -> Iterator[str]:
    """The files of a release: those beside the shards that the account names, the shards, the account itself."""
    from mmu.dataset import Dataset

    account = _account(root / release)
    assert account is not None
    facts = json.loads(account.read_text(encoding="utf-8"))
    prefix = f"{release}/" if account.name == "match.json" else ""
    yield from (f"{prefix}{name}" for name in facts["files"])
    yield from (f"{release}/_mmu/{name}" for name in (account.name, *facts.get("ledger", ())))
    dataset = Dataset(root / release)
    yield from (f"{release}/dataset/{leaf.path}" for leaf in dataset.partitions)


def _extras(root: Path) -> Iterator[str]:
    for name in EXTRAS:
        path = root / name
        found = [path] if path.is_file() else sorted(path.rglob("*"))
        yield from (one.relative_to(root).as_posix() for one in found if one.is_file() and not _why(one.name))


def _left_out(root: Path, taken: set[str]) -> Iterator[tuple[str, str]]:
    for path in sorted(root.iterdir()):
        if path.name not in taken:
            yield path.name, _why(path.name) or "not of the dataset"


def _why(name: str) -> str:
    """Why a file or folder of such a name never goes; "" for others."""
    if name.endswith(".lock"):
        return "a lock"
    if name.startswith(".building-") or name in (".matching", ".pairing"):
        return "unfinished work"
    if name.endswith((".tmp", ".part")):
        return "a temporary file"
    return "raw files" if name == ".cache" else "hidden" if name.startswith(".") else ""
