"""AdamW (Loshchilov and Hutter 2019): which parameters decay, and how fast they change at a step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from training.recipes import ModelRecipe


def adamw(model: nn.Module, recipe: ModelRecipe) -> torch.optim.AdamW:
    """An optimiser of all parameters.

    The matrices of linear layers decay, the heads among them. Norms, biases, the mask token and all vectors that are
    looked up (of ids, of modalities) do not: pulling these to 0 says nothing about how large a layer's answer is.
    """
    looked_up = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for values in (values for values in model.parameters() if values.numel()):
        groups[values.ndim == 2 and id(values) not in looked_up].append(values)
    return torch.optim.AdamW(
        [
            {"params": groups[True], "weight_decay": recipe.weight_decay},
            {"params": groups[False], "weight_decay": 0.0},
        ],
        recipe.learning_rate,
        recipe.betas,
        fused=True if next(model.parameters()).is_cuda else None,
    )


def learning_rate(recipe: ModelRecipe, step: int) -> float:
    """Of a step, counted from 0: a linear rise, then half a cosine to 0 after the last."""
    if step < recipe.warm_up:
        return recipe.learning_rate * (step + 1) / recipe.warm_up
    done = min(1.0, (step - recipe.warm_up) / max(1, recipe.steps - recipe.warm_up))
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def begun(optimiser: torch.optim.Optimizer, updates: int) -> dict[Tensor, dict[str, Any]]:
    """The state of an optimiser, made where there is none yet: averages of 0, to be filled from a checkpoint.

    Args:
        updates: how often it has changed the parameters; AdamW counts them for each.
    """
    for group in optimiser.param_groups:
        for values in group["params"]:
            state = optimiser.state[values]
            for name in ("exp_avg", "exp_avg_sq"):
                state.setdefault(name, torch.zeros_like(values, memory_format=torch.preserve_format))
            place = values.device if group.get("fused") else "cpu"
            state["step"] = torch.tensor(float(updates), dtype=torch.float32, device=place)
    return dict(optimiser.state)
