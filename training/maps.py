"""Batches of maps, which are pictures in the shards: row groups, and rows in them, in another order each epoch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from crossmatch.sources import own_name
from mmu.decoding import decode
from mmu.errors import UsageError
from mmu.opening import open as opened
from training.inputs import pieces
from training.modalities import MODALITIES, Source


class Maps:
    """Arguments of the codec's `loss`, `batch_size` maps at a time; as `Batches`, it knows where it is.

    Raises:
        UsageError: a dataset has no maps.
    """

    def __init__(self, paths: Sequence[str], batch_size: int, seed: int) -> None:
        self.batch_size, self.seed = batch_size, seed
        self.objects: dict[str, int] = {}
        self.units: list[tuple[Path, int, Source]] = []
        for path in paths:
            name, dataset = own_name(path)[0], opened(path)
            source = MODALITIES["tok_segmap"].source(name)
            if source is None or source.column not in dataset.columns or not len(dataset):
                raise UsageError(f"{path} has no maps of what is where to train on.")
            self.objects[name] = len(dataset)
            for file in (dataset.shard(leaf) for leaf in dataset.partitions):
                self.units += [(file, group, source) for group in range(pq.read_metadata(file).num_row_groups)]
        self.epoch = self.unit = self.row = 0
        self.waited = 0.0
        self._read: tuple[tuple[int, int], Any] | None = None

    def __call__(self, step: int) -> dict[str, Any]:
        """The next batch."""
        started, parts, missing = time.perf_counter(), [], self.batch_size
        while missing:
            maps = self._maps()
            part = maps[self.row : self.row + missing]
            parts.append(part)
            missing, self.row = missing - len(part), self.row + len(part)
            if self.row == len(maps):
                self.unit, self.row = self.unit + 1, 0
            if self.unit == len(self.units):
                self.epoch, self.unit = self.epoch + 1, 0
        self.waited += time.perf_counter() - started
        return {"field": np.concatenate(parts)}

    def _maps(self) -> Any:
        """Those of the row group that is read, in this epoch's order."""
        key = (self.epoch, self.unit)
        if self._read is None or self._read[0] != key:
            random = np.random.default_rng((self.seed, self.epoch))
            file, group, source = self.units[random.permutation(len(self.units))[self.unit]]
            with pq.ParquetFile(file) as open_file:
                column = decode(open_file.read_row_group(group, columns=[source.column]), pictures=True)[source.column]
            fields = [arguments["field"] for _, arguments in pieces("segmap", column, source)]
            maps = np.concatenate(fields) if fields else np.zeros((0, 1, 1), np.float32)
            self._read = key, np.random.default_rng((self.seed, *key)).permutation(maps)
        return self._read[1]

    def state(self) -> dict[str, Any]:
        """Where it is."""
        return {"objects": self.objects, "at": [self.epoch, self.unit, self.row]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on there.

        Raises:
            UsageError: it is of other datasets.
        """
        if state.get("objects") != self.objects:
            raise UsageError(f"The checkpoint is of other maps than {self.objects}; give the same --data.")
        self.epoch, self.unit, self.row = state["at"]

    def wait(self) -> float:
        """Seconds that were spent reading."""
        return self.waited
