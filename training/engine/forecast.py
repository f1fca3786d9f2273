"""What a run is going to be, in words, before it is begun: sizes, operations, memory, hours."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

import torch

from training.engine import flops, parallel
from training.engine.feed import Feed
from training.engine.optimiser import adamw
from training.engine.parallel import World
from training.model.anytoany import AnyToAny
from training.model.config import ModelConfig
from training.ragged import Batch
from training.recipes import ModelRecipe

FEW = {"cpu": 4, "cuda": 128}
"""Objects that a step is tried with."""
STATE = 16
"""Bytes of a parameter: itself, its gradient and two averages, in float32."""
ASSUMED = 0.4
"""Of a device's arithmetic, where a step is too large to be tried."""


def forecast(
    recipe: ModelRecipe, config: ModelConfig, feed: Feed, batch: Batch, world: World, dtype: torch.dtype
) -> list[str]:
    """Lines that say it.

    Args:
        feed: of the whole run, of which nothing is read. batch: a few of its objects.
    """
    with torch.device("meta"):
        count = sum(values.numel() for values in AnyToAny(config).parameters())
    objects, loader = batch.inputs.objects.count, feed.loader
    given, asked = len(batch.inputs.ids) / objects, sum(batch.targets.counts.values()) / objects
    each = flops.of_batch(config, batch) / objects
    part = recipe.batch_size // (world.size * loader.slices)
    kept = STATE * count / world.size + part * activations(config, given, asked, dtype)
    total = sum(loader.weights.values())
    mixture = (f"{name} {weight / total:.0%}" for name, weight in loader.weights.items() if weight)
    return [
        f"objects       {', '.join(f'{number:,} of {name}' for name, number in loader.objects.items())}",
        f"mixture       {', '.join(mixture)}",
        f"modalities    {len(config.modalities)}: {', '.join(config.modalities)}",
        f"parameters    {count:,} ({STATE * count / 1e9:,.2f} GB with gradients and optimiser)",
        f"tokens        {given:.0f} given and {asked:.0f} asked for of an object, "
        f"{recipe.batch_size * (given + asked):,.0f} a step",
        f"step          {recipe.batch_size:,} objects, {each / 1e9:,.4g} GFLOP an object",
        f"memory        about {kept / 1e9:,.1f} GB a process, {part:,} objects at a time",
        _hours(recipe, config, batch, world, dtype, each, count),
    ]


def activations(config: Any, given: float, asked: float, dtype: torch.dtype) -> float:
    """Bytes that an object's forward pass keeps for the backward pass, about."""
    layers = 4 * config.hidden
    # What the linear layers, norms and attention of a block were given, by token.
    encoder = config.encoder_depth * given * (9 * config.dim + layers)
    decoder = config.decoder_depth * (asked * (15 * config.dim + layers) + given * 3 * config.dim)
    return float((encoder + decoder) * dtype.itemsize)


def _hours(
    recipe: ModelRecipe, config: ModelConfig, batch: Batch, world: World, dtype: torch.dtype, each: float, count: int
) -> str:
    """Of the whole run on as many devices as there are processes."""
    peak, where = flops.peak(world.device, dtype)
    objects = batch.inputs.objects.count
    need = STATE * count + objects * activations(config, recipe.inputs, recipe.targets, torch.float32)
    if need < free(world.device) / 2:
        seconds = _timed(recipe, config, batch, world, dtype)
        used, how = each * objects / seconds / peak, f"a step of {objects} objects took {seconds:.2f} s"
    else:
        used, how = ASSUMED, "assumed: a step does not fit here"
    hours = recipe.steps * recipe.batch_size * each / (used * peak * world.size) / 3600
    return (
        f"run           {recipe.steps:,} steps, about {hours:,.2f} hours on {world.size} x {world.device.type} at "
        f"{used:.0%} of {peak / 1e12:,.2f} TFLOP/s ({how}; {where})"
    )


def _timed(recipe: ModelRecipe, config: ModelConfig, batch: Batch, world: World, dtype: torch.dtype) -> float:
    """Seconds of a step of a process alone, the second one; the optimiser's part is left out."""
    alone = replace(world, rank=0, size=1)
    model = parallel.lay(AnyToAny(config), alone)
    optimiser = adamw(model, recipe)
    there = batch.to(world.device)
    for _ in range(2):
        started = time.perf_counter()
        with parallel.computing(alone, dtype):
            loss = model(there).sum()
        loss.backward()
        optimiser.zero_grad()
        if world.device.type == "cuda":
            torch.cuda.synchronize(world.device)
    return time.perf_counter() - started


def free(device: torch.device) -> int:
    """Bytes of memory that a device has left."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
