"""The training of codecs with networks: one loop, logged, resumed where it was killed, to the same weights."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmu.errors import UsageError
from training import checkpoint, codecs
from training.batches import Batches
from training.codecs.quantize import Usage
from training.maps import Maps
from training.recipes import CodecRecipe

CHECKPOINT, LOG = "checkpoint.safetensors", "log.jsonl"
MOST_SKIPPED = 10


class Fit:
    """A run: a codec, its optimiser, and the step it is at.

    Args:
        out: folder of the checkpoint, the log and, at the end, the codec in `out/FOLDER`.
        device: to train on.
    """

    def __init__(
        self, recipe: CodecRecipe, batches: Batches | Maps, out: Path, seed: int = 0, device: str = "cpu"
    ) -> None:
        self.recipe, self.batches, self.out, self.seed, self.device = recipe, batches, out, seed, device
        torch.manual_seed(seed)
        self.codec: Any = codecs.make(recipe.kind, **recipe.config).to(device).train()
        self.optimiser = torch.optim.AdamW(
            self.codec.parameters(), recipe.learning_rate, recipe.betas, weight_decay=recipe.weight_decay
        )
        self.average = {name: values.detach().clone() for name, values in self.codec.named_parameters()}
        self.step = self.skipped = 0

    @property
    def facts(self) -> dict[str, Any]:
        """What a resumed run must agree in."""
        kept = {name: value for name, value in asdict(self.recipe).items() if name != "steps"}
        facts: dict[str, Any] = json.loads(json.dumps({"recipe": kept, "seed": self.seed}))
        return facts

    def learning_rate(self, step: int) -> float:
        """A linear rise, then constant or half a cosine to 0 at the last step."""
        r = self.recipe
        if step < r.warm_up:
            return r.learning_rate * (step + 1) / r.warm_up
        if r.schedule == "constant":
            return r.learning_rate
        return r.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - r.warm_up) / max(1, r.steps - r.warm_up)))

    def resume(self) -> bool:
        """Go on from the checkpoint in `out`; False where there is none.

        Raises:
            UsageError: it is of another recipe, seed or data.
        """
        path = self.out / CHECKPOINT
        if not path.is_file():
            return False
        tensors, state = checkpoint.read(path)
        if state["facts"] != self.facts:
            raise UsageError(f"{path} is of another recipe or seed; give another --out, or remove it to begin anew.")
        self.codec.take({n.removeprefix("codec."): v for n, v in tensors.items() if n.startswith("codec.")}, str(path))
        checkpoint.to_optimiser(self.optimiser, tensors)
        self.average = {
            n.removeprefix("average."): v.to(self.device) for n, v in tensors.items() if n.startswith("average.")
        }
        self.step, self.skipped = state["step"], state["skipped"]
        self.batches.load(state["batches"])
        return True

    def save(self) -> None:
        """Write the checkpoint."""
        tensors = {f"codec.{name}": values for name, values in self.codec.state_dict().items()}
        tensors |= {f"average.{name}": values for name, values in self.average.items()}
        tensors |= checkpoint.of_optimiser(self.optimiser)
        state = {"facts": self.facts, "step": self.step, "skipped": self.skipped, "batches": self.batches.state()}
        checkpoint.write(self.out / CHECKPOINT, tensors, state)

    def advance(self, given: dict[str, Any]) -> tuple[Any, float]:
        """One step; the loss, and the norm of its gradient.

        Raises:
            UsageError: too many gradients were not finite.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(self.step)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.codec.loss(**given)
        loss.value.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(self.codec.parameters(), self.recipe.clip))
        if math.isfinite(norm):
            self.optimiser.step()
            self._averaged()
        else:
            self.skipped += 1
            if self.skipped > MOST_SKIPPED:
                raise UsageError(f"{self.skipped} gradients were not finite; try a smaller learning rate.")
        self.step += 1
        return loss, norm

    @torch.no_grad()
    def _averaged(self) -> None:
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step)) if self.recipe.ema else 0.0
        for name, values in self.codec.named_parameters():
            self.average[name].lerp_(values, 1 - decay)

    def run(self, steps: int, every: int, save_every: int, say: Callable[[dict[str, Any]], None]) -> None:
        """Train up to a step, tell and log every so many, and write the checkpoint."""
        self.out.mkdir(parents=True, exist_ok=True)
        usage, window, started, waited = (
            Usage(self.codec.vocabulary),
            _Window(),
            time.perf_counter(),
            self.batches.wait(),
        )
        with (self.out / LOG).open("a", encoding="utf-8") as log:
            while self.step < steps:
                loss, norm = self.advance(self.batches(self.step))
                usage.add(loss.ids)
                window.add(loss, norm)
                if self.step % every == 0 or self.step == steps:
                    seconds = time.perf_counter() - started
                    entry = {
                        "step": self.step,
                        **window.means(),
                        "learning_rate": self.learning_rate(self.step - 1),
                        "perplexity": round(usage.perplexity, 2),
                        "dead_codes": usage.dead,
                        "skipped": self.skipped,
                        "objects_per_second": round(window.objects / seconds, 2),
                        "data_wait": round((self.batches.wait() - waited) / seconds, 4),
                    }
                    log.write(json.dumps(entry) + "\n")
                    log.flush()
                    say(entry)
                    usage, window = Usage(self.codec.vocabulary), _Window()
                    started, waited = time.perf_counter(), self.batches.wait()
                if self.step % save_every == 0 or self.step == steps:
                    self.save()

    def finish(self, codecs_folder: Path) -> Path:
        """Write the codec, with its averaged weights where there are any."""
        finished = codecs.make(self.recipe.kind, **self.recipe.config)
        finished.load_state_dict({**self.codec.state_dict(), **self.average})
        finished.trained = {
            **self.facts,
            "steps": self.step,
            "objects": self.batches.objects,
            "split": self.batches.split,
        }
        finished.save(codecs_folder / self.recipe.folder)
        return codecs_folder / self.recipe.folder


class _Window:
    """Sums of the steps since the last entry of the log."""

    def __init__(self) -> None:
        self.steps = self.objects = 0
        self.sums = {"loss": 0.0, "chi_square": 0.0, "gradient": 0.0}

    def add(self, loss: Any, norm: float) -> None:
        """One more step."""
        self.steps += 1
        self.objects += len(loss.ids)
        values: dict[str, float | Tensor] = {
            "loss": loss.value.detach(),
            "chi_square": loss.chi_square,
            "gradient": norm,
        }
        for name, value in values.items():
            self.sums[name] += float(value)

    def means(self) -> dict[str, float]:
        """Of each."""
        return {name: total / self.steps for name, total in self.sums.items()}
