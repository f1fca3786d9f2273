"""Where a run is, in one file: tensors and a JSON text beside them, written whole or not at all; no pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mmu.errors import FormatError


def write(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Replace the checkpoint at `path`; the old one stays until the new one is whole on disk."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: values.detach().cpu().contiguous() for name, values in tensors.items()}
    try:
        safetensors.torch.save_file(whole, part, metadata={"state": json.dumps(state)})
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the state of a checkpoint.

    Raises:
        FormatError: the file is damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            state: dict[str, Any] = json.loads(file.metadata()["state"])
            return {name: file.get_tensor(name) for name in file.keys()}, state  # noqa: SIM118
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as problem:
        msg = f"{path} is no checkpoint of a run ({problem}); remove it to begin anew."
        raise FormatError(msg) from problem


def of_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's state as tensors with names."""
    states = optimiser.state_dict()["state"]
    return {
        f"optimiser.{index}.{name}": torch.as_tensor(values)
        for index, state in states.items()
        for name, values in state.items()
    }


def to_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser the state of `of_optimiser`."""
    whole = optimiser.state_dict()
    states: dict[int, dict[str, Tensor]] = {}
    for key, values in tensors.items():
        if key.startswith("optimiser."):
            _, index, name = key.split(".", 2)
            states.setdefault(int(index), {})[name] = values
    optimiser.load_state_dict({**whole, "state": states})
