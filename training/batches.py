"""Batches for training codecs: a stream for each dataset; which is next is a function of the seed and the step."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from crossmatch.stream.api import stream
from crossmatch.stream.choice import SPLITS
from crossmatch.stream.stream import Stream
from mmu.errors import UsageError
from training.codecs.bands import OWN
from training.share import told
from training.views import planes

COLUMNS = {"image": ("flux", "ivar", "mask", *OWN), "spectrum": ("flux", "ivar", "mask", "lambda")}
"""Kind of codec -> members of the column of that name that it is trained on."""


class Batches:
    """Arguments of a codec's `loss`, of several datasets in turn; it knows where it is.

    Args:
        kind: of codec. paths: of datasets that have a column of that name.
        weights: dataset -> how often; by the dataset's name in its stream.
        crop: pixels a side of images.
        split: only that share of the sky. splits: all of them, see `mmu.stream`.
        turns: turn and mirror images at random, a batch as one.
        shifts: shift spectra at random, each by up to so much of its wavelengths.

    Raises:
        UsageError: a dataset has no such column, or no objects.
    """

    def __init__(
        self,
        kind: str,
        paths: Sequence[str],
        batch_size: int,
        seed: int,
        *,
        crop: int = 0,
        weights: Mapping[str, float] | None = None,
        split: str | None = None,
        splits: Mapping[str, float] | None = None,
        threads: int | None = None,
        turns: bool = False,
        shifts: float = 0.0,
    ) -> None:
        self.kind, self.seed, self.turns, self.shifts = kind, seed, turns, shifts
        self.split = told(split, splits)
        self.streams: dict[str, Stream] = {}
        for path in paths:
            made = stream(
                path,
                columns=[f"{kind}.{member}" for member in COLUMNS[kind]],
                batch_size=batch_size,
                shuffle=seed,
                crop=crop,
                pad=0.0,
                tail="exact",
                split=split,
                splits=SPLITS if splits is None else splits,
                threads=threads,
                rank=0,
                world_size=1,
            )
            name = made.samples.sides[0].name
            if not len(made):
                raise UsageError(f"{path} has no objects{f' of the split {split!r}' if split else ''} to train on.")
            self.streams[name if name not in self.streams else str(path)] = made
        self.names = list(self.streams)
        self.shares = [float((weights or {}).get(name, 1.0)) for name in self.names]
        self._open: dict[str, Iterator[Any]] = {}

    @property
    def objects(self) -> dict[str, int]:
        """Dataset -> its objects that are trained on."""
        return {name: len(made.choice.rows) for name, made in self.streams.items()}

    def __call__(self, step: int) -> dict[str, Any]:
        """The batch of a step; steps must come in their order."""
        name = random.Random(f"{self.seed}:{step}").choices(self.names, self.shares)[0]
        if name not in self._open:
            self._open[name] = _endless(self.streams[name])
        given = arguments(self.kind, next(self._open[name]))
        drawn = random.Random(f"{self.seed}:{step}:turn")
        if self.turns:
            return turned(given, drawn.randrange(8))
        return shifted(given, self.shifts, drawn) if self.shifts else given

    def state(self) -> dict[str, Any]:
        """Where every stream is."""
        return {name: made.state_dict() for name, made in self.streams.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on there.

        Raises:
            UsageError: it is of other datasets.
        """
        if set(state) != set(self.names):
            raise UsageError(f"The checkpoint is of {', '.join(sorted(state))}; {', '.join(self.names)} were given.")
        self._open = {}
        for name, made in self.streams.items():
            made.load_state_dict(state[name])

    def wait(self) -> float:
        """Seconds that all streams were waited for."""
        return sum(made.stats.waited for made in self.streams.values())


def _endless(made: Stream) -> Iterator[Any]:
    while True:
        yield from made


def turned(given: dict[str, Any], way: int) -> dict[str, Any]:
    """Images, their inverse variances and masks in one of the eight ways that a square has."""
    return {name: planes(value, way) if getattr(value, "ndim", 0) == 4 else value for name, value in given.items()}


def shifted(given: dict[str, Any], most: float, drawn: random.Random) -> dict[str, Any]:
    """Spectra at other wavelengths, each by its own factor: lines anywhere in the codec's grid."""
    factors = [[1 + drawn.uniform(-most, most)] for _ in given["flux"]]
    return {**given, "wavelength": np.asarray(given["wavelength"] * np.array(factors), np.float32)}


def arguments(kind: str, batch: Any) -> dict[str, Any]:
    """Of a batch of one dataset, what a codec's `loss` takes; see `COLUMNS`."""
    name = next(iter(batch))
    arrays = batch[name]
    if kind == "image":
        return {
            "flux": arrays["image.flux"],
            "bands": list(batch.bands[name]["image.flux"]),
            "ivar": arrays["image.ivar"],
            "mask": arrays["image.mask"],
            "present": arrays["image.flux.valid"],
            **{name: arrays[f"image.{name}"] for name in OWN},
        }
    return {
        "flux": arrays["spectrum.flux"],
        "wavelength": arrays["spectrum.lambda"],
        "ivar": arrays["spectrum.ivar"],
        "mask": arrays["spectrum.mask"],
    }
