"""Where a run is: a folder a checkpoint, whole or not there, for any number of processes; no pickle.

    OUT/checkpoints/step-000001000/
        state.json                          step, objects seen, and all that a run which goes on must agree in
        shard-*.safetensors                 weights and averages of their gradients, each process's share

Random numbers are functions of the seed and the object's number: there is no generator to be kept. The learning rate
is a function of the step.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn, optim
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from mmu.build.files import write_json
from mmu.errors import FormatError, MmuError
from training.engine.optimiser import begun
from training.engine.parallel import World

FOLDER, STATE, PART = "checkpoints", "state.json", ".part"
State = dict[str, Any]


def _folder(out: Path, step: int) -> Path:
    return out / FOLDER / f"step-{step:09d}"


def steps(out: Path) -> list[int]:
    """Of the whole checkpoints in a run's folder, in order."""
    found = [path.parent.name.removeprefix("step-") for path in (out / FOLDER).glob(f"step-*/{STATE}")]
    return sorted(int(name) for name in found if name.isdigit())


def save(out: Path, state: State, model: nn.Module, optimiser: optim.Optimizer, world: World, keep: int) -> Path:
    """Write a checkpoint, and drop all but the last `keep`; every process must call it.

    Args:
        state: with `step` and `updates`, how often the optimiser has changed the weights.
    """
    folder = _folder(out, state["step"])
    part = folder.with_name(folder.name + PART)
    if world.first:
        for old in (out / FOLDER).glob(f"*{PART}"):
            shutil.rmtree(old)
        part.mkdir(parents=True, exist_ok=True)
    world.wait()
    writer = HuggingFaceStorageWriter(str(part), save_distributed=True)
    with _alone(world):
        state_dict_saver.save(
            _tensors(model, optimiser, state["updates"]), storage_writer=writer, no_dist=world.size == 1
        )
    world.wait()
    if world.first:
        write_json(part / STATE, state)
        _synced(part)
        if folder.exists():
            shutil.rmtree(folder)
        part.replace(folder)
        _synced(folder.parent)
        for step in steps(out)[: -max(1, keep)]:
            shutil.rmtree(_folder(out, step))
    world.wait()
    return folder


def state_of(out: Path, step: int) -> State:
    """What a checkpoint says of itself.

    Raises:
        FormatError: it is damaged.
    """
    path = _folder(out, step) / STATE
    try:
        state: State = json.loads(path.read_text(encoding="utf-8"))
        if state["step"] != step:
            raise FormatError(f"{path} is of step {state['step']}, its folder of {step}.")
    except (OSError, ValueError, KeyError, TypeError) as problem:
        if isinstance(problem, MmuError):
            raise
        raise FormatError(_damaged(path.parent, problem)) from problem
    return state


def difference(theirs: Any, ours: Any, name: str) -> str:
    """The first thing in which two facts differ."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            if theirs.get(key) != ours.get(key):
                return difference(theirs.get(key), ours.get(key), f"{name}.{key}")
    return f"{name} was {theirs!r}, now {ours!r}"


def load(out: Path, state: State, model: nn.Module, optimiser: optim.Optimizer, world: World) -> None:
    """Give a model and its optimiser what a checkpoint has, be it of more or fewer processes.

    Raises:
        FormatError: it is damaged, or of another model.
    """
    folder = _folder(out, state["step"])
    tensors = _tensors(model, optimiser, state["updates"])
    reader = HuggingFaceStorageReader(str(folder))
    try:
        with _alone(world):
            state_dict_loader.load(tensors, storage_reader=reader, no_dist=world.size == 1)
    # It has errors of its own for some of what can be wrong, which are no Exception, and passes on others'.
    except (Exception, CheckpointException) as problem:
        raise FormatError(_damaged(folder, problem)) from problem


@contextmanager
def _alone(world: World) -> Iterator[None]:
    """One process is meant, and need not be told that it is one."""
    with warnings.catch_warnings():
        if world.size == 1:
            warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        yield


def _damaged(folder: Path, problem: BaseException) -> str:
    words = str(problem).strip().splitlines()[-1:] or [type(problem).__name__]
    return f"{folder} is no whole checkpoint of this model ({words[0]}); remove it to go on from the one before."


def _tensors(model: nn.Module, optimiser: optim.Optimizer, updates: int) -> dict[str, Tensor]:
    """What is kept, under names that do not depend on how it is spread; filled in place when read."""
    tensors: dict[str, Tensor] = {}
    states = begun(optimiser, updates)
    for name, values in model.named_parameters():
        if not values.numel():
            continue
        tensors[f"model.{name}"] = values.detach()
        for kind in ("exp_avg", "exp_avg_sq"):
            tensors[f"optimiser.{name}.{kind}"] = states[values][kind]
    return tensors


def gathered(model: nn.Module) -> dict[str, Tensor]:
    """All weights on the host of the first process, nothing elsewhere; every process must call it."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights: dict[str, Any] = get_model_state_dict(model, options=options)
    return weights


def _synced(folder: Path) -> None:
    """Names in a folder are on disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
