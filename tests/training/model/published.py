"""The published model, small and redrawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.training.codecs.redraw import redraw
from training.model import files
from training.model.agreement import KEYS
from training.model.anytoany import AnyToAny


def peer(seed: int = 1, **config: Any) -> Any:
    """A published model of a size that tests can afford; every parameter redrawn."""
    from aion.model import AION

    sizes = {"dim": 32, "encoder_depth": 2, "decoder_depth": 2, "num_heads": 4, "mlp_ratio": 4.0, "qk_norm": True}
    biases = dict.fromkeys(["qkv_bias", "proj_bias", "mlp_bias", "norm_bias"], False)
    kinds = {"act_layer": "SiLU", "gated_mlp": True, "domains_in": KEYS, "domains_out": KEYS}
    model = AION({**sizes, **biases, **kinds, **config})
    redraw(model, seed)
    return model.eval()


def ours(theirs: Any, folder: Path, compat: str | None = None) -> AnyToAny:
    """Ours, from the files that the published package writes."""
    theirs.save_pretrained(folder)
    return files.load(folder, compat)
