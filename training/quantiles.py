"""The codecs that are only counted, not trained: quantiles of every number that datasets have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crossmatch.sources import own_name
from mmu.dataset import Dataset
from mmu.errors import UsageError
from training import codecs
from training.inputs import pieces
from training.modalities import MODALITIES, Source

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


def fit_quantiles(
    paths: Sequence[str], out: Path, *, only_catalogue: bool = False, codes: int | None = None, dry: bool = False
) -> Iterator[Path]:
    """Count the numbers of datasets and write their codecs, a folder each below `out`.

    Args:
        only_catalogue: the list of sources alone; else everything but it.
        codes: of each number, instead of the codec's own; fewer where there are few objects to learn from.

    Raises:
        UsageError: the datasets have nothing of the table of modalities.
    """
    from mmu.opening import open as opened

    found: dict[str, list[tuple[Dataset, Source]]] = {}
    for path in paths:
        dataset = opened(path)
        for row in MODALITIES.values():
            source = row.source(own_name(path)[0])
            wanted = row.codec not in _NETWORKS and (row.codec == "catalog") == only_catalogue
            if wanted and source is not None and source.column in dataset.columns:
                listed = found.setdefault(row.codec, [])
                if not any(other is dataset for other, _ in listed):
                    listed.append((dataset, source))
    if not found:
        raise UsageError(f"Nothing in {', '.join(map(str, paths))} is a number of the table of modalities.")
    for folder, sources in found.items():
        if not dry:
            _fit(folder, sources, codes).save(out / folder)
        yield out / folder


def _fit(folder: str, sources: list[tuple[Dataset, Source]], codes: int | None) -> Any:
    kind, config = recipe(folder)
    if codes is not None and kind != "catalogue":
        config = {**config, "codebook_size": codes}
    codec: Any = codecs.make(kind, **config)
    seen = 0
    if kind != "grid_scalar":
        for dataset, source in sources:
            for values in (batch[source.column] for batch in dataset.batches([source.column], _BATCH)):
                for rows, arguments in pieces(kind, values, source):
                    seen += len(rows)
                    codec.fit(**{name: np.ascontiguousarray(value) for name, value in arguments.items()})
        codec.finish()
    codec.trained = {"objects": seen, "datasets": [dataset.release for dataset, _ in sources]}
    return codec
