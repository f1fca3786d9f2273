"""Codecs: images, spectra, numbers and lists as ids of a vocabulary, for a model to read and write.

    codec = codecs.load("codecs/image")                         of config.json and model.safetensors, no pickle
    ids = codec.encode(flux, bands=["des-g", "des-r", "des-z"])
    flux = codec.decode(ids, bands=["des-g", "des-r", "des-z"])

Files of the published AION-1 codecs load as they are. `compat="aion-0.0.2"` also does what that package does wrong.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from mmu.errors import FormatError, UsageError, unknown
from training.codecs.codec import CONFIG, PUBLISHED, WEIGHTS, Codec, digest
from training.codecs.quantize import ABSENT

__all__ = ["ABSENT", "PUBLISHED", "Codec", "digest", "kinds", "load", "make"]

_WHERE = {
    "image": "training.codecs.image:ImageCodec",
    "spectrum": "training.codecs.spectrum:SpectrumCodec",
    "catalogue": "training.codecs.catalogue:CatalogueCodec",
    "segmap": "training.codecs.segmap:SegmapCodec",
    "scalar": "training.codecs.scalar:ScalarCodec",
    "log_scalar": "training.codecs.scalar:LogScalarCodec",
    "asinh_scalar": "training.codecs.scalar:AsinhScalarCodec",
    "multi_scalar": "training.codecs.scalar:MultiScalarCodec",
    "grid_scalar": "training.codecs.scalar:GridScalarCodec",
}
_TOLD_BY = {
    "quantizer_levels": "image",
    "encoder_depths": "spectrum",
    "encoder_output_dim": "segmap",
    "mask_value": "catalogue",
    "num_quantizers": "multi_scalar",
    "min_log_value": "log_scalar",
    "reservoir_size": "scalar",
    "codebook_size": "grid_scalar",
}
"""What a published `config.json`, which names no kind, has -> the kind; the first that is there counts."""


def kinds() -> list[str]:
    """The kinds of codec there are."""
    return sorted(_WHERE)


def make(kind: str, **config: Any) -> Codec:
    """A codec with fresh weights.

    Raises:
        UsageError: there is no such kind, or it does not take such a config.
    """
    if kind not in _WHERE:
        raise unknown("kind of codec", kind, _WHERE)
    module, _, name = _WHERE[kind].partition(":")
    try:
        made: Codec = getattr(importlib.import_module(module), name)(**config)
    except TypeError as problem:
        raise UsageError(f"A {kind} codec cannot be made of this config: {problem}.") from problem
    return made


def load(folder: str | Path, compat: str | None = None) -> Codec:
    """The codec in a folder, ready to encode.

    Args:
        compat: "aion-0.0.2" to do what the published package does, wrong or not; as it was saved if left out.

    Raises:
        UsageError: there is no codec in the folder.
        FormatError: its files are damaged or do not belong together.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise UsageError(f"{folder} holds no codec: {CONFIG} and {WEIGHTS} were expected.")
    try:
        about = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        kind = about.pop("codec", None) or next(kind for mark, kind in _TOLD_BY.items() if mark in about)
    except (ValueError, AttributeError, StopIteration) as problem:
        raise FormatError(f"{folder / CONFIG} does not say which kind of codec it is of.") from problem
    trained = about.pop("trained", {})
    if compat is not None:
        about["compat"] = compat
    codec = make(kind, **about)
    codec.trained = trained
    return codec.load_file(folder / WEIGHTS).eval()
