"""One spectrum per target from the three arms of a DESI coadd file, and the width of its line-spread function.

Array level: no files here. N is a number of targets. The three arms lie on one lattice, 3600 + 0.8 k Angstrom, so
merging never resamples: where two arms overlap, pixels are averaged with their inverse variances; elsewhere they are
copied. The rules are those of `desispec.coaddition.coadd_cameras`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

FIRST, STEP = 3600.0, 0.8
"""First wavelength and step of the lattice, Angstrom (vacuum, barycentric)."""
ARMS = {"B": (0, 2751), "R": (2700, 2326), "Z": (4900, 2881)}
"""Arm -> first pixel on the lattice, number of pixels."""
PIXELS = 7781
NDIAG = 11
REACH = NDIAG // 2
TINY_IVAR = 1e-6
BLOCK, LSF_BLOCK = 64, 8
"""Rows merged at a time, and rows whose resolution is read at a time."""


def lattice(start: int = 0, pixels: int = PIXELS) -> NDArray[np.float64]:
    """Wavelengths of lattice pixels, Angstrom, (pixels,)."""
    return np.asarray(FIRST + STEP * np.arange(start, start + pixels), dtype=np.float64)


@dataclass(frozen=True)
class Arm:
    """What one arm saw of N targets, L pixels each.

    Attributes:
        flux, ivar: (N, L), 1e-17 erg/s/cm2/Angstrom and its inverse variance, in any byte order.
        mask: the archive's bits, (N, L), int32; 0 = good.
        variance: second moment of the line-spread function, pixels^2, (N, L); 0 where unknown.
    """

    flux: Floats
    ivar: Floats
    mask: Ints
    variance: Floats


@dataclass(frozen=True)
class Merged:
    """N spectra of 7781 pixels: flux, ivar, bits as in `Arm`; mask True = bad; lsf_sigma in Angstrom, 0 if unknown."""

    flux: Floats
    ivar: Floats
    mask: NDArray[np.bool_]
    maskbits: Ints
    lsf_sigma: Floats

    @classmethod
    def empty(cls, count: int) -> Merged:
        """Arrays to be filled."""
        flux, ivar, sigma = (np.empty((count, PIXELS), dtype=np.float32) for _ in range(3))
        mask, bits = np.empty((count, PIXELS), dtype=np.bool_), np.empty((count, PIXELS), dtype=np.int32)
        return cls(flux, ivar, mask, bits, sigma)


def lsf_variance(resolution: Floats) -> Floats:
    """Second central moment of each pixel's line-spread function, in pixels^2: (N, 11, L) -> (N, L).

    `resolution[n, k, j]` is the share of the light at pixel j that falls on pixel j - (5 - k) (the diagonals of a scipy
    DIA matrix with offsets +5 ... -5), so the kernel that pixel i sees is `resolution[n, k, i + 5 - k]`. The kernel is
    integrated over pixels and so the moment includes the pixel (0.23 A in quadrature). Negative wings are kept: they
    ring about zero, and clipping them widens real kernels by 4 %. The kernels of the outermost five pixels are cut off
    by the arm's end; there the nearest whole one counts. 0 where there is no kernel.
    """
    count, diagonals, pixels = resolution.shape
    reach, whole = diagonals // 2, pixels - diagonals // 2 * 2
    out = np.empty((count, pixels), dtype=np.float32)
    offset = (reach - np.arange(diagonals)).astype(np.float32)
    powers = np.stack([np.ones_like(offset), offset, offset**2])
    flat = np.empty((min(count, LSF_BLOCK), diagonals, pixels), dtype=np.float32)
    # rows of the matrix, as a view: one step along k is one diagonal less one pixel
    strides = (flat.strides[0], (pixels - 1) * flat.itemsize, flat.itemsize)
    rows: Any = np.lib.stride_tricks.as_strided(
        flat.reshape(-1)[2 * reach :], (len(flat), diagonals, whole), strides, writeable=False
    )
    moments = np.empty((len(flat), len(powers), whole), dtype=np.float32)
    for start in range(0, count, LSF_BLOCK):  # its 11 diagonals stay in the processor's cache
        here = slice(0, min(LSF_BLOCK, count - start))
        flat[here] = resolution[start : start + LSF_BLOCK]
        np.matmul(powers, rows[here], out=moments[here])
        _variance(moments[here], diagonals**2, out[start : start + LSF_BLOCK, reach : pixels - reach])
    out[:, :reach], out[:, pixels - reach :] = out[:, reach, None], out[:, pixels - reach - 1, None]
    return out


def _variance(moments: Floats, most: float, out: Floats) -> None:
    """Second central moment from the sums over a kernel, its first and second moments: (N, 3, L) -> (N, L).

    0 where there is no kernel. `moments` is overwritten.
    """
    total, first, second = moments[:, 0], moments[:, 1], moments[:, 2]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        np.square(np.divide(first, total, out=first), out=first)
        np.subtract(np.divide(second, total, out=second), first, out=out)
    if not (total.min() > 0.1 and out.min() > 0 and out.max() < most):  # not a number is none of these
        out[~((total > 0.1) & (out > 0) & (out < most))] = 0


def merge(arms: Mapping[str, Arm], count: int) -> Merged:
    """The merged spectra of `count` targets; an arm that is absent leaves pixels with ivar 0 and mask True."""
    out = Merged.empty(count)
    merge_into(out, arms)
    return out


def merge_into(out: Merged, arms: Mapping[str, Arm]) -> None:
    """`merge`, into arrays that are there: rows of a larger result, contiguous."""
    flux, ivar, bits, variance = fields = out.flux, out.ivar, out.maskbits, out.lsf_sigma
    for start, stop, names in _segments(arms):
        parts = [_cut(arms[name], start - ARMS[name][0], stop - ARMS[name][0]) for name in names]
        for field, values in zip(fields, _average(parts), strict=True):
            field[:, start:stop] = values
    good = ivar > 0
    good &= np.isfinite(flux)
    good &= np.isfinite(ivar)
    bad = np.flatnonzero(~good)
    flux.reshape(-1)[bad], ivar.reshape(-1)[bad] = 0, 0
    np.logical_or(bits, ivar <= TINY_IVAR, out=out.mask)
    _fill(variance)
    np.sqrt(variance, out=variance)
    variance *= STEP


def _segments(arms: Mapping[str, Arm]) -> Iterator[tuple[int, int, list[str]]]:
    """Stretches of the lattice that the same arms cover: (first, end, arms), without a gap."""
    spans = {name: (ARMS[name][0], sum(ARMS[name])) for name in ARMS if name in arms}
    edges = sorted({0, PIXELS} | {edge for span in spans.values() for edge in span})
    for start, stop in pairwise(edges):
        yield start, stop, [name for name, (low, high) in spans.items() if low <= start and stop <= high]


_Part = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]
_NONE = np.zeros(1, dtype=np.int32)


def _cut(arm: Arm, start: int, stop: int) -> _Part:
    here = slice(start, stop)
    return arm.flux[:, here], arm.ivar[:, here], arm.mask[:, here], arm.variance[:, here]


def _average(parts: list[_Part]) -> _Part:
    """Overlapping arms, averaged. Unmasked pixels weigh by their ivar; where there are none all do and bits stay."""
    if len(parts) < 2:
        return parts[0] if parts else (_NONE, _NONE, _NONE, _NONE)
    flux, ivar, variance = (np.array([part[index] for part in parts], dtype=np.float64) for index in (0, 1, 3))
    bits = np.array([part[2] for part in parts])
    seen = np.isfinite(ivar) & np.isfinite(flux) & (ivar > 0)
    if not seen.all():
        ivar[~seen], flux[~seen] = 0, 0
    clean = np.where(bits == 0, ivar, 0)
    bad = clean.sum(axis=0) == 0
    weight = np.where(bad, ivar, clean)
    total = weight.sum(axis=0)
    mean = (weight * flux).sum(axis=0) / np.where(total > 0, total, 1)
    return (
        mean,
        total,
        np.where(bad, np.bitwise_or.reduce(bits, axis=0), 0),
        _mean_known(variance, np.where(total > 0, weight, 1)),
    )


def _mean_known(values: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted mean over the first axis of the values above 0; their plain mean where those have no weight."""
    known = values > 0
    weight = np.where(known, weight, 0)
    weight = np.where(weight.sum(axis=0) > 0, weight, known)
    total = weight.sum(axis=0)
    return np.asarray((weight * values).sum(axis=0) / np.where(total > 0, total, 1))


def _fill(variance: Floats) -> None:
    """Pixels without a kernel get their spectrum's median width; a spectrum without any keeps 0. In place."""
    for row in np.flatnonzero(variance.min(axis=1) <= 0):
        known = variance[row] > 0
        if known.any():
            variance[row, ~known] = np.median(variance[row, known])
