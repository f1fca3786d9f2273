"""What a dataset's columns can tell of its objects: magnitudes, redshifts, signal to noise.

Decided from names, units, zero points and modalities of the schema alone: no survey is named here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mmu.dataset import Dataset
from mmu.decoding import decode
from mmu.report.sample import MOST_ARRAY_ROWS, sample

Values = np.ndarray[Any, Any]

_BANDS = "u g r i z y j h k bp rp w1 w2 w3 w4".split()
_REDSHIFTS = re.compile(r"(z|redshift|z_?(hp|best|spec|phot|sys|cmb|helio)|(spec|photo?)_?z|(spec|phot)?_?redshift)")
_AB_ZERO_POINTS = {"nanomaggy": 22.5, "maggy": 0.0, "Jy": 8.90, "mJy": 16.40, "uJy": 23.90, "nJy": 31.40}
"""AB magnitude of one unit of flux, for the units that mean one by definition."""

_MOST_SERIES = 5


@dataclass(frozen=True)
class Measure:
    """Numbers to draw: one array for each series, of rows in `of`; `notes` are sentences for the caption."""

    title: str
    axis: str
    series: dict[str, Values]
    of: str
    notes: str = ""
    log: bool = False

    def shown(self, values: Values) -> Values:
        """True for numbers that its axis has a place for."""
        return np.isfinite(values) & (values > 0) if self.log else np.isfinite(values)


def measures(dataset: Dataset) -> list[Measure]:
    """Everything that the columns of a dataset tell of magnitudes, redshifts, and signal to noise."""
    found = [*_magnitudes(dataset), *_redshifts(dataset), *_ratios(dataset), *_arrays(dataset)]
    return [one for one in found if any(one.shown(values).any() for values in one.series.values())]


def _facts(field: pa.Field) -> dict[str, str]:
    return {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}


def _floats(schema: pa.Schema) -> list[pa.Field]:
    return [field for field in schema if pa.types.is_floating(field.type)]


# -- magnitudes -------------------------------------------------------------------------------------------------


def magnitude_columns(schema: pa.Schema) -> list[tuple[str, float | None]]:
    """The first family of columns that differ in the band only: fluxes, with their AB zero point, or magnitudes."""
    families: dict[str, list[tuple[str, float | None]]] = {}
    declared = _declared_zero_points(schema)
    for field in _floats(schema):
        name, unit = field.name.lower(), _facts(field).get("unit", "")
        if re.search(r"err|ivar|abs|over|lower|upper", name):
            continue
        zero = _facts(field).get("zero_point_ab") or declared.get(unit) or _AB_ZERO_POINTS.get(unit)
        if "flux" in name and zero is not None:
            families.setdefault(_family(field.name), []).append((field.name, float(zero)))
        elif "mag" in name and unit == "mag":
            families.setdefault(_family(field.name), []).append((field.name, None))
    return next(iter(families.values()))[:_MOST_SERIES] if families else []


def _magnitudes(dataset: Dataset) -> Iterator[Measure]:
    chosen = magnitude_columns(dataset.schema)
    if not chosen:
        return
    taken = sample(dataset, [name for name, _ in chosen])
    series, dark = {}, 0
    for name, zero in chosen:
        values = _finite(taken.table[name])
        if zero is not None:
            dark += int(np.count_nonzero(values <= 0))
            values = zero - 2.5 * np.log10(np.where(values > 0, values, np.nan))
        series[name] = values
    zero = chosen[0][1]
    how = "" if zero is None else f"From the fluxes: {zero:g} − 2.5 log₁₀(flux), as the archive has them."
    none = f"{dark:,} fluxes are not positive and have none." if dark else ""
    axis = "magnitude" if zero is None else "magnitude (AB)"
    yield Measure("Magnitudes", axis, series, taken.words, " ".join(words for words in (how, none) if words))


def _declared_zero_points(schema: pa.Schema) -> dict[str, str]:
    """Unit -> AB zero point, where any column or member of the dataset declares one."""
    found = {}
    for field in schema:
        for one in (field, *(field.type if pa.types.is_struct(field.type) else ())):
            facts = _facts(one)
            if "zero_point_ab" in facts and "unit" in facts:
                found[facts["unit"]] = facts["zero_point_ab"]
    return found


def _family(name: str) -> str:
    """A column's name without its band."""
    tokens = name.lower().split("_")
    band = next((token for token in tokens if token in _BANDS), None)
    return "_".join("*" if token == band else token for token in tokens)


# -- redshifts, and ratios that the catalogue has ----------------------------------------------------------------


