"""Train a codec: `python -m training.train_codec image --data data/legacysurvey data/hsc --out codecs`.

image, spectrum    networks, trained from `mmu.stream`; the same command resumes
segmap             as these, of the maps of what is where; light_curve: of light curves
scalars            quantiles of every number in `training.modalities` that the datasets have
catalogue          quantiles of the shapes of listed sources
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmu.errors import UsageError, unknown
from training import command
from training.command import say

FEW = 2
"""Objects that a dry run tries a step with."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 if all is well, 2 if what was asked cannot be done."""
    return command.main(_parser(), arguments)


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("train_codec", __doc__)
    parser.add_argument("kind", choices=["image", "spectrum", "segmap", "light_curve", "scalars", "catalogue"])
    parser.add_argument("--data", nargs="+", required=True, metavar="PATH", help="datasets, as mmu.stream takes them")
    parser.add_argument("--out", type=Path, required=True, help="folder of codecs; the run's own files go there too")
    parser.add_argument("--recipe", help="of training/recipes.py; KIND-tiny if left out")
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    parser.add_argument("--batch-size", type=int, help="instead of the recipe's")
    parser.add_argument("--codes", type=int, help="of each number (scalars); 1024 if left out, fewer for few objects")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    command.add_share(parser)
    parser.add_argument("--threads", type=int, help="of torch; its own choice if left out")
    parser.add_argument("--log-every", type=int, default=20, metavar="STEPS")
    parser.add_argument("--save-every", type=int, default=500, metavar="STEPS")
    parser.add_argument("--dry-run", action="store_true", help="say what would be trained and how long it takes; stop")
    parser.set_defaults(run=_run)
    return parser


def _run(asked: argparse.Namespace) -> None:
    if asked.threads is not None:
        import torch

        torch.set_num_threads(asked.threads)
    if asked.kind in ("scalars", "catalogue"):
        from training.quantiles import fit_quantiles

        if asked.codes is not None and asked.codes < 2:
            raise UsageError(f"--codes {asked.codes}: give 2 or more.")
        how = {"only_catalogue": asked.kind == "catalogue", "codes": asked.codes, "dry": asked.dry_run}
        for folder in fit_quantiles(asked.data, asked.out, **how, **command.share(asked)):
            say(f"{'would write' if asked.dry_run else 'wrote'} {folder}")
        return
    from training.fit import Fit
    from training.recipes import CODECS

    name = asked.recipe or f"{asked.kind.replace('_', '-')}-tiny"
    of_kind = [key for key, recipe in CODECS.items() if recipe.kind == asked.kind]
    if name not in of_kind:
        raise unknown(f"recipe of {asked.kind} codecs", name, of_kind)
    changed = {"steps": asked.steps, "batch_size": asked.batch_size}
    recipe = replace(CODECS[name], **{key: value for key, value in changed.items() if value is not None})
    run = Fit(recipe, _batches(recipe, asked), asked.out / f"{recipe.folder}.run", asked.seed, asked.device)
    if asked.dry_run:
        _describe(run)
        return
    if run.resume():
        say(f"resumed at step {run.step} of {recipe.steps}")
    run.run(recipe.steps, asked.log_every, asked.save_every, _tell)
    say(f"wrote {run.finish(asked.out)}")


def _batches(recipe: Any, asked: argparse.Namespace) -> Any:
    """What the recipe is trained on."""
    from training.batches import Batches
    from training.maps import Curves, Maps

    share = command.share(asked)
    if recipe.kind == "segmap":
        return Maps(asked.data, recipe.batch_size, asked.seed, **share)
    if recipe.kind == "light_curve":
        return Curves(asked.data, recipe.batch_size, asked.seed, **share)
    return Batches(
        recipe.kind,
        asked.data,
        recipe.batch_size,
        asked.seed,
        crop=recipe.crop,
        weights=recipe.weights,
        turns=recipe.turns,
        shifts=recipe.shifts,
        **share,
    )


def _describe(run: Any) -> None:
    """Parameters, tokens, FLOPs, and how long a step of a few objects takes."""
    import numpy as np
    from torch.utils.flop_counter import FlopCounterMode

    given = {name: value[:FEW] if isinstance(value, np.ndarray) else value for name, value in run.batches(0).items()}
    with FlopCounterMode(display=False) as counter:
        started = time.perf_counter()
        loss, _ = run.advance(given)
        each = (time.perf_counter() - started) / len(loss.ids)
    flops, size = counter.get_total_flops() / len(loss.ids), run.recipe.batch_size
    count = sum(values.numel() for values in run.codec.parameters())
    objects = ", ".join(f"{number:,} of {name}" for name, number in run.batches.objects.items())
    say(f"objects       {objects}")
    say(f"parameters    {count:,} ({16 * count / 1e6:,.0f} MB with gradients and optimiser)")
    say(f"tokens        {loss.ids.shape[1]} an object, of {run.codec.vocabulary:,} ids")
    say(f"step          {size} objects, {flops * size / 1e9:,.1f} GFLOP, about {each * size:,.2f} s here")
    say(f"run           {run.recipe.steps:,} steps, about {run.recipe.steps * each * size / 3600:,.2f} hours here")


def _tell(entry: dict[str, Any]) -> None:
    say(
        f"step {entry['step']:>7,}  loss {entry['loss']:.4f}  chi-square {entry['chi_square']:.4f}  "
        f"perplexity {entry['perplexity']:.0f}  {entry['objects_per_second']:.1f} objects/s  "
        f"waiting for data {entry['data_wait']:.0%}"
    )


if __name__ == "__main__":
    sys.exit(main())
