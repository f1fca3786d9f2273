"""The scores of codecs on datasets: against noiseless twins of them where there are any, beside two baselines.

A twin is the same simulated sky without noise: `mmu build legacysurvey --source simulated:7:noiseless`, of what was
built from `simulated:7`. It has the same objects, masks and inverse variances. Without one the data are the measure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crossmatch.sources import own_name
from mmu.errors import UsageError
from mmu.opening import open as opened
from training import baselines, codecs, scores
from training.codecs import Codec
from training.codecs.quantize import Usage
from training.inputs import pieces
from training.modalities import MODALITIES, Source

COLUMNS = {"image": ("band", "flux", "ivar", "mask", "psf_fwhm"), "spectrum": ("flux", "ivar", "mask", "lambda")}
"""Kind of codec -> members of its column that are read."""
AT_ONCE = 16
"""Objects that are encoded together."""


@dataclass(frozen=True)
class Sample:
    """Objects of one kind with the same bands.

    Attributes:
        given: arrays of `encode`, the first axis the object. bands: of images, else empty.
        truth: fluxes, as `given["flux"]`; the same array where there is no truth.
    """

    kind: str
    given: Mapping[str, NDArray[Any]]
    bands: tuple[str, ...]
    truth: NDArray[Any]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Pixels that tell something; masks of images say which are good, of spectra which are bad."""
        mask = np.asarray(self.given.get("mask", self.kind == "image"), bool)
        good = mask if self.kind == "image" else ~mask & (self.given["wavelength"] > 0)
        ivar = self.given["ivar"]
        return np.asarray(good & (ivar > 0) & np.isfinite(ivar) & np.isfinite(self.given["flux"]))

    def taken(self, rows: NDArray[np.int64]) -> Sample:
        """Some of its objects."""
        given = {name: values[rows] for name, values in self.given.items()}
        return Sample(self.kind, given, self.bands, self.truth[rows])


def samples(kind: str, path: str, truth: str | None = None, most: int = 1000) -> list[Sample]:
    """The first objects of a dataset by what bands they have.

    Raises:
        UsageError: it has no such column; the truth has other objects, or other pixels.
    """
    parts: dict[tuple[str, ...], list[tuple[dict[str, Any], Any]]] = {}
    for given, bands, known in _pieces(kind, path, truth, most):
        parts.setdefault(bands, []).append((given, known))
    found = []
    for bands, several in parts.items():
        names = several[0][0]
        joined = {name: _joined([given[name] for given, _ in several]) for name in names}
        found.append(Sample(kind, joined, bands, _joined([known for _, known in several])))
    if not found:
        raise UsageError(f"{path} has no {kind} to score a codec on.")
    return found


def _pieces(
    kind: str, path: str, truth: str | None, most: int
) -> Iterator[tuple[dict[str, Any], tuple[str, ...], Any]]:
    """Arguments of `encode`, bands and true fluxes, a few rows at a time."""
    dataset, twin = opened(path), None if truth is None else opened(truth)
    if kind not in dataset.columns:
        raise UsageError(f"{path} has no column {kind!r}, which {kind} codecs are of.")
    names, source, left = [f"{kind}.{member}" for member in COLUMNS[kind]], Source("", kind), most
    have = dataset.schema.field(kind).type
    names = [name for name in names if have.get_field_index(name.split(".")[1]) >= 0]
    for batch in dataset.batches([dataset.id_column, *names], 64):
        count = min(left, len(batch[dataset.id_column]))
        rows = list(pieces(kind, _first(batch[kind], count), source))
        known = rows if twin is None else _twins(twin, kind, batch[dataset.id_column][:count], f"{kind}.flux", names)
        for (_, given), (_, true) in zip(rows, known, strict=True):
            bands = tuple(given.pop("bands", ()))
            if given["flux"].shape != true["flux"].shape:
                raise UsageError(f"{truth} has other pixels than {path}: build both from the same simulated sky.")
            yield given, bands, np.asarray(true["flux"])
        left -= count
        if left <= 0:
            return


def _twins(twin: Any, kind: str, ids: Any, flux: str, names: Sequence[str]) -> list[Any]:
    """The pieces of the same objects in the truth, in the same order."""
    from mmu.decoding import decode

    table = twin.table([twin.id_column, *names], ids=[str(name) for name in ids])
    order = {name: row for row, name in enumerate(table[twin.id_column].to_pylist())}
    rows = [order[str(name)] for name in ids]
    return list(pieces(kind, decode(table.take(rows).combine_chunks())[kind], Source("", kind)))


def _first(column: Mapping[str, Any], count: int) -> dict[str, Any]:
    return {name: values[:count] for name, values in column.items()}


def _joined(arrays: Sequence[Any]) -> NDArray[Any]:
    """One after the other; spectra are padded to the longest."""
    longest = max(array.shape[-1] for array in arrays)
    if arrays[0].ndim == 2 and any(array.shape[-1] < longest for array in arrays):
        arrays = [np.pad(array, ((0, 0), (0, longest - array.shape[-1]))) for array in arrays]
    return np.concatenate([np.asarray(array) for array in arrays])


def reconstructed(codec: Any, sample: Sample, shuffle: bool = False) -> tuple[NDArray[Any], Usage]:
    """What the codec makes of a sample, as its fluxes are; and how it used its codes.

    Args:
        shuffle: tell the codec the next band's name for each band.
    """
    usage, parts = Usage(codec.vocabulary), []
    bands = [*sample.bands[1:], *sample.bands[:1]] if shuffle else list(sample.bands)
    for start in range(0, len(sample.truth), AT_ONCE):
        given: dict[str, Any] = {name: values[start : start + AT_ONCE] for name, values in sample.given.items()}
        if sample.kind == "image":
            ids = codec.encode(**given, bands=bands)
            rows, columns = given["flux"].shape[2:]
            grid = codec.tokens((rows, columns))
            back = codec.decode(ids, bands, grid=grid, psf_fwhm=given.get("psf_fwhm"))[..., :rows, :columns]
        else:
            ids = codec.encode(**given)
            back = codec.decode(ids, given["wavelength"]).flux
        usage.add(ids if sample.kind == "image" else ids[:, 1:])
        parts.append(back.nan_to_num().numpy())
    return np.concatenate(parts), usage


