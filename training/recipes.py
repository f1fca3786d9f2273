"""Recipes: everything that a training run is, but for its data and where it is written.

CODECS["image-tiny"]            minutes on a CPU; 12 x 12 ids of 8 x 8 pixels, any survey's bands
CODECS["image-demo"]            the same with 768 codes instead of 4,375, which a model of few objects can learn
CODECS["image-aion"]            the published codec: 70 million parameters, 400,000 steps
MODELS["demo"]                  an any-to-any model in minutes on a CPU
MODELS["base"]                  the smallest of the published sizes: 300 million parameters, 205,000 steps
replace(CODECS["image-tiny"], steps=50)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Counts = Literal["full"] | tuple[str, float, float]
"""Of tokens: as many as a budget lets be, or ("beta", a, b), a random share of it."""


@dataclass(frozen=True)
class CodecRecipe:
    """How a codec with a network is made and trained.

    Attributes:
        kind, config: of `training.codecs.make`.
        folder: its name among codecs; see `training.modalities`.
        crop: pixels a side of images.
        steps, batch_size: of the optimiser, over all datasets.
        learning_rate, warm_up, schedule, weight_decay, betas: of AdamW; steps of a linear rise, then the schedule.
        clip: largest norm of a gradient.
        ema: decay of the averaged weights that are saved instead; 0 for none.
        turns: images are turned and mirrored at random, which makes eight of each.
        shifts: spectra are shifted at random by up to so much of their wavelengths, either way.
        weights: dataset -> how often a batch is of it; equally often if left out.
    """

    kind: Literal["image", "spectrum", "segmap", "light_curve"]
    folder: str
    config: Mapping[str, Any] = field(default_factory=dict)
    crop: int = 0
    steps: int = 1000
    batch_size: int = 64
    learning_rate: float = 1e-3
    warm_up: int = 50
    schedule: Literal["cosine", "constant"] = "cosine"
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0
    ema: float = 0.0
    turns: bool = False
    shifts: float = 0.0
    weights: Mapping[str, float] = field(default_factory=dict)


_TINY_IMAGE = {
    "channels": "universal",
    "stem": "patchify",
    "patch": 8,
    "hidden_dims": 64,
    "multisurvey_projection_dims": 8,
    "num_consecutive": 2,
}
_IMAGE = CodecRecipe(
    "image",
    "image_universal",
    _TINY_IMAGE,
    crop=96,
    steps=600,
    batch_size=8,
    learning_rate=2e-3,
    warm_up=30,
    turns=True,
)
_TINY_SPECTRUM = {"network": "sections", "hidden": 64, "units": 3, "levels": (8, 16, 8)}

CODECS: dict[str, CodecRecipe] = {
    "image-tiny": _IMAGE,
    "image-demo": replace(_IMAGE, config={**_TINY_IMAGE, "quantizer_levels": (8, 6, 4, 4)}),
    "spectrum-tiny": CodecRecipe(
        "spectrum",
        "spectrum",
        _TINY_SPECTRUM,
        steps=700,
        batch_size=4,
        learning_rate=4e-3,
        warm_up=30,
        shifts=0.02,
    ),
    "light-curve-tiny": CodecRecipe(
        "light_curve",
        "light_curve",
        steps=600,
        batch_size=8,
        learning_rate=4e-3,
        warm_up=30,
    ),
    "segmap-tiny": CodecRecipe(
        "segmap", "segmentation_map", {"encoder_output_dim": 64, "res_hidden_dims": 16}, steps=200, batch_size=16
    ),
    "segmap-aion": CodecRecipe(
        "segmap",
        "segmentation_map",
        steps=114_000,
        batch_size=256,
        learning_rate=1e-4,
        warm_up=1000,
        weight_decay=0.01,
        ema=0.9999,
    ),
    "image-universal": CodecRecipe(
        "image",
        "image_universal",
        {"channels": "universal", "stem": "patchify", "patch": 8, "num_consecutive": 8},
        crop=96,
        steps=400_000,
        batch_size=256,
        learning_rate=5e-4,
        warm_up=1000,
        ema=0.999,
        turns=True,
    ),
    "image-aion": CodecRecipe(
        "image",
        "image",
        crop=96,
        steps=400_000,
        batch_size=256,
        learning_rate=5e-4,
        warm_up=1000,
        weights={"legacysurvey": 20, "hsc": 1},
    ),
    "spectrum-aion": CodecRecipe(
        "spectrum",
        "spectrum",
        steps=215_000,
        batch_size=128,
        learning_rate=1e-4,
        warm_up=0,
        schedule="constant",
        weight_decay=0.1,
    ),
}
"""Name -> recipe. The tiny ones are the demo's; the others have the published sizes and schedules."""


@dataclass(frozen=True)
class ModelRecipe:
    """How an any-to-any model is made and trained.

    Attributes:
        model: of `training.model.config.ModelConfig`, but for the modalities.
        modalities: keys; all that the data have if left out.
        inputs, targets: budgets, tokens of an object.
        input_counts, target_counts: "full", as many as the budget lets be; ("beta", a, b), a random share of it. For
            AION-1's targets its distribution may have been that of (0.1, 1).
        hidden: chance of a modality, unless it leads, that nothing of it is given.
        steps: of the optimiser. batch_size: objects a step, of all processes together.
        learning_rate, warm_up: a linear rise over so many steps, then half a cosine to 0 at the last step.
        weight_decay, betas: of AdamW; see `training.engine.optimiser` for what does not decay.
        clip: largest norm of a gradient.
        weights: modality -> what its tokens weigh in the loss; 1 if left out.
        mixture: dataset -> how often an object is of it; by their numbers of objects if left out.
        seed: of everything that is drawn.
    """

    model: Mapping[str, Any]
    modalities: tuple[str, ...] = ()
    inputs: int = 256
    targets: int = 128
    input_counts: Counts = "full"
    target_counts: Counts = "full"
    hidden: float = 0.0
    steps: int = 205_000
    batch_size: int = 8192
    learning_rate: float = 2e-4
    warm_up: int = 20_500
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    weights: Mapping[str, float] = field(default_factory=dict)
    mixture: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0


def _sizes(dim: int, depth: int, heads: int) -> dict[str, int]:
    return {"dim": dim, "encoder_depth": depth, "decoder_depth": depth, "heads": heads}


MODELS: dict[str, ModelRecipe] = {
    "test": ModelRecipe(_sizes(32, 2, 4), inputs=24, targets=16, steps=20, batch_size=8, learning_rate=3e-3, warm_up=5),
    "demo": ModelRecipe(
        _sizes(96, 2, 4),
        inputs=96,
        targets=48,
        hidden=0.5,
        steps=800,
        batch_size=16,
        learning_rate=2e-3,
        warm_up=50,
    ),
    "base": ModelRecipe(_sizes(768, 12, 12)),
    "large": ModelRecipe(_sizes(1024, 24, 16)),
    "xlarge": ModelRecipe(_sizes(2048, 24, 32)),
}
"""Name -> recipe. Base, large and xlarge are AION-1's (arXiv 2510.17960); their warm-up, 10 %, and clip are a guess."""
