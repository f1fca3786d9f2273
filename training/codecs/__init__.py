"""Codecs: images, spectra, numbers and lists as ids of a vocabulary, for a model to read and write.

    codec = codecs.load("codecs/image")                         of config.json and model.safetensors, no pickle
    ids = codec.encode(flux, bands=["des-g", "des-r", "des-z"])
    flux = codec.decode(ids, bands=["des-g", "des-r", "des-z"])

Files of the published AION-1 codecs load as they are. `compat="aion-0.0.2"` also does what that package does wrong.
"""

from __future__ import annotations

import importlib
import inspect
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
    "light_curve": "training.codecs.light_curve:LightCurveCodec",
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


_OF_TRAINING = {"lr", "quantisation_loss_weight", "ema_model_weights", "ema_decay", "ema_update_freq", "variational"}
"""What a published `config.json` also has, and does not matter to encode; nor does what is null there."""


def kinds() -> list[str]:
    """The kinds of codec there are."""
    return sorted(_WHERE)


def make(kind: str, **config: Any) -> Codec:
    """A codec with fresh weights.

    Raises:
        UsageError: there is no such kind, or it does not take such a config.
    """
    try:
        made: Codec = _class(kind)(**config)
    except TypeError as problem:
        raise UsageError(f"A {kind} codec cannot be made of this config: {problem}.") from problem
    return made


def _class(kind: str) -> type[Any]:
    if kind not in _WHERE:
        raise unknown("kind of codec", kind, _WHERE)
    module, _, name = _WHERE[kind].partition(":")
    found: type[Any] = getattr(importlib.import_module(module), name)
    return found


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
        ours = about.pop("codec", None)
        kind = ours or next(kind for mark, kind in _TOLD_BY.items() if mark in about)
    except (ValueError, AttributeError, StopIteration) as problem:
        raise FormatError(f"{folder / CONFIG} does not say which kind of codec it is of.") from problem
    if ours is None:
        taken = inspect.signature(_class(kind)).parameters
        about = {k: v for k, v in about.items() if k in taken or (k not in _OF_TRAINING and v is not None)}
    trained = about.pop("trained", {})
    if compat is not None:
        about["compat"] = compat
    codec = make(kind, **about)
    codec.trained = trained
    return codec.load_file(folder / WEIGHTS).eval()
