"""Where a trainer's tokens come from: row groups of token shards, read whole and kept while there is room.

    source = Shards(Path("tokens/legacysurvey"), codecs=recipe.codecs, split="train")
    source.take(places, kept)        ids (objects, width) int16: the modalities of `source.keys` side by side

`training.on_the_fly` has another that makes its tokens when they are asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmu.errors import UsageError
from training.draws import below, bits, streams
from training.modalities import MODALITIES
from training.share import SKY, chooser
from training.shuffle import Places
from training.token_shards import Tokens, padded

Ids = NDArray[np.int16]
Rows = NDArray[np.int64]


class Kept:
    """Groups that were read, those last used, while they have no more than so many bytes together.

    Attributes:
        bytes: that are kept; reads: how often a group was read.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self.bytes, self.reads = most_bytes, 0, 0
        self._groups: OrderedDict[Hashable, Ids] = OrderedDict()

    def __call__(self, key: Hashable, read: Callable[[], Ids]) -> Ids:
        """A group: as it is kept, else as it is read."""
        if (found := self._groups.get(key)) is not None:
            self._groups.move_to_end(key)
            return found
        made = read()
        self.reads += 1
        self._groups[key] = made
        self.bytes += made.nbytes
        while self.bytes > self.most_bytes and len(self._groups) > 1:
            self.bytes -= self._groups.popitem(last=False)[1].nbytes
        return made


class Source(Protocol):
    """Objects with tokens, in groups that are read together.

    Attributes:
        keys: modalities it has, in the order of the table; ids of objects have them side by side.
        sizes: objects of each group.
        codecs: folder of each codec -> its sha256.
        window: how many objects may be shuffled among themselves, where that is dear; 0 for any number.
        kept_bytes: of an object, while its window is in use.
    """

    name: str
    keys: tuple[str, ...]
    sizes: Sequence[int]
    codecs: Mapping[str, str]
    window: int
    kept_bytes: int

    def take(self, places: Places, kept: Kept) -> Ids:
        """Tokens of some of them, (objects, width); `ABSENT` where there are none."""
        ...


def width(keys: Sequence[str]) -> int:
    """Columns of modalities side by side."""
    return sum(MODALITIES[key].tokens for key in keys)


@dataclass(frozen=True)
class _Group:
    """A row group of a shard: its file, its number there, its rows; those that count, None for all."""

    path: Path
    number: int
    count: int
    rows: Rows | None = None


class Shards:
    """Token shards of one folder.

    Args:
        codecs: what they must have been made by; see `Tokens`.
        keys: modalities to read, as far as they are there; all by default.
        split: "train", "validation" or "test": the objects that `mmu.stream` has in a split of that name; those of a
            match that touch two cells of the sky are in none.
        seed: of the choice of one of several views of an image.

    Raises:
        UsageError: there are no tokens, none of `keys`, or they are of other codecs.
    """

    def __init__(
        self,
        folder: Path,
        codecs: Mapping[str, str] | Path | None = None,
        keys: Sequence[str] | None = None,
        split: str | None = None,
        splits: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        tokens = Tokens(folder, codecs)
        self.name, self.folder, self.seed = folder.name, folder, seed
        self.keys = tuple(key for key in tokens.keys if keys is None or key in keys)
        if not self.keys:
            raise UsageError(f"{folder} has {', '.join(tokens.keys)}, and none of {', '.join(keys or ())}.")
        self.codecs: Mapping[str, str] = tokens.about["codecs"]
        self.views = tokens.views
        chosen = chooser(split, splits)
        self._groups = [group for path in tokens.paths for group in _groups(path, self.views, chosen)]
        self.sizes: Sequence[int] = [group.count for group in self._groups]
        self.window, self.kept_bytes = 0, 2 * width(self.keys)

    def read(self, group: int, epoch: int) -> Ids:
        """Tokens of a row group; of objects with several views one, another in each epoch."""
        mine = self._groups[group]
        with pq.ParquetFile(mine.path) as file:
            table = file.read_row_group(mine.number, columns=list(self.keys))
        rows = mine.rows
        if self.views > 1:
            objects = np.arange(len(table) // self.views) if rows is None else rows
            own = streams(self.seed, epoch, objects + (group << 32))
            rows = objects * self.views + below(bits(own, 0), np.full(len(objects), self.views))
        parts = [padded(key, table[key].combine_chunks()) for key in self.keys]
        return np.concatenate(parts if rows is None else [part[rows] for part in parts], axis=1)

    def whole(self) -> dict[str, Ids]:
        """All its objects, in memory: key -> ids (objects, tokens); of several views, one."""
        groups = [self.read(number, 0) for number in range(len(self.sizes))]
        ids = np.concatenate(groups) if groups else np.empty((0, width(self.keys)), np.int16)
        ends = np.cumsum([MODALITIES[key].tokens for key in self.keys]).tolist()
        return {key: ids[:, first:last] for key, first, last in zip(self.keys, [0, *ends], ends, strict=False)}

    def take(self, places: Places, kept: Kept) -> Ids:
        """Tokens of some objects, of row groups that are read whole."""
        out = np.empty((len(places.row), width(self.keys)), np.int16)
        each, of = np.unique(places.epoch * len(self.sizes) + places.group, return_inverse=True)
        by = np.argsort(of, kind="stable")
        for part in np.split(by, np.searchsorted(of[by], np.arange(1, len(each)))):
            group, epoch = int(places.group[part[0]]), int(places.epoch[part[0]])
            key = self.name, group, epoch if self.views > 1 else 0
            out[part] = kept(key, partial(self.read, group, epoch))[places.row[part]]
        return out


def _groups(path: Path, views: int, chosen: Callable[..., Any] | None) -> list[_Group]:
    """The row groups of a shard that have objects that count."""
    with pq.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(number).num_rows // views for number in range(file.num_row_groups)]
        if chosen is None:
            return [_Group(path, number, size) for number, size in enumerate(sizes)]
        groups = []
        for number, size in enumerate(sizes):
            straddles = ["straddles"] if "straddles" in file.schema_arrow.names else []
            table = file.read_row_group(number, columns=[SKY, *straddles], use_threads=False)
            rows = np.flatnonzero(chosen(*(column.to_numpy()[::views] for column in table.columns)))
            groups.append(_Group(path, number, len(rows), None if len(rows) == size else rows))
    return [group for group in groups if group.count]


def same_codecs(sources: Sequence[Source]) -> dict[str, str]:
    """Codecs of all sources, which are to be the same.

    Raises:
        UsageError: two sources are of different codecs under one name.
    """
    found: dict[str, tuple[str, str]] = {}
    for source in sources:
        for name, digest in source.codecs.items():
            other, known = found.setdefault(name, (source.name, digest))
            if known != digest:
                raise UsageError(
                    f"{other} and {source.name} have tokens of different codecs {name!r} (sha256 {known[:12]} and "
                    f"{digest[:12]}); tokenize one of them again, or leave it out."
                )
    return {name: digest for name, (_, digest) in found.items()}
