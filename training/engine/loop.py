"""The training of any-to-any models: a step, and a run of them, resumed where it was killed to the same weights.

The loss of a step is the sum of all predicted tokens' cross-entropy, each times its modality's weight, by the sum of
those weights, over the whole batch: neither how many processes share it nor into how many parts it is cut shows.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from mmu import __version__
from mmu.errors import UsageError
from training import ragged
from training.engine import checkpoints, flops, parallel
from training.engine.log import Entry, Log
from training.engine.meter import Meter
from training.engine.optimiser import adamw, learning_rate
from training.engine.parallel import World
from training.engine.signals import Stop
from training.modalities import MODALITIES, version
from training.model import files
from training.model.anytoany import AnyToAny
from training.ragged import Batch, Cells
from training.recipes import ModelRecipe

MOST_SKIPPED = 10
"""Gradients in a row that may be not finite."""


class Batches(Protocol):
    """What a run is trained on."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a resumed run must agree in: the data, and the codecs of their tokens."""

    def __call__(self, step: int) -> Sequence[Batch]:
        """This process's share of a step's objects, in parts, on the host. A function of the step alone."""


class Trainer:
    """A run: a model, its optimiser, and the step it is at.

    Args:
        model: laid over the processes by `parallel.lay`.
        out: folder of the log, the checkpoints and, at the end, the weights.
        dtype: products are taken in.
    """

    def __init__(
        self,
        model: Any,
        recipe: ModelRecipe,
        batches: Batches,
        out: Path,
        world: World,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.model, self.recipe, self.batches, self.out, self.world, self.dtype = (
            model, recipe, batches, out, world, dtype,
        )  # fmt: skip
        self.optimiser = adamw(model, recipe)
        keys = model.config.modalities
        self.weights = torch.tensor([recipe.weights.get(key, 1.0) for key in keys], device=world.device)
        self.meter = Meter(model.config, self.weights, world, flops.peak(world.device, dtype)[0])
        self.step = self.skipped = self.in_a_row = 0
        self.say: Callable[[str], None] = lambda words: None

    @property
    def facts(self) -> dict[str, Any]:
        """What a resumed run must agree in."""
        kept = {name: value for name, value in asdict(self.recipe).items() if name != "steps"}
        whole = {
            "recipe": kept,
            "model": self.model.config.as_json(),
            "data": dict(self.batches.facts),
            "modalities": version(self.model.config.modalities),
        }
        facts: dict[str, Any] = json.loads(json.dumps(whole))
        return facts

    def resume(self) -> bool:
        """Go on from the last checkpoint in `out`; False where there is none.

        Raises:
            UsageError: it is of another recipe, model or data.
            FormatError: it is damaged.
        """
        there = checkpoints.steps(self.out)
        if not there:
            return False
        state = checkpoints.state_of(self.out, there[-1])
        own = self.facts
        other = [name for name in own if state["facts"].get(name) != own[name]]
        if other:
            told = ", ".join(checkpoints.difference(state["facts"].get(name), own[name], name) for name in other)
            raise UsageError(
                f"The checkpoint in {self.out} is of another run ({told}); give what it was given, or another --out."
            )
        checkpoints.load(self.out, state, self.model, self.optimiser, self.world)
        self.step, self.skipped = state["step"], state["skipped"]
        return True

    def save(self, keep: int = 2) -> None:
        """Write a checkpoint."""
        state = {
            "step": self.step,
            "objects": self.step * self.recipe.batch_size,
            "skipped": self.skipped,
            "updates": self.step - self.skipped,
            "processes": self.world.size,
            "code": __version__,
            "facts": self.facts,
        }
        checkpoints.save(self.out, state, self.model, self.optimiser, self.world, keep)

    def finish(self) -> Path:
        """Write the weights of all processes as one model, which `training.model.files` loads; the folder."""
        weights = checkpoints.gathered(self.model)
        if self.world.first:
            with torch.device("meta"):
                plain = AnyToAny(self.model.config)
            plain.load_state_dict(weights, assign=True)
            facts = {**self.facts, "steps": self.step, "objects": self.step * self.recipe.batch_size}
            files.save(plain, self.out, {**facts, "skipped": self.skipped, "code": __version__})
        self.world.wait()
        return self.out

    def advance(self, stop: Stop | None = None) -> bool:
        """One step; False if a process was asked to stop.

        Raises:
            UsageError: too many gradients in a row were not finite.
        """
        started = time.perf_counter()
        parts = self.batches(self.step)
        waited = time.perf_counter() - started
        total, asked = self._total(parts, bool(stop))
        for number, batch in enumerate(parts):
            parallel.reduces(self.model, number == len(parts) - 1)
            sums = self._sums(batch)
            # FSDP2 takes the mean over processes of what is to be a sum.
            loss = (sums * self.weights).sum() * self.world.size / total
            loss.backward()  # type: ignore[no-untyped-call]
            self.meter.add(batch, sums)
        norm = self._update()
        self.meter.step(norm, waited)
        self.step += 1
        return not asked.item()

    def _sums(self, batch: Batch) -> Tensor:
        """Cross-entropy by modality; a part without objects still takes its turn, as other processes wait for it."""
        empty = not batch.inputs.objects.count
        whole = self._something() if empty else batch
        with parallel.computing(self.world, self.dtype):
            sums: Tensor = self.model(whole.pin().to(self.world.device))
        return sums * 0.0 if empty else sums

    def _something(self) -> Batch:
        """An object with a token that is given and one that is asked for."""
        row = MODALITIES[self.model.config.modalities[0]]
        place, one = (np.array([number], np.int64) for number in (0, row.id))
        cells = Cells(place, one, place, place)
        return ragged.batch(1, cells, cells, place)

    def _total(self, parts: Sequence[Batch], stop: bool) -> tuple[Tensor, Tensor]:
        """Weights of all processes' tokens, and how many were asked to stop; on the device, not waited for."""
        weights = self.recipe.weights
        own = sum(weights.get(key, 1.0) * count for part in parts for key, count in part.targets.counts.items())
        both = self.world.sum(torch.tensor([own, float(stop)], dtype=torch.float64).to(self.world.device))
        return both[0].float(), both[1]

    def _update(self) -> float:
        """Change the weights, unless a gradient is not finite; the norm of all of them, which every process knows."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step)
            for values in group["params"]:
                # What no object of the batch has is still averaged: else it would depend on how a batch is cut.
                if values.grad is None:
                    values.grad = torch.zeros_like(values)
        own = [values for group in self.optimiser.param_groups for values in group["params"]]
        norm = float(parallel.whole(torch.nn.utils.clip_grad_norm_(own, self.recipe.clip)))
        if math.isfinite(norm):
            self.optimiser.step()
            self.in_a_row = 0
        else:
            self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1
        self.optimiser.zero_grad(set_to_none=True)
        if self.in_a_row > MOST_SKIPPED:
            raise UsageError(
                f"{self.in_a_row} gradients in a row were not finite, the last at step {self.step + 1:,}; go on from "
                "the checkpoint before with a smaller learning rate, or look at the data."
            )
        return norm

    def run(
        self,
        *,
        every: int = 20,
        save_every: int = 1000,
        keep: int = 2,
        tell: Callable[[Entry], None],
        stop: Stop,
        each: Callable[[], None] = lambda: None,
    ) -> bool:
        """Train up to the recipe's last step, tell and log every so many, and write checkpoints.

        Args:
            each: called after each step.

        Returns:
            False if it was asked to stop before; a checkpoint is written then, too.
        """
        log = Log(self.out, self.step, self.say) if self.world.first else None
        going = True
        try:
            while going and self.step < self.recipe.steps:
                going = self.advance(stop)
                each()
                ends = not going or self.step == self.recipe.steps
                if ends or self.step % every == 0:
                    self._tell(log, tell)
                if ends or self.step % save_every == 0:
                    self.save(keep)
        finally:
            if log is not None:
                log.close()
        return self.step == self.recipe.steps

    def _tell(self, log: Log | None, tell: Callable[[Entry], None]) -> None:
        rate = learning_rate(self.recipe, self.step - 1)
        entry = {"step": self.step, "learning_rate": rate, "skipped": self.skipped, **self.meter.entry()}
        entry["objects_left_out"] = entry.pop("steps") * self.recipe.batch_size - entry.pop("objects")
        if log is not None:
            log.write(entry)
            tell(entry)
