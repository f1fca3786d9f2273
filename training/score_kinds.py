"""How codecs of each kind are scored: a row of functions each.

Images and spectra are scored beside nothing but their level and principal components in as many bits, light curves
beside the mean of each band and lines from point to point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training import baselines, score_curves, scores
from training.codecs import light_curve
from training.codecs.bands import OWN
from training.score_samples import Sample


@dataclass(frozen=True)
class Kind:
    """How codecs of a kind are scored.

    Attributes:
        through: codec, arguments of `encode` but for the bands, bands -> ids, and fluxes as they come back.
        beside: codec, sample, sample that components are of, bits -> baseline -> fluxes.
        signal: sample, true fluxes -> signal to noise of each object.
        measured: sample, fluxes -> measure -> bias and scatter.
        scales: the first ids, of the brightness, which are not counted among the codes.
        without: sample -> it without some of its points, and which these are; None if they are measured all together.
    """

    through: Callable[[Any, Mapping[str, Any], Sequence[str]], tuple[Any, Any]]
    beside: Callable[[Any, Sample, Sample, float], dict[str, Any]]
    signal: Callable[[Sample, Any], NDArray[np.float64]]
    measured: Callable[[Sample, Any], dict[str, Any]]
    scales: int = 0
    without: Callable[[Sample], tuple[Sample, NDArray[np.bool_]]] | None = None


def _images_through(codec: Any, given: Mapping[str, Any], bands: Sequence[str]) -> tuple[Any, Any]:
    rows, columns = given["flux"].shape[2:]
    ids = codec.encode(**given, bands=bands)
    own = {name: given[name] for name in OWN if name in given}
    back = codec.decode(ids, bands, grid=codec.tokens((rows, columns)), **own)
    return ids, back[..., :rows, :columns]


def _spectra_through(codec: Any, given: Mapping[str, Any], bands: Sequence[str]) -> tuple[Any, Any]:
    ids = codec.encode(**given)
    return ids, codec.decode(ids, given["wavelength"]).flux


def _signal(sample: Sample, flux: Any) -> NDArray[np.float64]:
    return scores.signal_to_noise(sample.kind, flux, sample.ivar, sample.valid)


def _images_measured(sample: Sample, model: Any) -> dict[str, Any]:
    seen = sample.valid.astype(np.float32)
    return scores.image_scores(model * seen, np.nan_to_num(sample.truth) * seen, sample.ivar * seen, sample.bands)


def _spectra_measured(sample: Sample, model: Any) -> dict[str, Any]:
    wavelength, ivar = sample.given["wavelength"], sample.ivar
    return scores.spectrum_scores(model, np.nan_to_num(sample.truth), wavelength, ivar, sample.valid)


def _beside_images(codec: Any, sample: Sample, train: Sample, bits: float) -> dict[str, Any]:
    """Blank images, and components of the data (not of the truth, which no codec sees)."""
    known = train.valid
    deviation = np.where(known, 1 / np.sqrt(np.where(known, train.ivar, 1.0)), np.nan)
    noise = np.nan_to_num(np.nanmedian(deviation, axis=(0, 2, 3)), nan=1.0)
    pca = baselines.images_by_pca(_seen(train), _seen(sample), noise, bits)
    return {"blank": np.zeros_like(sample.truth), "pca": pca}


def _beside_spectra(codec: Any, sample: Sample, train: Sample, bits: float) -> dict[str, Any]:
    """Level spectra, and components."""
    width = float(np.median(1 / np.sqrt(train.ivar[train.valid])))
    grid = codec.latent_grid.wavelength.numpy()
    pairs = [(_seen(one), one.given["wavelength"]) for one in (train, sample)]
    pca = baselines.spectra_by_pca(pairs[0], pairs[1], grid, width, bits)
    return {"level": baselines.level_only(pairs[1][0], sample.valid), "pca": pca}


def _beside_curves(codec: Any, sample: Sample, train: Sample, bits: float) -> dict[str, Any]:
    return dict(score_curves.simple(sample))


def _seen(sample: Sample) -> NDArray[Any]:
    return np.where(sample.valid, np.nan_to_num(sample.given["flux"]), 0.0)


KINDS: dict[str, Kind] = {
    "image": Kind(_images_through, _beside_images, _signal, _images_measured),
    "spectrum": Kind(_spectra_through, _beside_spectra, _signal, _spectra_measured, scales=1),
    "light_curve": Kind(
        score_curves.through,
        _beside_curves,
        score_curves.variation,
        score_curves.measured,
        light_curve.SCALES,
        score_curves.without,
    ),
}
"""Of codec -> how it is scored."""
