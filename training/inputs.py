"""From decoded columns of a dataset to what codecs take: rows of different bands, lengths and pictures made arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmu.errors import UsageError
from training.codecs import ABSENT, Codec
from training.codecs.bands import OWN
from training.codecs.catalogue import NAMES, SIDE
from training.modalities import Modality, Source

Rows = NDArray[np.int64]
Piece = tuple[Rows, dict[str, Any]]
"""Rows of a batch, and the arguments of a codec's `encode` for them."""

FIELD = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 0.0], dtype=np.float32)
"""Type codes of `object_mask` (0 none, 1 PSF ... 5 SER, 6 DUP, which has no light) -> values of a map."""
PADDED = 64
"""Light curves that are padded to the longest of them: a row group may have thousands, and one of many points."""


def encoded(codec: Codec, row: Modality, source: Source, values: Any, count: int, size: int) -> NDArray[np.int16]:
    """Ids of a column of decoded rows, as a model has them; `ABSENT` for what is not there.

    Args:
        values: the decoded column, see `mmu.decode`. count: its rows. size: rows that are encoded at once.

    Raises:
        UsageError: the codec gives other ids than the row of the table says.
    """
    out = np.full((count, row.tokens), ABSENT, dtype=np.int16)
    for rows, arguments in _PIECES[codec.kind](values, source, codec):
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            ids: Tensor = codec.encode(**{name: _part(value, part, len(rows)) for name, value in arguments.items()})
            if ids.shape[1] != row.tokens or codec.vocabulary + row.offset > row.vocabulary:
                raise UsageError(
                    f"The codec {row.codec!r} gives {ids.shape[1]} ids of {codec.vocabulary}, but {row.key} has "
                    f"{row.tokens} of {row.vocabulary - row.offset}: it is the codec of another modality."
                )
            known = ids.cpu().numpy().astype(np.int16)
            out[rows[part]] = np.where(known == ABSENT, ABSENT, known + row.offset)
    return out


def _part(value: Any, part: slice, count: int) -> Any:
    return value[part] if isinstance(value, np.ndarray) and len(value) == count else value


