"""The codecs that are only counted, not trained: quantiles of every number that datasets have."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from crossmatch.sources import own_name
from mmu.dataset import Dataset
from mmu.errors import UsageError
from training import codecs
from training.inputs import pieces
from training.modalities import MODALITIES, Source
from training.share import Chosen, chosen, told

LOG = {f"FLUX_{band}" for band in ("G", "R", "I", "Z", "W1", "W2", "W3", "W4")} | {
    "SHAPE_R", "phot_g_mean_flux", "phot_bp_mean_flux", "phot_rp_mean_flux", "parallax"
}  # fmt: skip
"""Folders of codecs of logarithms, as published."""
SOFTENING = {"redshift": 0.1, "parallax_signed": 0.1, "pmra": 1.0, "pmdec": 1.0}
"""Folders of codecs of arcsinh -> where it turns from linear to logarithmic, in the column's unit."""
GRIDS = {"Z"}
_BATCH = 4096
_NETWORKS = {"image", "image_universal", "spectrum", "segmentation_map", "light_curve"}


def recipe(folder: str) -> tuple[str, dict[str, Any]]:
    """Kind and config of a codec that is counted."""
    if folder == "catalog":
        return "catalogue", {}
    if folder in ("bp_coefficients", "rp_coefficients"):
        return "multi_scalar", {"modality": folder}
    if folder in GRIDS:
        return "grid_scalar", {"modality": folder}
    if folder in SOFTENING:
        return "asinh_scalar", {"modality": folder, "softening": SOFTENING[folder]}
    return ("log_scalar" if folder in LOG else "scalar"), {"modality": folder}


class _Given(NamedTuple):
    """A dataset, which of its rows count, and where in it the numbers are."""

    dataset: Dataset
    counts: Chosen
    source: Source

    def pieces(self, kind: str) -> Iterator[dict[str, Any]]:
        """What a kind of codec is fitted to."""
        for number, batch in enumerate(self.dataset.batches([self.source.column], _BATCH)):
            for rows, arguments in pieces(kind, batch[self.source.column], self.source):
                mine = self.counts[number * _BATCH + rows]
                if mine.any():
                    yield {name: np.ascontiguousarray(value[mine]) for name, value in arguments.items()}


def fit_quantiles(
    paths: Sequence[str],
    out: Path,
    *,
    only_catalogue: bool = False,
    codes: int | None = None,
    split: str | None = None,
    splits: Mapping[str, float] | None = None,
    dry: bool = False,
) -> Iterator[Path]:
    """Count the numbers of datasets and write their codecs, a folder each below `out`.

    Args:
        only_catalogue: the list of sources alone; else everything but it.
        codes: of each number, instead of the codec's own; fewer where there are few objects to learn from.
        split: only that share of the sky. splits: all of them, see `mmu.stream`.

    Raises:
        UsageError: the datasets have nothing of the table of modalities, or no objects of the split.
    """
    from mmu.opening import open as opened

    found: dict[str, list[_Given]] = {}
    for path in paths:
        dataset = opened(path)
        counts = chosen(dataset, split, splits)
        for row in MODALITIES.values():
            source = row.source(own_name(path)[0])
            wanted = row.codec not in _NETWORKS and (row.codec == "catalog") == only_catalogue
            if wanted and source is not None and source.column in dataset.columns:
                listed = found.setdefault(row.codec, [])
                if not any(other.dataset is dataset for other in listed):
                    listed.append(_Given(dataset, counts, source))
    if not found:
        raise UsageError(f"Nothing in {', '.join(map(str, paths))} is a number of the table of modalities.")
    for folder, given in found.items():
        if not dry:
            codec = _fit(folder, given, codes)
            codec.trained["split"] = told(split, splits)
            codec.save(out / folder)
        yield out / folder


def _fit(folder: str, given: list[_Given], codes: int | None) -> Any:
    kind, config = recipe(folder)
    if codes is not None and kind != "catalogue":
        config = {**config, "codebook_size": codes}
    codec: Any = codecs.make(kind, **config)
    seen = 0
    if kind != "grid_scalar":
        for arguments in itertools.chain.from_iterable(one.pieces(kind) for one in given):
            seen += len(next(iter(arguments.values())))
            codec.fit(**arguments)
        codec.finish()
    codec.trained = {"objects": seen, "datasets": [one.dataset.release for one in given]}
    return codec
