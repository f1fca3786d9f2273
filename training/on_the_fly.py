"""Tokens made while a model trains: a dataset, or matched ones, read as `mmu.stream` reads them and encoded in batches.

    source = OnTheFly("data/ls_x_desi", Path("codecs"), split="train", device="cuda")
    Loader([source], masking, batch_size=256, seed=0)
    source.seconds                         spent on reading and encoding, of which the loader's steps wait for a part

For codecs that change, or where there is no room for token shards; to encode an object costs a good part of a training
step of a small model.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from crossmatch.stream.choice import SPLITS, in_split
from crossmatch.stream.opening import record_sky
from crossmatch.stream.runs import group_rows
from training.shuffle import Places
from training.sources import Ids, Kept, Rows
from training.tokens import encode, plan

WINDOW = 256
"""Objects that are shuffled among themselves: row groups of images are large, and read anew for each batch."""


class OnTheFly:
    """A dataset, or a match, and codecs.

    Args:
        path: of a dataset, of a match, or of its pairs.
        codecs: folder that they are in.
        keys: modalities; all that there is a codec for by default.
        split: of `mmu.stream`; all objects by default.
        device: where codecs run. batch: objects that are encoded at once.

    Raises:
        UsageError: there is nothing that the codecs are of.
    """

    def __init__(
        self,
        path: str,
        codecs: Path,
        keys: Sequence[str] | None = None,
        split: str | None = None,
        splits: Mapping[str, float] | None = None,
        *,
        device: str = "cpu",
        batch: int = 64,
        window: int = WINDOW,
    ) -> None:
        self.plan = plan(path, codecs, keys, device=device)
        self.name, self.batch, self.window, self.kept_bytes = self.plan.name, batch, window, 0
        self.keys = tuple(dict.fromkeys(task.row.key for task in self.plan.tasks))
        self.codecs: Mapping[str, str] = self.plan.about["codecs"]
        samples = self.plan.samples
        rows = np.arange(len(samples))
        if split is not None:
            sky = [record_sky(samples, number) for number in range(len(samples.sides))]
            rows, _ = in_split(samples, sky, split, SPLITS if splits is None else splits)
        self._rows = rows
        self._begins, self.sizes = self._runs(rows)
        self.seconds, self.encoded = 0.0, 0

    def _runs(self, rows: Rows) -> tuple[Rows, Sequence[int]]:
        """Where each run of samples begins that one row group of their first dataset holds, and its length."""
        samples = self.plan.samples
        first = np.argmax(samples.present[:, rows], axis=0)
        leaf, row = samples.leaf[first, rows], samples.row[first, rows]
        group = row // np.array([group_rows(side) for side in samples.sides])[first]
        changes = np.any(np.diff(np.stack([first, leaf, group]), axis=1, prepend=-1) != 0, axis=0)
        begins = np.flatnonzero(changes)
        return begins, np.diff(np.append(begins, len(rows))).tolist()

    def take(self, places: Places, kept: Kept) -> Ids:
        """Tokens of some objects; nothing is kept."""
        started = time.perf_counter()
        wanted, of = np.unique(self._begins[places.group] + places.row, return_inverse=True)
        ids, _, _ = encode(self.plan, self._rows[wanted], self.batch)
        out = np.concatenate([ids[key][:, 0] for key in self.keys], axis=1)[of]
        self.seconds += time.perf_counter() - started
        self.encoded += len(wanted)
        return out