def score(codec: Any, sample: Sample, train: Sample | None = None, shuffle: bool = False) -> dict[str, Any]:
    """Scores of a codec and of the baselines on a sample.

    Args:
        train: what the components are of; the sample itself if left out, which flatters them.
        shuffle: also with the bands' names shuffled.
    """
    valid, ivar = sample.valid, sample.given["ivar"]
    model, usage = reconstructed(codec, sample)
    bits = float(np.prod(codec.tokens(sample.truth.shape[1:]))) * float(np.log2(codec.vocabulary))
    models = {"codec": model}
    if shuffle and len(sample.bands) > 1:
        models["codec, bands shuffled"] = reconstructed(codec, sample, shuffle=True)[0]
    models |= _baselines(codec, sample, train or sample, bits)
    signal = scores.signal_to_noise(sample.kind, sample.truth, ivar, valid)
    methods = {}
    for name, one in models.items():
        own = scores.chi_square(one, sample.truth, ivar, valid)
        methods[name] = {"chi_square": scores.binned(sample.kind, own, signal), **_measured(sample, one)}
    used = int((usage.counts > 0).sum())
    told = {"perplexity": round(usage.perplexity, 1), "used": used, "share": used / codec.vocabulary}
    return {"objects": len(sample.truth), "bands": list(sample.bands), "bits": round(bits), "codes": told, **methods}


def _measured(sample: Sample, model: Any) -> dict[str, Any]:
    """Fluxes and shapes, or lines."""
    ivar, valid = sample.given["ivar"], sample.valid
    if sample.kind == "image":
        seen = valid.astype(np.float32)
        return scores.image_scores(model * seen, np.nan_to_num(sample.truth) * seen, ivar * seen, sample.bands)
    return scores.spectrum_scores(model, np.nan_to_num(sample.truth), sample.given["wavelength"], ivar, valid)


def _baselines(codec: Any, sample: Sample, train: Sample, bits: float) -> dict[str, Any]:
    """Blank images or level spectra, and components of the data (not of the truth, which no codec sees)."""
    ivar = train.given["ivar"]
    flux = [np.where(one.valid, np.nan_to_num(one.given["flux"]), 0.0) for one in (train, sample)]
    if sample.kind == "image":
        deviation = np.where(train.valid, 1 / np.sqrt(np.where(train.valid, ivar, 1.0)), np.nan)
        noise = np.nan_to_num(np.nanmedian(deviation, axis=(0, 2, 3)), nan=1.0)
        return {"blank": np.zeros_like(sample.truth), "pca": baselines.images_by_pca(flux[0], flux[1], noise, bits)}
    level = baselines.level_only(flux[1], sample.valid)
    width = float(np.median(1 / np.sqrt(ivar[train.valid])))
    grid = codec.latent_grid.wavelength.numpy()
    pairs = [(one, part.given["wavelength"]) for one, part in zip(flux, (train, sample), strict=True)]
    return {"level": level, "pca": baselines.spectra_by_pca(pairs[0], pairs[1], grid, width, bits)}


def score_folder(
    folder: Path,
    data: Sequence[str],
    truth: Sequence[str] = (),
    train: Sequence[str] = (),
    *,
    most: int = 1000,
    shuffle: bool = False,
) -> dict[str, Any]:
    """Codec -> dataset -> scores, of every image and spectrum codec in a folder that a dataset is for.

    Raises:
        UsageError: there is none; a truth, or a dataset to fit components to, is of no dataset given.
    """
    others = [_by_name(paths, data, what) for what, paths in (("--truth", truth), ("--train", train))]
    found: dict[str, Any] = {}
    for path in data:
        name = own_name(path)[0]
        for codec_name in codecs_for(folder, name):
            codec: Codec = codecs.load(folder / codec_name)
            there, fitted = (other.get(name) for other in others)
            trained = {one.bands: one for one in (samples(codec.kind, fitted, None, most) if fitted else ())}
            for sample in samples(codec.kind, path, there, most):
                with torch.no_grad():
                    told = score(codec, sample, trained.get(sample.bands), shuffle)
                about = {"against": "truth" if there else "data", "pca_of": fitted or path}
                found.setdefault(codec_name, {}).setdefault(name, []).append({**about, **told})
    if not found:
        raise UsageError(f"{folder} has no image or spectrum codec for {', '.join(map(str, data))}.")
    return found


def _by_name(paths: Sequence[str], data: Sequence[str], what: str) -> dict[str, str]:
    """Path of each name; each must be of a dataset given."""
    known = {own_name(path)[0] for path in data}
    by_name = {own_name(path)[0]: path for path in paths}
    for name, path in by_name.items():
        if name not in known:
            raise UsageError(f"{what} {path} is of {name!r}, which is not among --data ({', '.join(sorted(known))}).")
    return by_name


def codecs_for(folder: Path, name: str) -> list[str]:
    """Codecs of images and spectra in a folder that the table of modalities has for a survey."""
    rows = [row for row in MODALITIES.values() if (source := row.source(name)) and source.column in COLUMNS]
    wanted = dict.fromkeys(row.codec for row in rows)
    return [codec for codec in wanted if (folder / codec / "config.json").is_file()]
