"""Batches of maps and light curves, which are no arrays in the shards: row groups and rows, shuffled each epoch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from crossmatch.sources import own_name
from mmu.dataset import Dataset
from mmu.decoding import decode
from mmu.errors import UsageError
from mmu.opening import open as opened
from training.inputs import light_curves, padded_light_curves, pieces
from training.modalities import MODALITIES, Source
from training.share import chosen, told

HIDDEN = 0.6
"""Largest share of a light curve's points that training asks for without showing them."""


class Unit(NamedTuple):
    """A row group, and which of its rows count."""

    path: Path
    group: int
    rows: NDArray[np.int64]
    source: Source


class Maps:
    """Arguments of the codec's `loss`, `batch_size` maps at a time; as `Batches`, it knows where it is.

    Args:
        split: only that share of the sky. splits: all of them, see `mmu.stream`.

    Raises:
        UsageError: a dataset has no maps, or no objects of the split.
    """

    key: ClassVar[str] = "tok_segmap"
    what: ClassVar[str] = "maps of what is where"

    def __init__(
        self,
        paths: Sequence[str],
        batch_size: int,
        seed: int,
        *,
        split: str | None = None,
        splits: Mapping[str, float] | None = None,
    ) -> None:
        self.batch_size, self.seed = batch_size, seed
        self.split = told(split, splits)
        self.objects: dict[str, int] = {}
        self.units: list[Unit] = []
        for path in paths:
            name, dataset = own_name(path)[0], opened(path)
            source = MODALITIES[self.key].source(name)
            if source is None or source.column not in dataset.columns or not len(dataset):
                raise UsageError(f"{path} has no {self.what} to train on.")
            counts = chosen(dataset, split, splits)
            self.objects[name] = self.objects.get(name, 0) + int(counts.sum())
            self.units += _units(dataset, counts, source)
        self.epoch = self.unit = self.row = 0
        self.waited = 0.0
        self._read: tuple[tuple[int, int], Any] | None = None

    def __call__(self, step: int) -> dict[str, Any]:
        """The next batch.

        Raises:
            UsageError: no object has a map.
        """
        started, parts, missing, empty = time.perf_counter(), [], self.batch_size, 0
        while missing:
            maps = self._maps()
            empty = 0 if len(maps) else empty + 1
            if empty > len(self.units):
                raise UsageError(f"None of the objects ({self.objects}) has {self.what}.")
            part = maps[self.row : self.row + missing]
            parts.append(part)
            missing, self.row = missing - len(part), self.row + len(part)
            if self.row == len(maps):
                self.unit, self.row = self.unit + 1, 0
            if self.unit == len(self.units):
                self.epoch, self.unit = self.epoch + 1, 0
        self.waited += time.perf_counter() - started
        return self._arguments(parts, step)

    def _maps(self) -> Any:
        """Those of the row group that is read, in this epoch's order."""
        key = (self.epoch, self.unit)
        if self._read is None or self._read[0] != key:
            random = np.random.default_rng((self.seed, self.epoch))
            path, group, rows, source = self.units[random.permutation(len(self.units))[self.unit]]
            with pq.ParquetFile(path) as file:
                table = file.read_row_group(group, columns=[source.column]).take(rows)
            maps = self._rows(decode(table, pictures=True)[source.column], source)
            self._read = key, np.random.default_rng((self.seed, *key)).permutation(maps)
        return self._read[1]

    def _rows(self, column: Any, source: Source) -> Any:
        """What there is in a decoded column, an object each."""
        fields = [arguments["field"] for _, arguments in pieces("segmap", column, source)]
        return np.concatenate(fields) if fields else np.zeros((0, 1, 1), np.float32)

    def _arguments(self, parts: list[Any], step: int) -> dict[str, Any]:
        """What the codec's `loss` takes."""
        return {"field": np.concatenate(parts)}

    def state(self) -> dict[str, Any]:
        """Where it is."""
        return {"objects": self.objects, "split": self.split, "at": [self.epoch, self.unit, self.row]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on there.

        Raises:
            UsageError: it is of other datasets, or another share of them.
        """
        if (state.get("objects"), state.get("split")) != (self.objects, self.split):
            raise UsageError(f"The checkpoint is of other {self.what} than {self.objects}; give the same --data.")
        self.epoch, self.unit, self.row = state["at"]

    def wait(self) -> float:
        """Seconds that were spent reading."""
        return self.waited


def _units(dataset: Dataset, counts: NDArray[np.bool_], source: Source) -> Iterator[Unit]:
    """Row groups with objects that count."""
    first = 0
    for path in map(dataset.shard, dataset.partitions):
        about = pq.read_metadata(path)
        for group in range(about.num_row_groups):
            length = about.row_group(group).num_rows
            rows = np.flatnonzero(counts[first : first + length])
            first += length
            if len(rows):
                yield Unit(path, group, rows, source)


class Curves(Maps):
    """The same of light curves, some of whose points are hidden: up to `HIDDEN` of them, each object's own share."""

    key: ClassVar[str] = "tok_light_curve"
    what: ClassVar[str] = "light curves"

    def _rows(self, column: Any, source: Source) -> Any:
        found = [one for one in light_curves(column) if one is not None]
        rows = np.empty(len(found), dtype=object)
        rows[:] = found
        return rows

    def _arguments(self, parts: list[Any], step: int) -> dict[str, Any]:
        given = padded_light_curves([one for part in parts for one in part])
        random = np.random.default_rng((self.seed, step))
        shape = given["time"].shape
        return {**given, "hidden": random.random(shape) < random.uniform(0, HIDDEN, (shape[0], 1))}
