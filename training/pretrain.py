"""Train an any-to-any model: `python -m training.pretrain --recipe demo --data tokens/legacysurvey --out run`.

On several GPUs: `torchrun --nproc-per-node 8 -m training.pretrain --recipe base ...`. The same command goes on from the
last checkpoint in OUT, with as many processes as it is given. SIGTERM or SIGUSR1 to a process writes a checkpoint and
ends all of them with 0. torchrun hands SIGTERM on to them, but itself ends with 1; SIGUSR1 it does not know unless
TORCHELASTIC_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 is set.

OUT/log.jsonl, OUT/events        losses, speed; for TensorBoard where it is installed
OUT/checkpoints                  the last few
OUT/model.safetensors            at the end, with config.json beside it: `training.model.Model.from_pretrained(OUT)`
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmu.errors import UsageError, unknown
from training import command
from training.command import say


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 if all is well or it was asked to stop, 2 if what was asked cannot be done."""
    return command.main(_parser(), arguments)


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("pretrain", __doc__)
    parser.add_argument("--recipe", required=True, help="of training/recipes.py: test, demo, base, large, xlarge")
    parser.add_argument("--data", nargs="+", required=True, metavar="PATH", help="folders of tokens, or datasets")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument(
        "--codecs", type=Path, metavar="DIR", help="that tokens must be of; datasets are encoded by them"
    )
    command.add_share(parser)
    parser.add_argument("--init", metavar="WEIGHTS", help="go on from a model: a folder, or ORG/NAME on the Hub")
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    parser.add_argument("--batch-size", type=int, metavar="OBJECTS", help="a step, of all processes; the recipe's")
    parser.add_argument("--accumulate", type=int, default=1, metavar="PARTS", help="of a process's share of a step")
    parser.add_argument("--seed", type=int, help="instead of the recipe's")
    parser.add_argument("--device", default="auto", help="cpu, cuda, ...; a GPU where there is one")
    parser.add_argument("--dtype", default="auto", help="of products: float32 or bfloat16; bfloat16 on a GPU")
    parser.add_argument("--compile", action="store_true", help="blocks, on a GPU: a minute at first, then faster")
    parser.add_argument("--threads", type=int, help="of torch; its own choice if left out")
    parser.add_argument("--log-every", type=int, default=20, metavar="STEPS")
    parser.add_argument("--save-every", type=int, default=1000, metavar="STEPS")
    parser.add_argument("--keep", type=int, default=2, metavar="CHECKPOINTS")
    parser.add_argument("--profile", action="store_true", help="write OUT/trace.json of a few steps")
    parser.add_argument("--dry-run", action="store_true", help="say what would be trained and how long it takes; stop")
    parser.set_defaults(run=_run)
    return parser


def _run(asked: argparse.Namespace) -> None:
    import torch

    from training.engine import parallel

    recipe = _recipe(asked)
    if asked.threads is not None:
        torch.set_num_threads(asked.threads)
    with parallel.join(asked.device) as world:
        dtype = parallel.precision(asked.dtype, world.device)
        torch.manual_seed(recipe.seed)
        model = _begun(recipe, asked.init)
        if asked.dry_run:
            _forecast(asked, recipe, model, world, dtype)
        else:
            _train(asked, recipe, model, world, dtype)


def _recipe(asked: argparse.Namespace) -> Any:
    from training.recipes import MODELS

    if asked.recipe not in MODELS:
        raise unknown("recipe", asked.recipe, MODELS)
    for name in ("steps", "batch_size", "accumulate", "log_every", "save_every", "keep"):
        value = getattr(asked, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value}: give 1 or more.")
    changed = {"steps": asked.steps, "batch_size": asked.batch_size, "seed": asked.seed}
    return replace(MODELS[asked.recipe], **{key: value for key, value in changed.items() if value is not None})


def _begun(recipe: Any, weights: str | None) -> Any:
    """The model to go on from; None for a fresh one.

    Raises:
        UsageError: it has other sizes than the recipe.
    """
    if weights is None:
        return None
    from training.model import files

    model = files.load(weights).train()
    other = {name: value for name, value in recipe.model.items() if getattr(model.config, name) != value}
    if other:
        told = ", ".join(f"{name} is {getattr(model.config, name)}, not {value}" for name, value in other.items())
        raise UsageError(f"{weights} is of another size than the recipe ({told}); give the recipe that it is of.")
    return model


def _feed(asked: argparse.Namespace, recipe: Any, model: Any, world: Any, accumulate: int) -> Any:
    from training.engine import feed

    known = None if model is None else model.config.modalities
    how = {**command.share(asked), "codecs": asked.codecs, "known": known}
    return feed.opened(asked.data, recipe, world, accumulate=accumulate, **how)


def _config(recipe: Any, model: Any, feed: Any) -> Any:
    if model is not None:
        return model.config
    from training.model.config import ModelConfig

    return ModelConfig(recipe.modalities or feed.loader.keys, **recipe.model)


def _train(asked: argparse.Namespace, recipe: Any, model: Any, world: Any, dtype: Any) -> None:
    from mmu.build.files import writable
    from training.engine import parallel, profile, signals
    from training.engine.loop import Trainer
    from training.model.anytoany import AnyToAny

    writable(asked.out)
    with ExitStack() as stack:
        feed = _feed(asked, recipe, model, world, asked.accumulate)
        stack.callback(feed.close)
        laid = parallel.lay(model or AnyToAny(_config(recipe, model, feed)), world, dtype, asked.compile)
        run = Trainer(laid, recipe, feed, asked.out, world, dtype)
        run.say = say
        if run.resume() and world.first:
            say(f"resumed at step {run.step:,} of {recipe.steps:,}")
        stop = stack.enter_context(signals.watched())
        each = stack.enter_context(profile.traced(asked.out, world)) if asked.profile else lambda: None
        how = {"every": asked.log_every, "save_every": asked.save_every, "keep": asked.keep}
        ended = run.run(**how, tell=_tell, stop=stop, each=each)
        if ended:
            run.finish()
        if world.first:
            at = f"asked to stop at step {run.step:,}; the same command goes on"
            say(f"wrote {asked.out}" if ended else at)


def _forecast(asked: argparse.Namespace, recipe: Any, model: Any, world: Any, dtype: Any) -> None:
    """Of the whole run, from a few of its objects."""
    from training.engine.forecast import FEW, forecast

    feed = _feed(asked, recipe, model, world, asked.accumulate)
    few = min(recipe.batch_size, FEW.get(world.device.type, 1))
    some = _feed(asked, replace(recipe, batch_size=few), model, replace(world, rank=0, size=1), 1)
    batch = some.loader.step(0).batches[0]
    if not batch.inputs.objects.count:
        raise UsageError(f"None of the first {few} objects has tokens to give and to ask for; see `mmu tokenize`.")
    if world.first:
        for line in forecast(recipe, _config(recipe, model, feed), feed, batch, world, dtype):
            say(line)


def _tell(entry: dict[str, Any]) -> None:
    say(
        f"step {entry['step']:>7,}  loss {entry['loss']:.4f}  gradient {entry['gradient']:.2f}  "
        f"{entry['tokens_per_second']:,.0f} tokens/s  {entry['objects_per_second']:,.1f} objects/s  "
        f"{entry['mfu']:.1%} of peak  waiting for data {entry['data_wait']:.0%}"
    )


if __name__ == "__main__":
    sys.exit(main())
