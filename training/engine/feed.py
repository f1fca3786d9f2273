"""Tokens for a trainer: token shards, or datasets that are encoded as they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmu.errors import FormatError, UsageError
from training.engine.parallel import World
from training.loader import Loader, Step
from training.masking import Masking
from training.ragged import Batch
from training.recipes import ModelRecipe
from training.sources import Shards, Source
from training.token_shards import about

Part = tuple[str | None, Mapping[str, float] | None]
"""Name of a split, and the shares of all."""


class Feed:
    """What a `Trainer` is trained on: a loader's steps by their number.

    Steps that follow one another are made ahead in a thread.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self._steps: Iterator[Step] | None = None

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a resumed run must agree in."""
        return {
            "objects": self.loader.objects,
            "weights": self.loader.weights,
            "window": self.loader.window,
            "codecs": self.loader.codecs,
        }

    def __call__(self, step: int) -> Sequence[Batch]:
        """This process's share of a step's objects, in parts, on the host."""
        first = step * self.loader.batch_size
        if self._steps is None or self.loader.samples != first:
            self.close()
            self.loader.samples = first
            self._steps = iter(self.loader)
        return next(self._steps).batches

    def close(self) -> None:
        """No steps are made ahead any more."""
        if self._steps is not None:
            self._steps.close()  # type: ignore[attr-defined]
            self._steps = None


def opened(
    paths: Sequence[str],
    recipe: ModelRecipe,
    world: World,
    *,
    accumulate: int = 1,
    split: str | None = None,
    splits: Mapping[str, float] | None = None,
    codecs: Path | None = None,
    known: Sequence[str] | None = None,
) -> Feed:
    """What a recipe is trained on.

    Args:
        paths: folders of token shards, or datasets and matches.
        accumulate: parts of this process's share of a step.
        split: only that share of the sky. splits: all of them, see `mmu.stream`.
        codecs: folder of those that the tokens must be of, or are made by.
        known: modalities of a model that there is already; others in the data are left out.

    Raises:
        UsageError: there are no tokens and no codecs to make them; the recipe has a modality that the data do not.
    """
    keys = recipe.modalities or known
    sources = [_source(path, keys, recipe.seed, world, (split, splits), codecs) for path in paths]
    loader = Loader(
        sources,
        Masking(recipe.inputs, recipe.targets, recipe.input_counts, recipe.target_counts, recipe.hidden),
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        weights=recipe.mixture or None,
        rank=world.rank,
        world=world.size,
        slices=accumulate,
    )
    missing = [key for key in recipe.modalities if key not in loader.keys]
    if missing:
        raise UsageError(
            f"The data have no {', '.join(missing)}; they have {', '.join(loader.keys)}. Leave it out of the recipe, "
            "or give data that have it."
        )
    return Feed(loader)


def _source(path: str, keys: Sequence[str] | None, seed: int, world: World, part: Part, codecs: Path | None) -> Source:
    if _has_tokens(Path(path)):
        return Shards(Path(path), codecs, keys, *part, seed=seed)
    if codecs is None:
        raise UsageError(f"{path} holds no token shards; `mmu tokenize` makes them, or give codecs to encode it by.")
    from training.on_the_fly import OnTheFly

    return OnTheFly(path, codecs, keys, *part, device=str(world.device))


def _has_tokens(folder: Path) -> bool:
    """True for a folder of token shards; for one of a dataset's shards, False."""
    try:
        about(next(folder.glob("dataset/Norder=*/Dir=*/Npix=*.parquet")))
    except (StopIteration, FormatError):
        return False
    return True
