"""Publish a dataset: its folder, or that of a match, becomes a dataset repository on the Hub.

First comes everything that can be known here: is the dataset whole, does the Hub take it, what does it have already.
Then shards are sent; the card and the catalogue's own files follow when all shards are there, in one commit with the
removal of what no longer belongs. So a new card never promises what is not there yet.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmu.build.progress import human_bytes
from mmu.build.verify import verify
from mmu.errors import UsageError
from mmu.hub.card import on_the_hub
from mmu.hub.contents import CARD, Contents, Item, contents_of
from mmu.hub.limits import check_limits
from mmu.hub.repository import HubError, Repository, Stored
from mmu.remote.addresses import repository_of

log = logging.getLogger("mmu")
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Plan:
    """What a publication does.

    Attributes:
        send: files that the Hub does not have as they are; same: those that it has.
        gone: names that it has of an earlier state.
        skipped: what is left of the folder: name -> why.
        private: the repository will be, or is.
        fresh: there is no such repository yet, or none that may be seen.
        notes: what else one should know, in sentences.
    """

    repo: str
    url: str
    send: tuple[Item, ...]
    same: tuple[Item, ...]
    gone: tuple[str, ...]
    skipped: dict[str, str]
    private: bool
    fresh: bool
    notes: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes to send."""
        return sum(item.bytes for item in self.send)

    @property
    def nothing(self) -> bool:
        return not self.send and not self.gone

    def describe(self) -> str:
        """What goes and what does not, a line each."""
        kind = "private" if self.private else "public"
        made = f"a new {kind} dataset" if self.fresh else f"{kind}, exists"
        lines = [f"{self.repo} ({made}): {self.url}"]
        for what, items in (("to send", self.send), ("there already", self.same)):
            lines.append(f"{what}: {len(items):,} files, {human_bytes(sum(item.bytes for item in items))}")
        lines += [f"  {folder}: {count:,} files, {human_bytes(size)}" for folder, count, size in _by_folder(self.send)]
        lines += [f"to remove there: {len(self.gone):,} files of an earlier state"] if self.gone else []
        lines += [f"left out: {name} ({why})" for name, why in self.skipped.items()]
        return "\n".join([*lines, *self.notes])


def _by_folder(items: Iterable[Item]) -> Iterator[tuple[str, int, int]]:
    folders: dict[str, list[Item]] = {}
    for item in items:
        folders.setdefault(item.name.split("/")[0], []).append(item)
    for folder, inside in folders.items():
        yield folder, len(inside), sum(item.bytes for item in inside)


def publish(
    root: Path | str,
    repo: str,
    *,
    public: bool = False,
    revision: str | None = None,
    message: str | None = None,
    check: bool = True,
    dry_run: bool = False,
    quiet: bool = False,
) -> Plan:
    """Publish a dataset on the Hub, or what of it changed since; run again after an interruption, it goes on.

    Args:
        root: a dataset's folder, OUT/SURVEY, or the --out of a match.
        repo: ORG/NAME; made if it does not exist.
        public: everybody may read it. By default it is made private, and one that is public is refused.
        revision: a branch, made if it does not exist; "main" by default.
        message: of the commits.
        check: read every byte and hold it against the ledger first; else only counts, sizes and small files.
        dry_run: say what would be done, and write nothing, neither there nor here.
        quiet: show no progress.

    Returns:
        What was done, or with `dry_run` would be.

    Raises:
        UsageError: the dataset is not whole, the Hub would not take it, or the token may not write there.
        HubError: the Hub refused on the way, or has not what was sent.
        DownloadError: the connection was lost.
    """
    root, say = Path(root).expanduser().resolve(), log.debug if quiet else log.info
    store = Repository(repository_of(repo), revision)
    say("checking %s", root)
    contents = contents_of(root)
    if not dry_run:
        _whole(root, check=False)  # else a card that was edited would be written anew, and nobody told
        dress(root)
        contents = contents_of(root)
    _whole(root, check)
    check_limits(contents.items)
    with _for_the_hub(contents, root, store.name) as items:
        if not dry_run:
            store.user()
        say("comparing %d files with %s", len(items), store.url)
        plan = _planned(store, contents, items, public)
        if not dry_run and not plan.nothing:
            say("sending %d files, %s", len(plan.send), human_bytes(plan.bytes))
            store.create(private=plan.private)
            with store.progress(quiet):
                _send(store, plan, message or f"Publish {', '.join(contents.releases)}")
    return plan


