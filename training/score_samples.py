"""What codecs are scored on: objects of a dataset, beside their noiseless twins where there are any.

A twin is the same simulated sky without noise: `mmu build legacysurvey --source simulated:7:noiseless`, of what was
built from `simulated:7`. It has the same objects, masks and inverse variances. Without one the data are the measure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmu.decoding import decode
from mmu.errors import UsageError
from mmu.opening import open as opened
from training.codecs.bands import OWN
from training.inputs import pieces
from training.modalities import Source

MEMBERS = {
    "image": ("band", "flux", "ivar", "mask", *OWN),
    "spectrum": ("flux", "ivar", "mask", "lambda"),
    "light_curve": ("time", "flux", "flux_err", "band"),
}
"""Kind of codec -> members of its column that are read, as far as they are there."""
COLUMNS = {"image": "image", "spectrum": "spectrum", "light_curve": "lightcurve"}
"""Kind of codec -> its column."""
AT_ONCE = 64
"""Rows that are read together."""


@dataclass(frozen=True)
class Sample:
    """Objects of one kind whose arrays are alike: images of the same bands and size, spectra, or light curves.

    Attributes:
        given: arrays of `encode`, the first axis the object; spectra and light curves are padded with zeros.
        bands: of images, and of the points of light curves; else empty.
        truth: fluxes, as `given["flux"]`; the same array where there is no truth.
    """

    kind: str
    given: Mapping[str, NDArray[Any]]
    bands: tuple[str, ...]
    truth: NDArray[Any]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """What tells something; masks of images say which pixels are good, of spectra which are bad."""
        known = np.isfinite(self.given["flux"]) & np.isfinite(self.ivar) & (self.ivar > 0)
        if self.kind == "light_curve":
            return np.asarray(known & np.isfinite(self.given["time"]) & (self.given["band"] >= 0))
        mask = np.asarray(self.given.get("mask", self.kind == "image"), bool)
        return np.asarray(known & (mask if self.kind == "image" else ~mask & (self.given["wavelength"] > 0)))

    @property
    def ivar(self) -> NDArray[Any]:
        """Inverse variance of each flux; 0 where a point of a light curve has no error."""
        if self.kind != "light_curve":
            return self.given["ivar"]
        error = np.nan_to_num(self.given["flux_err"], nan=0.0, posinf=0.0)
        return np.where(error > 0, 1 / np.where(error > 0, error, 1.0) ** 2, 0.0)

    @property
    def alike(self) -> tuple[Any, ...]:
        """What components fitted to other objects must agree in."""
        return self.bands, self.truth.shape[2:]

    def taken(self, rows: NDArray[np.int64] | slice) -> Sample:
        """Some of its objects."""
        given = {name: values[rows] for name, values in self.given.items()}
        return replace(self, given=given, truth=self.truth[rows])


def samples(
    kind: str, path: str, truth: str | None = None, most: int = 1000, rows: NDArray[np.bool_] | None = None
) -> list[Sample]:
    """The first objects of a dataset, those that are alike together.

    Args:
        truth: a dataset of their twins. rows: which of them count, in the order of its shards; all if left out.

    Raises:
        UsageError: it has no such column; the truth has other objects, or other pixels.
    """
    parts: dict[Any, list[Sample]] = {}
    for part in _parts(kind, path, truth, most, rows):
        parts.setdefault(part.alike if kind == "image" else kind, []).append(part)
    if not parts:
        raise UsageError(f"{path} has no {COLUMNS[kind]} to score a codec on.")
    return [_joined(several) for several in parts.values()]


def _parts(kind: str, path: str, truth: str | None, most: int, rows: NDArray[np.bool_] | None) -> Iterator[Sample]:
    """Those of a few rows at a time."""
    dataset, twin, column = opened(path), None if truth is None else opened(truth), COLUMNS[kind]
    if column not in dataset.columns:
        raise UsageError(f"{path} has no column {column!r}, which {kind} codecs are of.")
    has = dataset.schema.field(column).type
    names = [f"{column}.{member}" for member in MEMBERS[kind] if has.get_field_index(member) >= 0]
    first, left = 0, most
    for batch in dataset.batches([dataset.id_column, *names], AT_ONCE):
        ids = batch[dataset.id_column]
        counted = np.arange(len(ids)) if rows is None else np.flatnonzero(rows[first : first + len(ids)])
        first, counted = first + len(ids), counted[:left]
        left -= len(counted)
        if len(counted):
            mine = _of(kind, {name: values[counted] for name, values in batch[column].items()})
            known = mine if twin is None else _twins(twin, kind, ids[counted], names)
            for (given, bands), (true, _) in zip(mine, known, strict=True):
                if given["flux"].shape != true["flux"].shape:
                    raise UsageError(f"{truth} has other pixels than {path}: build both from the same simulated sky.")
                yield Sample(kind, given, bands, np.asarray(true["flux"]))
        if left <= 0:
            return


def _of(kind: str, column: Mapping[str, Any]) -> list[tuple[dict[str, Any], tuple[str, ...]]]:
    """Arguments of `encode` but for the bands, and these, of a decoded column."""
    found = [given for _, given in pieces(kind, dict(column), Source("", COLUMNS[kind]))]
    return [(given, tuple(given.pop("bands", ()))) for given in found]


def _twins(twin: Any, kind: str, ids: Any, names: Sequence[str]) -> list[tuple[dict[str, Any], tuple[str, ...]]]:
    """The same objects in the truth, in the same order."""
    table = twin.table([twin.id_column, *names], ids=[str(name) for name in ids])
    order = {str(name): row for row, name in enumerate(table[twin.id_column].to_pylist())}
    rows = [order[str(name)] for name in ids]
    return _of(kind, decode(table.take(rows).combine_chunks())[COLUMNS[kind]])


def _joined(parts: Sequence[Sample]) -> Sample:
    """One after the other; the bands are those of all of them."""
    bands = tuple(dict.fromkeys(band for part in parts for band in part.bands))
    arrays = {name: [part.given[name] for part in parts] for name in parts[0].given}
    if "band" in arrays:
        arrays["band"] = [_numbered(part.given["band"], part.bands, bands) for part in parts]
    given = {name: _padded(several) for name, several in arrays.items()}
    return Sample(parts[0].kind, given, bands, _padded([part.truth for part in parts]))


def _numbered(band: NDArray[np.int64], own: Sequence[str], bands: Sequence[str]) -> NDArray[np.int64]:
    """Which of `bands` each point is of, that was of one of its `own`."""
    return np.where(band < 0, -1, np.array([bands.index(name) for name in own])[band])


def _padded(arrays: Sequence[Any]) -> NDArray[Any]:
    """One array; rows are padded to the longest."""
    longest = max(array.shape[-1] for array in arrays)
    if arrays[0].ndim == 2 and any(array.shape[-1] < longest for array in arrays):
        arrays = [np.pad(array, ((0, 0), (0, longest - array.shape[-1]))) for array in arrays]
    return np.concatenate([np.asarray(array) for array in arrays])
