"""The scores of codecs on datasets: against noiseless twins of them where there are any, beside baselines.

Which codecs a dataset is for, the table of modalities says; how those of a kind are scored, `score_kinds.KINDS`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crossmatch.sources import own_name
from mmu.errors import UsageError
from mmu.opening import open as opened
from training import codecs, scores
from training.codecs import Codec
from training.codecs.quantize import Usage
from training.modalities import MODALITIES
from training.score_kinds import KINDS
from training.score_samples import COLUMNS, Sample, samples
from training.share import rows_of

AT_ONCE = 16
"""Objects that are encoded together."""

Release = tuple[str, str]
"""Names of a dataset and of its release."""


def reconstructed(codec: Any, sample: Sample, shuffle: bool = False) -> tuple[NDArray[Any], Usage]:
    """What the codec makes of a sample, as its fluxes are; and how it used its codes.

    Args:
        shuffle: tell the codec the next band's name for each band.
    """
    usage, parts, kind = Usage(codec.vocabulary), [], KINDS[sample.kind]
    bands = [*sample.bands[1:], *sample.bands[:1]] if shuffle else list(sample.bands)
    for start in range(0, len(sample.truth), AT_ONCE):
        ids, back = kind.through(codec, sample.taken(slice(start, start + AT_ONCE)).given, bands)
        usage.add(ids[:, kind.scales :])
        parts.append(back.nan_to_num().numpy())
    return np.concatenate(parts), usage


def score(codec: Any, sample: Sample, train: Sample | None = None, shuffle: bool = False) -> dict[str, Any]:
    """Scores of a codec and of the baselines on a sample.

    Args:
        train: what the components are of; the sample itself if left out, which flatters them.
        shuffle: also with the bands' names shuffled.
    """
    kind, valid, ivar = KINDS[sample.kind], sample.valid, sample.ivar
    models, usage, bits = _models(codec, sample, train or sample, shuffle)
    signal = kind.signal(sample, np.nan_to_num(sample.truth))
    methods: dict[str, dict[str, Any]] = {}
    for name, one in models.items():
        own = scores.chi_square(one, sample.truth, ivar, valid)
        methods[name] = {"chi_square": scores.binned(sample.kind, own, signal), **kind.measured(sample, one)}
    if kind.without is not None:
        shown, kept = kind.without(sample)
        for name, one in _models(codec, shown, train or sample, shuffle)[0].items():
            own = scores.chi_square(one, sample.truth, ivar, kept)
            methods[name]["not_shown"] = scores.binned(sample.kind, own, signal)
    used = int((usage.counts > 0).sum())
    told = {"perplexity": round(usage.perplexity, 1), "used": used, "share": used / codec.vocabulary}
    return {"objects": len(sample.truth), "bands": list(sample.bands), "bits": round(bits), "codes": told, **methods}


def _models(codec: Any, sample: Sample, train: Sample, shuffle: bool) -> tuple[dict[str, Any], Usage, float]:
    """Method -> fluxes; how the codec used its codes, and how many bits it has for an object."""
    model, usage = reconstructed(codec, sample)
    bits = float(np.prod(codec.tokens(sample.truth.shape[1:]))) * float(np.log2(codec.vocabulary))
    models = {"codec": model}
    if shuffle and len(sample.bands) > 1:
        models["codec, bands shuffled"] = reconstructed(codec, sample, shuffle=True)[0]
    return models | KINDS[sample.kind].beside(codec, sample, train, bits), usage, bits


def score_folder(
    folder: Path,
    data: Sequence[str],
    truth: Sequence[str] = (),
    train: Sequence[str] = (),
    *,
    most: int = 1000,
    shuffle: bool = False,
    split: str | None = None,
    splits: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Codec -> dataset -> scores, of every codec in a folder that a dataset is for and that has scores.

    Args:
        train: what components are fitted to; the datasets themselves if left out.
        split: only that share of the sky, and components of what is not in it. splits: all of them, see `mmu.stream`.

    Raises:
        UsageError: there is none; a truth, or a dataset to fit components to, is of no dataset given.
    """
    twins, others = (_by_release(paths, data, what) for what, paths in (("--truth", truth), ("--train", train)))
    found: dict[str, Any] = {}
    for path in data:
        (name, release), dataset = _release(path), opened(path)
        there, fitted = twins.get((name, release)), others.get((name, release), path if split else None)
        rows = rows_of(dataset, split, splits)
        for codec_name in codecs_for(folder, name, dataset.columns):
            codec: Codec = codecs.load(folder / codec_name)
            trained = {one.alike: one for one in _outside(codec.kind, fitted, most, split, splits)}
            for sample in samples(codec.kind, path, there, most, rows):
                with torch.no_grad():
                    told = score(codec, sample, trained.get(sample.alike), shuffle)
                components = fitted if sample.alike in trained else "the objects that are scored"
                about = {"release": release, "against": "truth" if there else "data", "pca_of": components}
                found.setdefault(codec_name, {}).setdefault(name, []).append({**about, **told})
    if not found:
        raise UsageError(f"{folder} has no codec of {', '.join(COLUMNS)} for {', '.join(map(str, data))}.")
    return found


def _outside(
    kind: str, path: str | None, most: int, split: str | None, splits: Mapping[str, float] | None
) -> list[Sample]:
    """Objects of a dataset, where there is one, that are not in a split."""
    if path is None:
        return []
    rows = rows_of(opened(path), split, splits)
    return samples(kind, path, None, most, None if rows is None else ~rows)


def _release(path: str) -> Release:
    return own_name(path)[0], opened(path).release


def _by_release(paths: Sequence[str], data: Sequence[str], what: str) -> dict[Release, str]:
    """Path of each; each must be of a dataset given, and of its release."""
    known = {own_name(path)[0] for path in data}
    for path in paths:
        if own_name(path)[0] not in known:
            raise UsageError(
                f"{what} {path} is of {own_name(path)[0]!r}, which is not among --data ({', '.join(sorted(known))})."
            )
    releases, by_release = {_release(path) for path in data}, {_release(path): path for path in paths}
    for (name, release), path in by_release.items():
        if (name, release) not in releases:
            raise UsageError(f"{what} {path} is of the release {release!r}, which --data have no {name} of.")
    return by_release


def codecs_for(folder: Path, name: str, columns: Container[str] | None = None) -> list[str]:
    """Codecs in a folder that have scores, and that the table of modalities has for a survey.

    Args:
        columns: that the survey's dataset has; any if left out.
    """
    sources = ((row.codec, row.source(name)) for row in MODALITIES.values())
    wanted = {codec: source.column for codec, source in sources if source and source.column in COLUMNS.values()}
    there = [codec for codec, column in wanted.items() if columns is None or column in columns]
    return [codec for codec in there if (folder / codec / "config.json").is_file()]
