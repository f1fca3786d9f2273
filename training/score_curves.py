"""The scores of codecs of light curves: at the points that they were given, and at some that were kept from them.

At their own points, lines from point to point are the noisy data: chi-square 1 of the truth, with as many numbers as
points. At points that were kept from all methods they must guess, as the codec must.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training import baselines, scores
from training.score_samples import Sample

KEPT = 0.2
"""Share of the points that are kept from all methods."""


def through(codec: Any, given: Mapping[str, Any], bands: Sequence[str]) -> tuple[Any, Any]:
    """Ids, and what light curves are at all of their times, (objects, points), NaN where there is none."""
    time, band = given["time"], given["band"]
    known = np.isfinite(given["flux"]) & (given["flux_err"] > 0) & (band >= 0)
    first = np.where(known, time, np.inf).min(1, keepdims=True)
    ids = codec.encode(**given, bands=bands)
    days = np.nan_to_num(time - np.where(np.isfinite(first), first, 0.0))
    return ids, codec.decode(ids, days, band=band, bands=bands).flux


def without(sample: Sample) -> tuple[Sample, NDArray[np.bool_]]:
    """Light curves without some of their points, and which these are, (objects, points)."""
    kept = sample.valid & (np.random.default_rng(0).random(sample.truth.shape) < KEPT)
    error = np.where(kept, np.nan, sample.given["flux_err"])
    return replace(sample, given={**sample.given, "flux_err": error}), kept


def simple(sample: Sample) -> dict[str, NDArray[np.float64]]:
    """The mean of each band, and lines from point to point of each; the mean where it has none."""
    time, flux, band = (sample.given[name] for name in ("time", "flux", "band"))
    mean = scores.mean_of_bands(np.nan_to_num(flux), band, sample.ivar, sample.valid)
    lines = baselines.straight(time, flux, band, sample.valid)
    return {"mean": mean, "linear": np.where(np.isfinite(lines), lines, mean)}


def variation(sample: Sample, flux: Any) -> NDArray[np.float64]:
    """Of fluxes of its light curves, see `scores.variation`."""
    return scores.variation(flux, sample.given["band"], sample.ivar, sample.valid)


def measured(sample: Sample, model: Any) -> dict[str, Any]:
    """Bias and scatter, see `scores.curve_scores`."""
    truth = np.nan_to_num(sample.truth)
    return scores.curve_scores(model, truth, sample.given["band"], sample.ivar, sample.valid, sample.bands)