def dress(root: Path) -> None:
    """Draw the pictures and write the files that the card shows; a survey that is not installed keeps its card."""
    from mmu.shards import dress as dressing

    try:
        dressing.dress(root)
    except UsageError as problem:
        log.info("published as it is: %s", problem)


def _whole(root: Path, check: bool) -> None:
    """Refuse what `mmu verify` finds wanting."""
    problems = [problem for verdict in verify(root, deep=check) for problem in verdict.problems]
    if problems:
        more = f" ({len(problems) - 1} more problems: `mmu verify {root}`)" if problems[1:] else ""
        raise UsageError(f"Not published, as the dataset is not whole: {problems[0]}{more}")


@contextmanager
def _for_the_hub(contents: Contents, root: Path, repo: str) -> Iterator[list[Item]]:
    """The items, with the card as it stands on the Hub."""
    with tempfile.TemporaryDirectory(prefix="mmu-card-") as folder:
        card = Path(folder, CARD)
        card.write_text(on_the_hub((root / CARD).read_text(encoding="utf-8"), repo), encoding="utf-8")
        yield [Item.at(CARD, card) if item.name == CARD else item for item in contents.items]


def _planned(store: Repository, contents: Contents, items: list[Item], public: bool) -> Plan:
    private = store.private
    if private is False and not public:
        raise UsageError(f"{store.name} is public: give --public to publish there, or another --repo.")
    there = {} if private is None else store.files()
    names = {item.name for item in items}
    gone = sorted(name for name in there if contents.owns(name) and name not in names)
    check_limits(items, there.keys() - set(gone))
    candidates = [item for item in items if item.name in there and there[item.name].size == item.bytes]
    with ThreadPoolExecutor() as pool:
        equal = pool.map(lambda item: _is(item, there[item.name]), candidates)
        same = {item for item, known in zip(candidates, equal, strict=True) if known}
    notes = [*_partial(contents), *_others(contents, there)]
    if private and public:
        notes.append(f"{store.name} is private and stays so; its settings on the Hub make it public.")
    return Plan(
        store.name,
        store.url,
        tuple(item for item in items if item not in same),
        tuple(item for item in items if item in same),
        tuple(gone),
        contents.skipped,
        not public if private is None else private,
        private is None,
        tuple(notes),
    )


def _is(item: Item, stored: Stored) -> bool:
    """Has the Hub this very file?"""
    if stored.sha256:
        return _digest(item.path, hashlib.sha256()) == stored.sha256
    git = hashlib.sha1(b"blob %d\0" % item.bytes, usedforsecurity=False)
    return _digest(item.path, git) == stored.git


def _digest(path: Path, digest: hashlib._Hash) -> str:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _partial(contents: Contents) -> Iterator[str]:
    """Releases some of whose objects failed: their cards say so too."""
    for item in contents.items:
        if item.name.endswith("/_mmu/build.json"):
            failed = sum(json.loads(item.path.read_text(encoding="utf-8"))["counts"]["failed"].values())
            if failed:
                yield f"{item.name.split('/')[0]} is partial: {failed:,} objects failed, as its card says."


def _others(contents: Contents, there: Iterable[str]) -> Iterator[str]:
    found = {match[1] for name in there if (match := re.fullmatch(r"([^/]+)/_mmu/(?:build|match)\.json", name))}
    for name in sorted(found - set(contents.releases)):
        yield f"{name} is there and not here: it stays, and the card no longer names it."


def _send(store: Repository, plan: Plan, message: str) -> None:
    shards = [item for item in plan.send if item.is_data]
    rest = [item for item in plan.send if not item.is_data]
    if shards:
        with _staged(shards) as folder:
            store.upload(folder, message)
    if rest or plan.gone:
        store.commit(rest, plan.gone, message)
    there = store.files()
    lacking = [item.name for item in (*plan.send, *plan.same) if _unlike(item, there.get(item.name))]
    if lacking:
        raise HubError(
            f"{lacking[0]} ({len(lacking)} files in all) is not on the Hub as it is here; run the same command again."
        )


def _unlike(item: Item, stored: Stored | None) -> bool:
    return stored is None or stored.size != item.bytes


@contextmanager
def _staged(items: Iterable[Item]) -> Iterator[Path]:
    """A folder of links to just these files: the Hub's client sends folders, and patterns would not be exact."""
    with tempfile.TemporaryDirectory(prefix="mmu-publish-") as folder:
        for item in items:
            link = Path(folder, item.name)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(item.path)
        yield Path(folder)
