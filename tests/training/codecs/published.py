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

pytest.importorskip("aion", reason="the published package, polymathic-aion, is not installed")

CODECS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "image": (
        "aion.codecs.image:ImageCodec",
        "image",
        {
            "quantizer_levels": [7, 5, 5, 5, 5], "hidden_dims": 16, "multisurvey_projection_dims": 6,
            "num_consecutive": 1,
        },
    ),
    "spectrum": (
        "aion.codecs.spectrum:SpectrumCodec",
        "spectrum",
        {
            "encoder_depths": [1, 1, 2, 1], "encoder_dims": [8, 16, 24, 32], "decoder_depths": [1, 2, 1, 1],
            "decoder_dims": [24, 16, 8, 2], "latent_channels": 32, "embedding_dim": 10,
        },
    ),
    "segmap": (
        "aion.codecs.scalar_field:ScalarFieldCodec",
        "segmap",
        {"encoder_output_dim": 32, "embedding_dim": 4, "res_hidden_dims": 8},
    ),
    "catalogue": ("aion.codecs.catalog:CatalogCodec", "catalogue", {"mask_value": 9999}),
    "scalar": (
        "aion.codecs.scalar:ScalarCodec", "scalar", {"modality": "EBV", "codebook_size": 1024, "reservoir_size": 5000}
    ),
    "log_scalar": (
        "aion.codecs.scalar:LogScalarCodec",
        "log_scalar",
        {"modality": "FLUX_G", "codebook_size": 1024, "reservoir_size": 5000, "min_log_value": -3},
    ),
    "multi_scalar": (
        "aion.codecs.scalar:MultiScalarCodec",
        "multi_scalar",
        {
            "modality": "bp_coefficients", "compression_fns": ["arcsinh"] * 2, "decompression_fns": ["sinh"] * 2,
            "codebook_size": 1024, "reservoir_size": 5000, "num_quantizers": 55,
        },
    ),
    "grid_scalar": ("aion.codecs.scalar:GridScalarCodec", "grid_scalar", {"modality": "Z", "codebook_size": 1024}),
}  # fmt: skip


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


def peer(name: str, seed: int = 1, **config: Any) -> Any:
    """A codec of the published package, redrawn."""
    import importlib

    where, _, small = CODECS[name]
    module, _, attribute = where.partition(":")
    made: Any = getattr(importlib.import_module(module), attribute)(**{**small, **config})
    redraw(made, seed)
    return made.eval()


def ours(name: str, theirs: Any, tmp_path: Path, compat: str | None = codecs.PUBLISHED) -> Codec:
    """Ours, from the files that the published package writes."""
    from aion import modalities

    theirs.save_pretrained(tmp_path, modality=getattr(modalities, MODALITY[name]))
    return codecs.load(next(tmp_path.glob("codecs/*")), compat)


def images(bands: list[str], count: int = 3, side: int = 110, seed: int = 3) -> Any:
    """Images in which no value is like another, and some are beyond every bound."""
    from aion.modalities import HSCImage, LegacySurveyImage

    random = torch.Generator().manual_seed(seed)
    flux = (
        torch.randn(count, len(bands), side, side, generator=random)
        * torch.logspace(-2, 1.5, count)[:, None, None, None]
    )
    return (HSCImage if bands[0].startswith("HSC") else LegacySurveyImage)(flux=flux, bands=bands)


def spectra(count: int = 3, pixels: int = 7781, seed: int = 4) -> dict[str, torch.Tensor]:
    """Spectra on DESI's wavelengths, all of them good."""
    random = torch.Generator().manual_seed(seed)
    wavelength = (3600.0 + 0.8 * torch.arange(pixels)).expand(count, -1).contiguous()
    flux = torch.randn(count, pixels, generator=random) * 2 + torch.tensor([0.5, 5.0, 80.0])[:count, None]
    ivar = torch.rand(count, pixels, generator=random) * 3 + 0.1
    return {"flux": flux, "wavelength": wavelength, "ivar": ivar, "mask": torch.zeros(count, pixels, dtype=torch.bool)}
