"""What lies in a folder: datasets (finished or only begun), matches, runs of training, or a folder of several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmu.errors import UsageError
from mmu.opening import open as open_dataset

DATASET, UNFINISHED, MATCH, RUN = "dataset", "unfinished", "match", "run"
LOG = "log.jsonl"
"""What a run of training writes as it goes."""


@dataclass(frozen=True)
class Subject:
    """Something that a page tells of.

    Attributes:
        kind: a dataset's release, one of which there is only an unfinished build, a match, or a run of training.
        folder: the release's folder, that of the match (which holds `association`), or that of the run (`log.jsonl`).
        shown: the folder as its user wrote it.
    """

    kind: str
    folder: Path
    shown: str


def find(paths: Sequence[str | Path]) -> list[Subject]:
    """The datasets, matches and runs in some folders, or in the folders just below them; each once.

    Raises:
        UsageError: one of the paths holds none of them.
    """
    found = [one for path in paths for one in _below(str(path))]
    return list({(one.kind, one.folder.resolve()): one for one in found}.values())


def _below(text: str) -> list[Subject]:
    folder = Path(text).expanduser()
    if not folder.is_dir():
        folder = open_dataset(text).path  # NAME[:release] under MMU_DATA; else it says what is not there
    found = list(_in(folder, text))
    if not found:
        children = [child for child in sorted(folder.iterdir()) if child.is_dir() and not child.name.startswith(".")]
        found = [one for child in children for one in _in(child, f"{text.rstrip('/')}/{child.name}")]
    if not found:
        raise UsageError(
            f"{text} holds no dataset, no match and no run, nor does a folder in it: give the --out of `mmu build`, a "
            "survey's folder, one of its releases, the OUT of `mmu crossmatch`, or that of `training.pretrain`."
        )
    return found


def _in(folder: Path, shown: str) -> Iterator[Subject]:
    if (folder / LOG).is_file():
        yield Subject(RUN, folder, shown)
        return
    for match in (folder, folder.parent):
        if (match / "association" / "_mmu" / "match.json").is_file() and (match == folder or _part(folder)):
            yield Subject(MATCH, match, shown if match == folder else shown.rstrip("/").rpartition("/")[0] or ".")
            return
    releases = set()
    try:
        dataset = open_dataset(folder)
    except UsageError:
        pass
    else:
        releases = set(dataset.releases)
        alone = dataset.path.resolve() == folder.resolve() or (folder / "collection.properties").is_file()
        for name in [dataset.release] if alone else dataset.releases:
            yield Subject(DATASET, dataset.path.parent / name, shown)
    for work in sorted(folder.glob(".building-*")):
        name = work.name.removeprefix(".building-")
        if name not in releases:
            yield Subject(UNFINISHED, folder / name, shown)


def _part(folder: Path) -> bool:
    return (folder / "_mmu" / "match.json").is_file()
