"""Batches as torch tensors, on the device that asks for them; the stream as an IterableDataset."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch.utils.data import IterableDataset

from crossmatch.stream.arrays import Array
from crossmatch.stream.batch import Batch
from crossmatch.stream.stream import Stream


class TorchStream(Stream, IterableDataset[Any]):
    """A stream that `torch.utils.data.DataLoader` takes, with `batch_size=None`: each worker makes other batches."""


class Device:
    """Puts batches on a device; what they were copied from is held until the copy is done."""

    def __init__(self, device: str, arrays: tuple[tuple[Array, ...], ...], names: list[str]) -> None:
        self.device = torch.device(device)
        self._on_their_way: deque[tuple[Any, Any]] = deque()
        self._narrow = {
            (name, array.name) for name, listed in zip(names, arrays, strict=True) for array in listed
            if array.dtype == "bfloat16"
        }  # fmt: skip

    def __call__(self, batch: Batch) -> Batch:
        """The same batch with tensors instead of arrays; on the CPU they share memory."""
        held = batch.sides, batch.present, batch.separation
        batch.sides = {
            side: {name: self._tensor(value, (side, name) in self._narrow) for name, value in columns.items()}
            for side, columns in batch.sides.items()
        }
        batch.present = {side: self._tensor(value) for side, value in batch.present.items()}
        batch.separation = {side: self._tensor(value) for side, value in batch.separation.items()}
        if self.device.type == "cuda":
            event: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
            self._on_their_way.append((event, held))
            while len(self._on_their_way) > 2 or (self._on_their_way and self._on_their_way[0][0].query()):
                self._on_their_way.popleft()[0].synchronize()
        return batch

    def _tensor(self, value: Any, narrow: bool = False) -> Any:
        if isinstance(value, tuple):
            return self._tensor(value[0], narrow), self._tensor(value[1])
        if value.dtype == object:
            return value
        tensor = torch.from_numpy(value)
        moved = tensor if self.device.type == "cpu" else tensor.to(self.device, non_blocking=True)
        return moved.to(torch.bfloat16) if narrow else moved
