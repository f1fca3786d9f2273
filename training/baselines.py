"""What a codec must beat: nothing, principal components in as many bits, lines from point to point; NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STEPS = (0.0, 1.596, 0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308)
"""Best step of a uniform quantiser of so many bits, in deviations of a Gaussian (Max 1960, table II)."""
MOST_BITS = 16
"""Of one coefficient."""


@dataclass(frozen=True)
class Pca:
    """Rows as quantised coefficients of the components of other rows.

    Attributes:
        mean: (values,). components: (coefficients, values), orthonormal.
        deviation, bits: of each coefficient.
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float32]
    deviation: Floats
    bits: NDArray[np.int64]

    @classmethod
    def fit(cls, rows: Any, bits: float) -> Pca:
        """Of rows (objects, values), to be told in so many bits, given to where they lower the error most."""
        mean = rows.mean(0, dtype=np.float64).astype(np.float32)
        centred = rows - mean
        squares, left = np.linalg.eigh((centred @ centred.T).astype(np.float64))
        order = np.argsort(squares)[::-1]
        order = order[squares[order] > 1e-9 * max(squares.max(initial=0.0), 1e-30)]
        components = (left[:, order] / np.sqrt(squares[order])).T.astype(np.float32) @ centred
        deviation = np.sqrt(squares[order] / max(1, len(rows) - 1))
        return cls(mean, components, deviation, allotted(deviation, bits))

    def __call__(self, rows: Any) -> NDArray[np.float32]:
        """The rows as they come back."""
        coefficients = (rows - self.mean) @ self.components.T
        return np.asarray(quantised(coefficients, self.deviation, self.bits) @ self.components + self.mean, np.float32)


def allotted(deviation: Floats, bits: float) -> NDArray[np.int64]:
    """Bits of each coefficient: one after the other to the one with the largest error left (a quarter for each bit)."""
    given = np.zeros(len(deviation), np.int64)
    error = np.square(deviation)
    for _ in range(int(min(bits, MOST_BITS * len(deviation)))):
        largest = int(error.argmax())
        given[largest] += 1
        error[largest] = error[largest] / 4 if given[largest] < MOST_BITS else -1.0
    return given


def quantised(coefficients: Any, deviation: Floats, bits: NDArray[np.int64]) -> NDArray[np.float32]:
    """Coefficients (objects, coefficients) as their quantisers give them back; 0 of those without a bit."""
    known = np.minimum(bits, len(STEPS) - 1)
    step = np.maximum(deviation * np.take(STEPS, known) / 2.0 ** (0.9 * (bits - known)), 1e-30)
    half = 2.0 ** (bits - 1)
    level = np.clip(np.floor(coefficients / step), -half, half - 1) + 0.5
    return np.asarray(np.where(bits > 0, level * step, 0.0), np.float32)


def images_by_pca(train: Any, scored: Any, noise: Any, bits: float) -> NDArray[np.float32]:
    """Images (objects, bands, rows, columns) by the components of others, both compressed by arcsinh(flux / noise).

    Args:
        noise: (bands,), of a pixel.
    """
    soft = np.asarray(noise, np.float32)[:, None, None]
    flat = [np.arcsinh(np.nan_to_num(images) / soft).reshape(len(images), -1) for images in (train, scored)]
    back = Pca.fit(flat[0], bits)(flat[1]).reshape(scored.shape)
    return np.asarray(np.sinh(np.clip(back, -20, 20)) * soft, np.float32)


def spectra_by_pca(
    train: tuple[Any, Any], scored: tuple[Any, Any], grid: Any, noise: float, bits: float
) -> NDArray[np.float32]:
    """Spectra (flux, wavelength), (objects, pixels) each, by the components of others, on one grid of wavelengths."""
    rows = [on_grid(*spectra, grid) for spectra in (train, scored)]
    soft = np.float32(noise)
    back = np.sinh(np.clip(Pca.fit(np.arcsinh(rows[0] / soft), bits)(np.arcsinh(rows[1] / soft)), -20, 20)) * soft
    pairs = zip(scored[1], back, strict=True)
    return np.stack([np.interp(own, grid, row, 0, 0) for own, row in pairs]).astype(np.float32)


def on_grid(flux: Any, wavelength: Any, grid: Any) -> NDArray[np.float32]:
    """Spectra at the wavelengths of a grid, (objects, grid), 0 where they have none."""
    out = np.zeros((len(flux), len(grid)), np.float32)
    for row, own, at in zip(out, flux, wavelength, strict=True):
        there = np.isfinite(own) & (at > 0)
        if there.any():
            row[:] = np.interp(grid, at[there], own[there], 0, 0)
    return out


def level_only(flux: Any, valid: Any) -> NDArray[np.float32]:
    """Spectra that are nothing but their mean, (objects, pixels)."""
    mean = np.where(valid, flux, 0).sum(1) / np.maximum(valid.sum(1), 1)
    return np.broadcast_to(mean[:, None], flux.shape).astype(np.float32)


def straight(time: Any, flux: Any, band: Any, valid: Any) -> NDArray[np.float64]:
    """Light curves (objects, points) as lines from each valid point to the next of its band, NaN where it has none.

    Level before the first and after the last. At valid points these are the points themselves.
    """
    out = np.full(np.shape(flux), np.nan)
    for row in range(len(out)):
        for number in np.unique(band[row][valid[row]]):
            known, own = valid[row] & (band[row] == number), band[row] == number
            order = np.argsort(time[row][known], kind="stable")
            out[row, own] = np.interp(time[row][own], time[row][known][order], flux[row][known][order])
    return out