def redshift_column(schema: pa.Schema) -> str | None:
    """The first column that is called like a redshift."""
    return next((field.name for field in _floats(schema) if _REDSHIFTS.fullmatch(field.name.lower())), None)


def _redshifts(dataset: Dataset) -> Iterator[Measure]:
    name = redshift_column(dataset.schema)
    if name is None:
        return
    taken = sample(dataset, [name])
    values = _finite(taken.table[name])
    missing = int(np.count_nonzero(~np.isfinite(values)))
    notes = f"{missing:,} have none." if missing else ""
    yield Measure("Redshifts", f"redshift ({name})", {name: values}, taken.words, notes)


def _ratios(dataset: Dataset) -> Iterator[Measure]:
    """A column of the archive's own that is flux over error, or a signal to noise."""
    pattern = r"(.*_)?(snr|s_?n_median.*|sn_.*)|.*flux_over_error"
    names = [field.name for field in _floats(dataset.schema) if re.fullmatch(pattern, field.name.lower())]
    if names:
        taken = sample(dataset, names[:1])
        values = _finite(taken.table[names[0]])
        yield Measure("Signal to noise", names[0], {names[0]: values}, taken.words, log=True)


# -- arrays -----------------------------------------------------------------------------------------------------


def _arrays(dataset: Dataset) -> Iterator[Measure]:
    for field in dataset.schema:
        kind = _facts(field).get("modality")
        members = {member.name: member for member in field.type} if pa.types.is_struct(field.type) else {}
        if kind not in ("spectrum", "image") or not {"flux", "ivar"} <= members.keys():
            continue
        wanted = [name for name in ("flux", "ivar", "mask", "band") if name in members]
        taken = sample(dataset, [f"{field.name}.{name}" for name in wanted], MOST_ARRAY_ROWS)
        if not len(taken.table):
            continue
        rows = decode(taken.table)[field.name]
        polarity = _facts(members["mask"]).get("polarity", "") if "mask" in members else ""
        of_rows = (_row(rows, index) for index in range(len(taken.table)))
        if kind == "spectrum":
            ratios = np.array([_of_spectrum(row, polarity) for row in of_rows])
            yield Measure(
                f"Signal to noise: {field.name}", "median S/N of a pixel", {field.name: ratios}, taken.words,
                "The median over the usable pixels of each object.", log=True,
            )  # fmt: skip
        else:
            yield Measure(
                f"Signal to noise: {field.name}", "S/N of the light in the middle", _of_images(of_rows, polarity),
                taken.words, "Of all light in the middle eighth of each stamp, both ways.", log=True,
            )  # fmt: skip


def _row(rows: dict[str, Any], index: int) -> dict[str, Values]:
    return {name: np.asarray(values[index]) for name, values in rows.items()}


def _usable(row: dict[str, Values], polarity: str) -> Values:
    """Pixels with an inverse variance that the mask, by the polarity its metadata states, does not exclude."""
    good = np.asarray(row["ivar"] > 0)
    if "mask" in row and row["mask"].shape == good.shape:
        good &= row["mask"].astype(bool) == polarity.startswith("True = good")
    return np.asarray(good)


def _of_spectrum(row: dict[str, Values], polarity: str) -> float:
    good = _usable(row, polarity)
    return float(np.median(row["flux"][good] * np.sqrt(row["ivar"][good]))) if good.any() else np.nan


def _of_images(rows: Iterator[dict[str, Values]], polarity: str) -> dict[str, Values]:
    """Signal to noise of the middle of each stamp, band by band."""
    found: dict[str, list[float]] = {}
    for row in rows:
        good, side = _usable(row, polarity), max(row["flux"].shape[-1] // 16, 1)
        y, x = (length // 2 for length in row["flux"].shape[-2:])
        middle = np.s_[:, y - side : y + side, x - side : x + side]
        flux, ivar, use = row["flux"][middle], row["ivar"][middle], good[middle]
        signal = np.where(use, flux, 0.0).sum(axis=(1, 2))
        noise = np.sqrt(np.where(use, 1.0 / np.where(use, ivar, 1.0), 0.0).sum(axis=(1, 2)))
        bands = row["band"] if "band" in row else [str(i) for i in range(len(flux))]
        for band, one, error in zip(bands, signal, noise, strict=True):
            found.setdefault(str(band), []).append(one / error if error > 0 else np.nan)
    return {band: np.array(values) for band, values in list(found.items())[: _MOST_SERIES + 2]}


def _finite(column: pa.ChunkedArray) -> Values:
    values = np.asarray(column.to_numpy(), dtype=np.float64)
    return np.where(np.isfinite(values), values, np.nan)
