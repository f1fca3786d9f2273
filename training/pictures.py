"""Pictures of what was learned: reconstructions beside what was given, and predictions beside the truth.

Needs matplotlib (the `plot` extra).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmatch.sources import own_name
from mmu.look import colour
from mmu.look.style import ACCENT, FAINT, INK, MARK, PALETTE, WIDTH_INCH, figure
from mmu.opening import open as opened
from training import codecs
from training.heldout import Tokens, having
from training.modalities import MODALITIES
from training.model import Model
from training.score_codecs import codecs_for, reconstructed
from training.score_kinds import KINDS
from training.score_samples import Sample, samples
from training.share import rows_of

SHOWN = 6
"""Objects of a picture."""
DRAWN = 3
"""Spectra that are drawn for each object."""


def draw_codecs(
    folder: Path,
    data: Sequence[str],
    out: Path,
    most: int,
    split: str | None = None,
    splits: Mapping[str, float] | None = None,
) -> list[Path]:
    """Reconstructions of every dataset by every codec in a folder that is for it, as `out`/CODEC-DATASET.png.

    Where several releases of a dataset are given, the names tell these too.

    Args:
        split: only that share of the sky. splits: all of them, see `mmu.stream`.
    """
    made, names = [], [own_name(path)[0] for path in data]
    for name, path in zip(names, data, strict=True):
        dataset = opened(path)
        whose = name if names.count(name) == 1 else f"{name}-{dataset.release}"
        rows = rows_of(dataset, split, splits)
        for codec_name in codecs_for(folder, name, dataset.columns):
            codec: Any = codecs.load(folder / codec_name)
            for number, sample in enumerate(samples(codec.kind, path, None, most, rows)):
                more = f"-{number + 1}" if number else ""
                made.append(reconstructions(codec, sample, out / f"{codec_name}-{whose}{more}.png"))
    return made


def reconstructions(codec: Any, sample: Sample, path: Path) -> Path:
    """Some objects of a sample, from faint to bright, and what the codec makes of their ids."""
    signal = KINDS[sample.kind].signal(sample, np.nan_to_num(sample.given["flux"]))
    order = np.argsort(np.nan_to_num(signal))
    chosen = order[np.linspace(0.5 * len(order), len(order) - 1, min(SHOWN, len(order))).astype(int)]
    some = sample.taken(chosen)
    model, _ = reconstructed(codec, some)
    _DRAW[sample.kind](some, model, [f"S/N {value:,.0f}" for value in signal[chosen]], path)
    return path


def _images(some: Sample, model: NDArray[Any], titles: Sequence[str], path: Path) -> None:
    flux, valid = np.nan_to_num(some.given["flux"]), some.valid
    noise = 1 / np.sqrt(np.where(valid, some.given["ivar"], np.nan))
    with figure(path, WIDTH_INCH, WIDTH_INCH * 2.15 / len(flux)) as page:
        axes = page.subplots(2, len(flux), squeeze=False)
        for column, title in enumerate(titles):
            spread = np.nan_to_num(np.nanmedian(noise[column], axis=(1, 2)), nan=1.0)
            for row, planes in enumerate((flux[column], model[column])):
                axes[row, column].imshow(_coloured(planes, valid[column], spread, some.bands), origin="lower")
                axes[row, column].set(xticks=[], yticks=[])
            axes[0, column].set_title(title)
        for row, words in enumerate(("given", "from its ids")):
            axes[row, 0].set_ylabel(words)


def _coloured(planes: NDArray[Any], valid: NDArray[np.bool_], noise: NDArray[Any], bands: Sequence[str]) -> Any:
    order = colour.order(bands)
    weights = colour.brightness([bands[place] for place in order], noise[order], calibrated=True)
    return colour.rgb(planes[order].astype(float), valid[order], noise[order], weights)[0]


def _spectra(some: Sample, model: NDArray[Any], titles: Sequence[str], path: Path) -> None:
    given = [np.where(some.valid, values, np.nan) for values in (some.given["flux"], model)]
    wave = some.given["wavelength"]
    with figure(path, WIDTH_INCH, 1.25 * len(titles)) as page:
        for row, (axis, title) in enumerate(
            zip(page.subplots(len(titles), 1, squeeze=False)[:, 0], titles, strict=True)
        ):
            good = some.valid[row]
            for flux, look in zip(given, ({"color": FAINT, "lw": 0.5}, {"color": ACCENT, "lw": 0.8}), strict=True):
                axis.plot(wave[row][good], flux[row][good], **look)
            _frame(axis, given[1][row][good], title)
        axis.set_xlabel("wavelength (Å): grey what was given, blue from its ids")


def _curves(some: Sample, model: NDArray[Any], titles: Sequence[str], path: Path) -> None:
    time, flux, band = (some.given[name] for name in ("time", "flux", "band"))
    with figure(path, WIDTH_INCH, 1.25 * len(titles)) as page:
        for row, axis in enumerate(page.subplots(len(titles), 1, squeeze=False)[:, 0]):
            for number, own in enumerate(colour.order(some.bands)):
                here = np.flatnonzero(some.valid[row] & (band[row] == own))
                here, look = here[np.argsort(time[row][here])], {"color": PALETTE[number % len(PALETTE)]}
                axis.plot(time[row][here], flux[row][here], ".", ms=2, alpha=0.5, **look)
                axis.plot(time[row][here], model[row][here], lw=0.8, label=some.bands[own], **look)
            axis.text(0.01, 0.82, titles[row], transform=axis.transAxes)
            axis.set_yticks([])
        axis.legend(ncols=6)
        axis.set_xlabel("time (d): points what was given, lines from its ids")


_DRAW = {"image": _images, "spectrum": _spectra, "light_curve": _curves}


def _frame(axis: Any, flux: NDArray[Any], title: str) -> None:
    """Limits that noisy pixels do not set, nor all but the highest of lines."""
    low, most, high = np.nanpercentile(flux, [1, 90, 100]) if np.isfinite(flux).any() else (0.0, 1.0, 1.0)
    room = 0.5 * (most - low) or 1.0
    axis.set_ylim(low - room, max(most + 2 * room, min(high + room, most + 12 * room)))
    axis.text(0.01, 0.82, title, transform=axis.transAxes)
    axis.set_yticks([])


def predictions(model: Model, test: Tokens, target: str, given: Sequence[str], path: Path) -> Path | None:
    """Objects that a model has not seen: true and predicted numbers, or spectra; None for what cannot be drawn."""
    row = MODALITIES[target]
    there = having(test, target, given)
    inputs = {key: test[key][there] for key in given}
    if row.tokens == 1:
        _scatter(model, target, inputs, test[target][there][:, 0], path)
    elif model.codec(target).kind == "spectrum":
        _drawn(model, target, inputs, test[target][there], path)
    else:
        return None
    return path


def _scatter(model: Model, target: str, inputs: Tokens, ids: NDArray[Any], path: Path) -> None:
    found = model.predict(target, inputs)
    truth, middle = found.values[ids], found.mean()
    low, high = found.quantile(0.16), found.quantile(0.84)
    with figure(path, 4.5, 4.5) as page:
        axis = page.subplots()
        axis.vlines(truth, low, high, color=FAINT, lw=0.6)
        axis.plot(truth, middle, ".", color=ACCENT, ms=4)
        ends = np.array([min(truth.min(), low.min()), max(truth.max(), high.max())])
        axis.plot(ends, ends, color=INK, lw=0.6)
        axis.set(xlabel=f"true {target}", ylabel="predicted: mean, and 68 % of the probability",
                 title=f"{target} given {', '.join(inputs)}", xlim=ends, ylim=ends)  # fmt: skip


def _drawn(model: Model, target: str, inputs: Tokens, ids: NDArray[Any], path: Path) -> None:
    """Spectra that the model draws, beside what the codec makes of the true ids."""
    chosen = np.linspace(0, len(ids) - 1, min(SHOWN, len(ids))).astype(int)
    drawn = model.generate(target, {key: values[chosen] for key, values in inputs.items()}, samples=DRAWN).ids
    known, *made = (model.decode(target, part) for part in (ids[chosen], *drawn))
    with figure(path, WIDTH_INCH, 1.25 * len(chosen)) as page:
        for place, axis in enumerate(page.subplots(len(chosen), 1, squeeze=False)[:, 0]):
            for one in made:
                axis.plot(one.wavelength[place].cpu(), one.flux[place].cpu(), color=MARK, lw=0.5, alpha=0.6)
            axis.plot(known.wavelength[place].cpu(), known.flux[place].cpu(), color=INK, lw=0.8)
            _frame(axis, known.flux[place].cpu().numpy(), "")
        axis.set_xlabel(f"wavelength (Å): black its own ids, orange {DRAWN} drawn given {', '.join(inputs)}")
