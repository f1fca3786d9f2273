"""Small runs, for tests and for the processes that they start.

python -m tests.training.engine.runs alone OUT        a slow run, to be killed
torchrun -m tests.training.engine.runs pair OUT       all that needs two processes
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tests.training.engine.drawn import KEYS, Drawn
from training.engine import parallel
from training.engine.log import LOG
from training.engine.loop import Trainer
from training.engine.parallel import World
from training.engine.signals import Stop, watched
from training.model.anytoany import AnyToAny
from training.model.config import ModelConfig
from training.recipes import MODELS, ModelRecipe

ROOT = Path(__file__).resolve().parents[3]
"""Where the processes are started."""
NAME = "tests.training.engine.runs"
ALONE = World(0, 1, torch.device("cpu"))
RECIPE = MODELS["test"]
LONELY = "catalog"


def trainer(out: Path, recipe: ModelRecipe = RECIPE, world: World = ALONE, **drawn: Any) -> Trainer:
    """A run of the test recipe on drawn tokens."""
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    keys = (*KEYS, *((drawn["lonely"],) if drawn.get("lonely") else ()))
    model = parallel.lay(AnyToAny(ModelConfig(keys, **recipe.model)), world)
    return Trainer(model, recipe, Drawn(recipe, world.rank, world.size, **drawn), out, world)


def run(made: Trainer, until: int | None = None, stop: Stop | None = None, pause: float = 0.0, **how: Any) -> Trainer:
    """Up to the end, or to a step as if it were killed after it."""

    def tell(entry: dict[str, Any]) -> None:
        time.sleep(pause)
        if entry["step"] == until:
            raise KeyboardInterrupt

    try:
        made.run(every=1, tell=tell, stop=stop or Stop(), **{"save_every": 5, **how})
    except KeyboardInterrupt:
        assert until is not None
    return made


def losses(out: Path) -> dict[int, float]:
    """Step -> loss, as logged."""
    entries = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    return {entry["step"]: entry["loss"] for entry in entries}


def alone(out: Path) -> None:
    """Until it is killed, or asked to stop."""
    with watched() as stop:
        made = trainer(out)
        made.resume()
        run(made, stop=stop, pause=0.1)


def pair(out: Path) -> None:
    """Two processes: a whole run; one in two parts of a step; one asked to stop; one that goes on from one process."""
    with parallel.join("cpu") as world:
        run(trainer(out / "whole", world=world), keep=9).finish()
        run(trainer(out / "parts", world=world, accumulate=2), save_every=1000)
        run(trainer(out / "lonely", replace(RECIPE, steps=3), world, lonely=LONELY)).finish()
        widened = trainer(out / "widened", world=world)
        assert widened.resume()
        run(widened, save_every=1000)
        stop = Stop()
        stop.asked = world.rank == 1
        assert not run(trainer(out / "stopped", world=world), stop=stop).step > 1


if __name__ == "__main__":
    {"alone": alone, "pair": pair}[sys.argv[1]](Path(sys.argv[2]))