def _images(values: dict[str, Any], source: Source, codec: Any) -> Iterator[Piece]:
    """Rows with the same bands and size go together; the middle that fills the grid of ids."""
    keys = [_key(values, index) for index in range(len(values["band"]))]
    for key in dict.fromkeys(key for key in keys if key is not None):
        rows = np.array([index for index, other in enumerate(keys) if other == key])
        names = [name for name in ("flux", "ivar", "mask") if name in values]
        arrays: dict[str, Any] = {name: _stacked(values[name], rows) for name in names}
        if key[1] is not None and min(key[1]) > SIDE:
            top, left = ((side - SIDE) // 2 for side in key[1])
            arrays = {name: array[..., top : top + SIDE, left : left + SIDE] for name, array in arrays.items()}
        arrays |= {name: _stacked(values[name], rows).astype(np.float32) for name in OWN if name in values}
        yield rows, {**arrays, "bands": list(key[0])}


def _key(values: dict[str, Any], index: int) -> tuple[tuple[str, ...], tuple[int, ...] | None] | None:
    """Bands and size of an image; None where there is none."""
    bands, flux = values["band"][index], values["flux"][index]
    if bands is None or flux is None or not len(bands):
        return None
    return tuple(str(band) for band in bands), tuple(np.shape(flux)[-2:])


def _stacked(values: Any, rows: Rows) -> NDArray[Any]:
    """Rows of one shape as one array."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        return np.asarray(values[rows])
    return np.stack([np.asarray(values[index]) for index in rows])


def _spectra(values: dict[str, Any], source: Source, codec: Any) -> Iterator[Piece]:
    """Spectra of any length, padded with pixels that have no wavelength."""
    flux = values["flux"]
    rows = np.array([index for index in range(len(flux)) if flux[index] is not None and len(flux[index]) > 1])
    if not len(rows):
        return
    longest = max(len(flux[index]) for index in rows)
    arrays = {}
    for name, pad in (("flux", 0.0), ("lambda", 0.0), ("ivar", 0.0), ("mask", True)):
        arrays[name] = np.full((len(rows), longest), pad, dtype=bool if name == "mask" else np.float32)
        for place, index in enumerate(rows):
            arrays[name][place, : len(values[name][index])] = values[name][index]
    arrays["wavelength"] = arrays.pop("lambda")
    yield rows, arrays


def _light_curves(values: dict[str, Any], source: Source, codec: Any) -> Iterator[Piece]:
    """Light curves of any number of points; few go together, as all of these are padded to the longest."""
    listed = light_curves(values)
    there = np.array([index for index, one in enumerate(listed) if one is not None], dtype=np.int64)
    for start in range(0, len(there), PADDED):
        rows = there[start : start + PADDED]
        yield rows, padded_light_curves([one for index in rows if (one := listed[index]) is not None])


LightCurve = tuple[Any, Any, Any, Any]
"""Arrays of one: time, flux, flux_err, band; None for the last where no band is named."""


def light_curves(values: dict[str, Any]) -> list[LightCurve | None]:
    """Each row of a decoded column; None where there is none."""
    names = ("time", "flux", "flux_err", "band")
    rows = zip(*(values.get(name, [None] * len(values["time"])) for name in names), strict=True)
    return [None if row[0] is None or row[1] is None or not len(row[0]) else row for row in rows]


def padded_light_curves(rows: Sequence[LightCurve]) -> dict[str, Any]:
    """Arguments of the codec's `encode`: arrays as long as the longest, NaN beyond, and the bands of all."""
    longest = max(len(row[0]) for row in rows)
    times, fluxes, errors = (np.full((len(rows), longest), np.nan) for _ in range(3))
    band = np.full((len(rows), longest), -1, np.int64)
    bands: dict[str, int] = {}
    for place, (time, flux, error, named) in enumerate(rows):
        own = slice(0, len(time))
        times[place, own], fluxes[place, own], errors[place, own] = time, flux, error
        names = ["white"] * len(time) if named is None else named
        band[place, own] = [-1 if name is None else bands.setdefault(str(name), len(bands)) for name in names]
    return {"time": times, "flux": fluxes, "flux_err": errors, "band": band, "bands": list(bands) or ["white"]}


def _numbers(values: Any, source: Source, codec: Any) -> Iterator[Piece]:
    """Numbers, NaN where there is none."""
    filled = np.ma.filled(values.astype(np.float64), np.nan) if isinstance(values, np.ma.MaskedArray) else values
    yield np.arange(len(filled)), {"values": np.asarray(filled, dtype=np.float64)}


def _lists_of_numbers(values: Any, source: Source, codec: Any) -> Iterator[Piece]:
    """Lists of numbers, of which a span is meant."""
    first, last = source.span or (0, None)
    rows = np.array([i for i in range(len(values)) if values[i] is not None and len(values[i]) >= (last or 1)])
    if len(rows):
        yield rows, {"values": np.stack([np.asarray(values[i], dtype=np.float32)[first:last] for i in rows])}


def _pictures(values: Any, source: Source, codec: Any) -> Iterator[Piece]:
    """Pictures of type codes as fields."""
    rows = np.array([index for index in range(len(values)) if values[index] is not None])
    if len(rows):
        codes = np.stack([np.asarray(values[index]) for index in rows])
        yield rows, {"field": FIELD[np.minimum(codes, len(FIELD) - 1)]}


def _lists(values: dict[str, Any], source: Source, codec: Any) -> Iterator[Piece]:
    """Listed sources, their pixels counted from the corner of the middle 96 x 96."""
    count = len(values["X"])
    longest = max((len(row) for row in values["X"] if row is not None), default=0)
    if not longest:
        return
    arrays = {name: np.full((count, longest), np.nan, dtype=np.float32) for name in NAMES}
    for name, array in arrays.items():
        for index, row in enumerate(values[name]):
            if row is not None:
                array[index, : len(row)] = row
        if name in ("X", "Y"):
            array -= (STAMP - SIDE) / 2
    yield np.arange(count), arrays


STAMP = 160
"""Pixels a side of the stamps whose lists there are."""

_PIECES: dict[str, Callable[[Any, Source, Any], Iterator[Piece]]] = {
    "image": _images,
    "spectrum": _spectra,
    "light_curve": _light_curves,
    "segmap": _pictures,
    "catalogue": _lists,
    "scalar": _numbers,
    "log_scalar": _numbers,
    "asinh_scalar": _numbers,
    "grid_scalar": _numbers,
    "multi_scalar": _lists_of_numbers,
}


def pieces(kind: str, values: Any, source: Source) -> Iterator[Piece]:
    """What a kind of codec takes, of a decoded column."""
    return _PIECES[kind](values, source, None)
