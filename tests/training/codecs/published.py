"""The published package beside ours: small codecs of the same classes, every parameter of them drawn anew.

Fresh ones prove nothing: squeeze-excite gates start shut, response norms at zero, tables of quantiles all zero.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.codecs.redraw import redraw
from training import codecs
from training.codecs import Codec
from training.codecs.agreement import class_of, images, spectra

__all__ = ["CODECS", "SIZES", "images", "ours", "peer", "spectra"]

pytest.importorskip("aion", reason="the published package, polymathic-aion, is not installed")

CODECS: dict[str, dict[str, Any]] = {
    "image": {
        "quantizer_levels": [7, 5, 5, 5, 5], "hidden_dims": 16, "multisurvey_projection_dims": 6, "num_consecutive": 1,
    },
    "spectrum": {
        "encoder_depths": [1, 1, 2, 1], "encoder_dims": [8, 16, 24, 32], "decoder_depths": [1, 2, 1, 1],
        "decoder_dims": [24, 16, 8, 2], "latent_channels": 32, "embedding_dim": 10,
    },
    "segmap": {"encoder_output_dim": 32, "embedding_dim": 4, "res_hidden_dims": 8},
    "catalogue": {"mask_value": 9999},
    "scalar": {"modality": "EBV", "codebook_size": 1024, "reservoir_size": 5000},
    "log_scalar": {"modality": "FLUX_G", "codebook_size": 1024, "reservoir_size": 5000, "min_log_value": -3},
    "multi_scalar": {
        "modality": "bp_coefficients", "compression_fns": ["arcsinh"] * 2, "decompression_fns": ["sinh"] * 2,
        "codebook_size": 1024, "reservoir_size": 5000, "num_quantizers": 55,
    },
    "grid_scalar": {"modality": "Z", "codebook_size": 1024},
}  # fmt: skip
"""Kind -> config of a small one."""

SIZES: dict[str, dict[str, Any]] = {
    "image": {
        "quantizer_levels": [7, 5, 5, 5, 5], "hidden_dims": 512, "multisurvey_projection_dims": 54,
        "num_consecutive": 4,
    },
    "spectrum": {
        "encoder_depths": [3, 3, 27, 3], "encoder_dims": [64, 128, 256, 512], "decoder_depths": [3, 9, 3, 3],
        "decoder_dims": [256, 128, 64, 2], "latent_channels": 512, "embedding_dim": 10,
    },
}  # fmt: skip
"""Kind -> config of the published one."""

MODALITY = {
    "image": "HSCImage",
    "spectrum": "DESISpectrum",
    "segmap": "LegacySurveySegmentationMap",
    "catalogue": "LegacySurveyCatalog",
    "scalar": "LegacySurveyEBV",
    "log_scalar": "LegacySurveyFluxG",
    "multi_scalar": "GaiaXpBp",
    "grid_scalar": "Z",
}
"""Kind -> a modality of the published package that has such a codec."""


def peer(kind: str, seed: int = 1, **config: Any) -> Any:
    """A codec of the published package, redrawn."""
    made: Any = class_of(kind)(**{**CODECS[kind], **config})
    redraw(made, seed)
    if kind == "spectrum":
        _centre(made)
    return made.eval()


@torch.no_grad()
def _centre(made: Any) -> None:
    """Let the ids of spectra differ: what a deep network drawn at random says is nearly the same everywhere."""
    from aion.modalities import DESISpectrum

    latents, _ = made._encode(DESISpectrum(**spectra(1)))
    made.quant_conv.bias.sub_(latents.mean((0, 2)))


def ours(name: str, theirs: Any, tmp_path: Path, compat: str | None = codecs.PUBLISHED) -> Codec:
    """Ours, from the files that the published package writes."""
    from aion import modalities

    theirs.save_pretrained(tmp_path, modality=getattr(modalities, MODALITY[name]))
    return codecs.load(next(tmp_path.glob("codecs/*")), compat)
