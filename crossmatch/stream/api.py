"""The verb: matched batches of any number of datasets, as a model takes them, with no copy on disk."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crossmatch.stream.arrays import Asked, arrays_of
from crossmatch.stream.batch import Batch
from crossmatch.stream.cache import MOST_BYTES, Cache
from crossmatch.stream.choice import SPLITS, Choice, in_split, weights_of
from crossmatch.stream.delivery import Delivery
from crossmatch.stream.looking import look
from crossmatch.stream.opening import open_samples, record_sky
from crossmatch.stream.samples import Samples
from crossmatch.stream.stream import Stream
from mmu.errors import UsageError, unknown
from mmu.remote.ranges import fetched


def stream(
    sources: Any,
    radius_arcsec: float = 1.0,
    columns: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
    batch_size: int = 256,
    how: str = "inner",
    mode: str = "nearest",
    transform: Callable[[Batch], Any] | None = None,
    shuffle: int | None = None,
    region: str | None = None,
    epochs: bool | Mapping[str, float] = False,
    rank: int | None = None,
    world_size: int | None = None,
    device: str | None = None,
    *,
    dtype: str | None = None,
    crop: int = 0,
    bands: Mapping[str, Sequence[str]] | None = None,
    pad: int | float | None = None,
    tail: str = "drop",
    pool_bytes: int = 1 << 30,
    threads: int | None = None,
    workers: int = 0,
    cache: str | Path | None = None,
    cache_bytes: int = MOST_BYTES,
    split: str | None = None,
    splits: Mapping[str, float] = SPLITS,
    weights: Any = None,
    on_error: str = "raise",
    most_fetched: int | None = None,
    progress: Any = None,
) -> Stream:
    """Batches of the same objects as several surveys saw them.

    Several datasets are matched first, from their positions alone (a million objects take half a second); then only the
    row groups that hold matches are read, and of them only the columns asked for, ahead of the consumer.

    Args:
        sources: an address as `crossmatch` takes it; or several, which are matched, the first being the anchor; or an
            association made earlier, or its pairs.
        columns: dataset -> names, "image" for all of a struct or "image.flux" for a member; or a list of
            "DATASET.COLUMN". All numbers by default.
        batch_size: rows of a batch.
        radius_arcsec, how, mode, region, epochs: of the match, see `crossmatch`.
        transform: takes a batch, and gives what is handed out instead; with `workers` it runs there.
        shuffle: seed of the order, which is another in each epoch; None for the order of the sky.
        rank, world_size: which of how many processes this is; torch.distributed's by default, else one.
        device: None for NumPy arrays; "cpu", "cuda", ... for torch tensors there.
        dtype: "float32", "float16" or "bfloat16" for arrays of floats.
        crop: cut so many pixels a side out of the middle of images.
        bands: dataset -> the bands of its images, in that order; those it names first by default.
        pad: fill ragged rows up to the longest of the batch with this; else they are (values, offsets).
        tail: what happens to samples that do not fill a batch on every rank: "drop", "pad" or "exact".
        pool_bytes: of batches in memory at once, which are shuffled among themselves.
        cache: a folder for decoded row groups, of which `cache_bytes` are kept: later epochs map them into memory.
        split: "train", "validation" or "test", of the cells of the sky shared out by `splits`; groups of objects that
            touch two are left out of both, and counted in `stream.choice.straddling`.
        weights: draw samples by weight, with replacement: a HEALPix map (nested), or dataset -> weight of what it has.
        threads: that decode; workers: processes of torch's DataLoader to do it in, with their threads each.
        on_error: "raise", or "skip" the samples of row groups that cannot be read, and count them.
        most_fetched: bytes that may be fetched over the network for batches; more end the stream.
        progress: of the match, a `mmu.build.progress.Progress`; quiet by default.

    Raises:
        UsageError: it cannot be done as asked, in a sentence.
    """
    rank, world_size = _rank(rank, world_size)
    delivery = Delivery(
        batch_size, shuffle, tail, rank, world_size, pool_bytes, threads, workers, pad, device, transform, on_error,
        most_fetched,
    )  # fmt: skip
    before = fetched()
    rule = {"radius_arcsec": radius_arcsec, "how": how, "mode": mode, "region": region or "all", "epochs": epochs,
            "progress": progress}  # fmt: skip
    samples = open_samples(sources, rule)
    asked = Asked(_by_side(columns, samples), dtype, crop, bands)
    arrays = tuple(arrays_of(side, asked, *look(side, asked)) for side in samples.sides)
    kind: type[Stream] = Stream
    if workers or device is not None or "torch" in sys.modules:
        from crossmatch.stream.tensors import TorchStream

        kind = TorchStream
    choice = _choice(samples, split, splits, weights, shuffle or 0)
    facts = {"split": split and [split, dict(splits)], "weights": weights is not None}
    made = kind(samples, arrays, delivery, choice, None if cache is None else Cache(cache, cache_bytes), facts)
    made.stats.fetched = fetched() - before
    return made


def _choice(samples: Samples, split: str | None, splits: Mapping[str, float], weights: Any, seed: int) -> Choice:
    """Which of the samples an epoch goes over."""
    rows, straddling = np.arange(len(samples)), 0
    if split is not None:
        sky = [record_sky(samples, number) for number in range(len(samples.sides))]
        rows, straddling = in_split(samples, sky, split, splits)
    drawn = None if weights is None else weights_of(samples.take(rows), weights)
    return Choice(rows, drawn, seed, straddling)


def _rank(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """As given, as torch.distributed says, or as torchrun's environment does."""
    if (rank is None) != (world_size is None):
        raise UsageError("Give rank and world_size both, or neither.")
    if rank is not None and world_size is not None:
        return rank, world_size
    if "torch" in sys.modules:
        import torch.distributed as distributed

        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def _by_side(
    columns: Mapping[str, Sequence[str]] | Sequence[str] | None, samples: Samples
) -> Mapping[str, Sequence[str]] | None:
    """Dataset -> names of columns."""
    names = [side.name for side in samples.sides]
    if columns is None:
        return None
    if isinstance(columns, str):
        columns = [columns]
    if not isinstance(columns, Mapping):
        by_side: dict[str, list[str]] = {name: [] for name in names}
        for column in columns:
            side = max((n for n in names if column.startswith(f"{n}.")), key=len, default=None)
            if side is None and len(names) > 1:
                raise UsageError(f"{column!r} does not say of which dataset; give DATASET.COLUMN: {', '.join(names)}.")
            by_side[side or names[0]].append(column.removeprefix(f"{side}."))
        return by_side
    for name in columns:
        if name not in names:
            raise unknown("dataset of the stream", name, names)
    return {name: [one] if isinstance(one, str) else list(one) for name, one in columns.items()}
