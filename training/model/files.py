"""Models on disk: a folder of config.json and model.safetensors, ours or as the published package writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mmu.build.files import write_bytes
from mmu.errors import FormatError, UsageError
from training.modalities import Modality
from training.model.anytoany import AnyToAny
from training.model.config import ModelConfig

WEIGHTS, CONFIG = "model.safetensors", "config.json"
_TABLES = {
    "tokens.weight": ("encoder_embeddings.{}.token_emb.weight",),
    "modality.weight": ("encoder_embeddings.{}.mod_emb", "decoder_embeddings.{}.mod_emb"),
    "heads.weight": ("decoder_embeddings.{}.to_logits.weight",),
    "sequence_tokens.weight": ("decoder_embeddings.{}.token_emb.weight",),
}
"""Our table -> under which of the published names a modality's part of it may be; they tie the two `mod_emb`."""


def load(path: str | Path, compat: str | None = None) -> AnyToAny:
    """The model in a folder, or of a name on the Hub, ready to predict.

    Args:
        path: a folder, or ORG/NAME on the Hub.
        compat: "aion-0.0.2" to predict as the published `AION.forward` does.

    Raises:
        UsageError: there is no model.
        FormatError: its files are damaged or do not belong together.
    """
    folder = _folder(path)
    try:
        about = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = safetensors.torch.load_file(folder / WEIGHTS)
    except (OSError, ValueError, safetensors.SafetensorError) as problem:
        raise FormatError(f"{folder} holds no readable model ({problem}).") from problem
    config = ModelConfig.of_json(about)
    published = any(name.startswith("encoder_embeddings.") for name in tensors)
    state = of_published(tensors, config) if published else tensors
    with torch.random.fork_rng(devices=[]):
        model = AnyToAny(replace(config, compat=compat or config.compat))
    take(model, state, str(folder))
    return model.eval()


def _folder(path: str | Path) -> Path:
    folder = Path(path)
    if (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file():
        return folder
    if folder.exists() or str(path).count("/") != 1:
        raise UsageError(f"{path} holds no model: {CONFIG} and {WEIGHTS} were expected, or give ORG/NAME on the Hub.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(path), allow_patterns=[CONFIG, WEIGHTS]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as problem:
        raise UsageError(f"{path} is no folder, and the Hub gives no such model ({problem}).") from problem


def take(model: AnyToAny, state: Mapping[str, Tensor], where: str) -> None:
    """Give a model its weights.

    Raises:
        FormatError: something lacks, is unknown or has another shape.
    """
    own = model.state_dict()
    missing = [name for name in own if name not in state]
    wrong = [name for name, values in state.items() if name not in own or own[name].shape != values.shape]
    if missing or wrong:
        odd = f"it lacks {missing[0]}" if missing else f"{wrong[0]} is unknown or of another shape"
        raise FormatError(f"{where} does not fit its config: {odd} ({len(missing) + len(wrong)} differences).")
    model.load_state_dict(dict(state))


def save(model: AnyToAny, folder: Path, about: Mapping[str, Any] | None = None, *, published: bool = False) -> None:
    """Write a model; an older one there is replaced.

    Args:
        about: facts about how it came to be, kept in `config.json` under `trained`.
        published: in the layout that the published package loads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: values.detach().cpu().contiguous() for name, values in model.state_dict().items()}
    config = model.config.as_published() if published else model.config.as_json()
    if published:
        state = to_published(state, model.config)
    write_bytes(folder / WEIGHTS, safetensors.torch.save(state, {"format": "pt"}))
    text = json.dumps({**config, **({"trained": dict(about)} if about else {})}, indent=2)
    write_bytes(folder / CONFIG, f"{text}\n".encode())


def _rows(config: ModelConfig, table: str) -> list[Modality]:
    return [row for row in config.rows if table != "sequence_tokens.weight" or row.kind == "sequence"]


def of_published(tensors: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Published weights under our names. What a grid's decoder never reads is left out, and so are zero biases.

    Raises:
        FormatError: a modality's weights are not there, or there are biases.
    """
    state = {}
    for name, values in tensors.items():
        if "_embeddings." in name:
            continue
        if name.endswith(".bias") and name != "decoder_proj_context.bias":
            if values.any():
                raise FormatError(f"The model has biases ({name}); such models are not read here.")
            continue
        state[name] = values
    for table, names in _TABLES.items():
        parts = [_part(tensors, row, names) for row in _rows(config, table)]
        state[table] = torch.cat(parts) if parts else torch.zeros(0, config.dim)
    return state


def _part(tensors: Mapping[str, Tensor], row: Modality, names: tuple[str, ...]) -> Tensor:
    for name in names:
        if name.format(row.key) in tensors:
            return tensors[name.format(row.key)].reshape(-1, tensors["mask_token"].shape[-1])
    raise FormatError(f"The model has no {names[0].format(row.key)}.")


def to_published(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Our weights under the published names; vectors that a grid's decoder never reads are zeros there."""
    from training.model.places import positions_of

    out = {name: values for name, values in state.items() if name not in _TABLES}
    for name in [name for name in out if name.endswith("norm.weight") or ".norm" in name or "_norm." in name]:
        out[name.removesuffix("weight") + "bias"] = torch.zeros_like(out[name])
    for table, names in _TABLES.items():
        rows = _rows(config, table)
        sizes = [1 if table == "modality.weight" else row.vocabulary for row in rows]
        for row, part in zip(rows, torch.split(state[table], sizes), strict=True):
            shaped = part.reshape(1, 1, -1) if table == "modality.weight" else part
            out[names[-1].format(row.key)] = shaped.clone()
    for row in config.rows:
        unread = f"decoder_embeddings.{row.key}.token_emb.weight"
        out.setdefault(unread, torch.zeros(row.vocabulary, config.dim))
        for side in ("encoder", "decoder"):
            out[f"{side}_embeddings.{row.key}.pos_emb"] = positions_of(row, config.dim)[None].clone()
    return out
