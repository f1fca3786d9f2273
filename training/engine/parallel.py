"""Which processes train together, and how a model is laid over them.

    with parallel.join("auto") as world:                        alone, or as torchrun says
        model = parallel.lay(AnyToAny(config), world, parallel.precision("auto", world.device))

Alone, a model is a plain module. Together, each process keeps a share of every parameter (PyTorch's FSDP2).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from mmu.errors import UsageError, unknown

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class World:
    """The processes, and which of them this is.

    Attributes:
        rank, size: this process among all. device: its own.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """True in the process that writes and speaks."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Of all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def join(device: str = "auto") -> Iterator[World]:
    """The processes that torchrun (or srun, with its variables set) started; one where it did not.

    Args:
        device: cpu, cuda, cuda:1, ...; "auto" for a GPU where there is one.

    Raises:
        UsageError: there is no such device, or there are fewer than processes.
    """
    rank, size, local = (int(os.environ.get(name, number)) for name, number in _VARIABLES.items())
    place = _device(device, local)
    if size == 1:
        yield World(0, 1, place)
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
        dist.init_process_group("cpu:gloo,cuda:nccl", device_id=place)
    else:
        dist.init_process_group("gloo")
    try:
        yield World(rank, size, place)
    finally:
        dist.destroy_process_group()


_VARIABLES = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}


def _device(asked: str, local: int) -> torch.device:
    if asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(asked)
    except RuntimeError as problem:
        raise unknown("device", asked, ["auto", "cpu", "cuda"]) from problem
    if place.type != "cuda":
        return place
    there = torch.cuda.device_count()
    number = local if place.index is None else place.index
    if number >= there:
        raise UsageError(f"There are {there} GPUs here, and number {number} was asked for; start fewer processes.")
    return torch.device("cuda", number)


def precision(asked: str, device: torch.device) -> torch.dtype:
    """What products are taken in; "auto" is bfloat16 on a GPU, float32 elsewhere. Weights are kept in float32.

    Raises:
        UsageError: there is no such choice.
    """
    if asked == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if asked not in DTYPES:
        raise unknown("dtype", asked, ["auto", *DTYPES])
    return DTYPES[asked]


def lay(model: Any, world: World, dtype: torch.dtype = torch.float32, compiled: bool = False) -> Any:
    """A model on the device; over all processes, a share of each parameter in each.

    Its blocks, `model.encoder` and `model.decoder`, are gathered one at a time and compiled one by one: all have one
    shape, so that one is compiled for all.
    """
    model = model.to(world.device)
    blocks = [*model.encoder, *model.decoder]
    if compiled:
        for block in blocks:
            block.compile()
    if world.size == 1:
        return model
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(world.device.type, (world.size,))
    # A table of nothing, of a model without sequences, cannot be shared out.
    empty = {values for values in model.parameters() if not values.numel()}
    policy = MixedPrecisionPolicy(None if dtype == torch.float32 else dtype, torch.float32)
    # Before it is sharded, so that the hook sees whole parameters.
    model.register_forward_hook(_touch)
    for block in blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy, ignored_params=empty)
    return model


def _touch(model: Any, given: Any, sums: Tensor) -> Tensor:
    """Let every parameter outside the blocks have a part, of 0, in what a model returns.

    FSDP2 adds up those gradients that a process has. Were a table of vectors used in one process only, the others would
    add up fewer numbers, and all would wait for ever.
    """
    apart = {id(values) for block in (*model.encoder, *model.decoder) for values in block.parameters()}
    others = [values for values in model.parameters() if values.numel() and id(values) not in apart]
    nothing = torch.stack([values.flatten()[0] for values in others]).sum() * 0.0
    return sums + nothing.to(sums.dtype)


def computing(world: World, dtype: torch.dtype) -> Any:
    """The context of a forward pass: autocast where a plain module is to compute in fewer bits."""
    if world.size > 1 or dtype == torch.float32:
        return nullcontext()
    return torch.autocast(world.device.type, dtype)


def reduces(model: nn.Module, now: bool) -> None:
    """Whether the next backward pass adds up the gradients of all processes; only the last of a step has to."""
    if hasattr(model, "set_requires_gradient_sync"):
        model.set_requires_gradient_sync(now)  # type: ignore[operator]


def whole(values: Tensor) -> Tensor:
    """A number that is spread over processes."""
    if not isinstance(values, DTensor):
        return values
    full: Tensor = values.full_tensor()
    return full
