"""Noiseless images: Sersic galaxies and point sources, convolved with the PSF analytically.

A Sersic profile is written as a sum of Gaussians (Hogg & Lang 2013), here fitted by non-negative least
squares for a grid of indices; the PSF is a core and a halo, both Gaussian. Their convolution is again a sum
of Gaussians, drawn in a stamp around each object. Pixel centres are whole numbers, counted from 0; x runs
west, y north.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, nnls
from scipy.special import gammaincinv

from mmu.simulate.photometry import nanomaggies

Floats = npt.NDArray[np.float64]
Plane = npt.NDArray[np.float32]
Objects = npt.NDArray[np.void]

PSF_WEIGHTS = (0.88, 0.12)
PSF_WIDTHS = (1.0, 2.0)  # in units of the core
INDICES = np.concatenate([np.arange(0.5, 2.0, 0.1), np.arange(2.0, 6.3, 0.25)])
SIGMAS = np.geomspace(0.012, 4.0, 11)  # of the Gaussians, in half-light radii
EXTENT = 8.0  # half-light radii at which a profile is cut off
FAINTEST = 2e-5  # nanomaggy a pixel: where a stamp may end
BATCH_VALUES = 4_000_000  # floats that one batch of stamps may use


@functools.cache
def _sersic_table() -> Floats:
    """Weights of the Gaussians for each index, each row summing to 1: (indices, sigmas)."""
    radius = np.geomspace(0.004, EXTENT, 300)
    rows = []
    for index in INDICES:
        profile = np.exp(-gammaincinv(2 * index, 0.5) * (radius ** (1 / index) - 1))
        basis = np.exp(-0.5 * (radius[:, None] / SIGMAS) ** 2) / (2 * np.pi * SIGMAS**2)
        scale = radius * np.sqrt(np.gradient(radius) / radius)
        weights, _ = nnls(basis * scale[:, None], profile * scale)
        rows.append(weights / weights.sum())
    return np.array(rows)


def sersic_weights(sersic_n: npt.ArrayLike) -> Floats:
    """Share of the light in each Gaussian of `SIGMAS`, (N, sigmas)."""
    table = _sersic_table()
    position = np.interp(np.asarray(sersic_n, dtype=np.float64), INDICES, np.arange(len(INDICES)))
    low = np.minimum(position.astype(int), len(INDICES) - 2)
    part = (position - low)[:, None]
    return np.asarray(table[low] * (1 - part) + table[low + 1] * part)


@functools.cache
def _core_per_fwhm() -> float:
    """Sigma of the PSF's core for a full width at half maximum of one."""
    peak = sum(w / s**2 for w, s in zip(PSF_WEIGHTS, PSF_WIDTHS, strict=True))

    def excess(radius: float) -> float:
        pairs = zip(PSF_WEIGHTS, PSF_WIDTHS, strict=True)
        return sum(w / s**2 * float(np.exp(-0.5 * (radius / s) ** 2)) for w, s in pairs) - peak / 2

    return float(0.5 / brentq(excess, 0.5, 3.0))


def psf_sigmas(psf_fwhm_pix: float) -> tuple[float, ...]:
    """Widths (sigma, pixels) of the PSF's Gaussians; their weights are `PSF_WEIGHTS`."""
    return tuple(psf_fwhm_pix * _core_per_fwhm() * width for width in PSF_WIDTHS)


def psf_norm(psf_fwhm_pix: float) -> float:
    """Sum of the squared PSF, 1/pixel: a point source's flux variance is the pixel variance divided by it."""
    sigmas = psf_sigmas(psf_fwhm_pix)
    pairs = [(w, s**2) for w, s in zip(PSF_WEIGHTS, sigmas, strict=True)]
    return float(sum(a * b / (2 * np.pi * (u + v)) for a, u in pairs for b, v in pairs))


def _mixture(objects: Objects, psf_fwhm_pix: float, scale: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Weights and covariances xx, xy, yy (pixels squared) of each object's Gaussians: four (N, K) arrays."""
    star = objects["kind"] == "star"
    radius = np.where(star, 0.0, np.nan_to_num(objects["r_half_arcsec"]) / scale)
    ratio = np.where(star, 1.0, np.nan_to_num(objects["axis_ratio"], nan=1.0))
    angle = np.deg2rad(np.nan_to_num(objects["position_angle"]))
    profile = sersic_weights(np.nan_to_num(objects["sersic_n"], nan=1.0))
    # the half-light radius is that of the major axis, as Tractor's SHAPE_R
    major, minor = (radius[:, None] * SIGMAS) ** 2, (radius * ratio)[:, None] ** 2 * SIGMAS**2
    sin, cos = np.sin(angle)[:, None], np.cos(angle)[:, None]
    xx, yy = major * sin**2 + minor * cos**2, major * cos**2 + minor * sin**2
    xy = -(major - minor) * sin * cos  # north up, east left: the angle turns towards -x
    sigmas = psf_sigmas(psf_fwhm_pix)
    weight = np.concatenate([profile * share for share in PSF_WEIGHTS], axis=1)
    xx, yy = (np.concatenate([v + sigma**2 for sigma in sigmas], axis=1) for v in (xx, yy))
    return weight, xx, np.concatenate([xy] * len(sigmas), axis=1), yy


def _stamp_radius(weight: Floats, xx: Floats, yy: Floats) -> npt.NDArray[np.int64]:
    """Pixels from the centre at which an object fades below `FAINTEST`, (N,), `weight` in nanomaggies."""
    variance = np.maximum(xx, yy)
    peak = weight / (2 * np.pi * variance)
    reach = np.sqrt(2 * variance * np.log(np.maximum(peak / FAINTEST, 1.0)))
    return np.asarray(np.clip(np.ceil(reach.max(axis=1)), 4, 900), dtype=np.int64)


def render(
    plane_shape: tuple[int, int],
    x: Floats,
    y: Floats,
    objects: Objects,
    band: str,
    psf_fwhm_pix: float,
    scale: float,
) -> Plane:
    """Noiseless image of N objects, `plane_shape` (rows, columns), float32 nanomaggies a pixel.

    `x`, `y` (N,) are 0-based pixel coordinates and may lie outside; `scale` is in arcsec a pixel.
    """
    plane = np.zeros(plane_shape, np.float32)
    flux = nanomaggies(objects[f"mag_{band}"])
    weight, xx, xy, yy = _mixture(objects, psf_fwhm_pix, scale)
    weight = weight * flux[:, None]
    radius = _stamp_radius(weight, xx, yy)
    star = objects["kind"] == "star"
    for group, point in ((np.flatnonzero(star), True), (np.flatnonzero(~star), False)):
        order = group[np.argsort(radius[group], kind="stable")]
        start = 0
        while start < len(order):
            stop = _batch_end(radius[order], start, len(PSF_WEIGHTS) if point else weight.shape[1])
            rows = order[start:stop]
            parts = weight[rows], xx[rows], xy[rows], yy[rows]
            if point:  # every Gaussian of the profile is the PSF's own: two are enough
                parts = _point(flux[rows], psf_fwhm_pix)
            _draw(plane, x[rows], y[rows], int(radius[rows[-1]]), *parts)
            start = stop
    return plane


def _point(flux: Floats, psf_fwhm_pix: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Weights and covariances of point sources: four (N, 2) arrays."""
    weight = flux[:, None] * np.array(PSF_WEIGHTS)
    variance = np.broadcast_to(np.array(psf_sigmas(psf_fwhm_pix)) ** 2, weight.shape)
    return weight, variance, np.zeros_like(weight), variance


def _batch_end(radius: npt.NDArray[np.int64], start: int, gaussians: int) -> int:
    """How far a batch of similar stamps may run from `start` in the sorted radii.

    Within the memory allowed.
    """
    stop = start + 1
    while stop < len(radius) and radius[stop] <= 1.25 * radius[start] + 2:
        if (stop + 1 - start) * gaussians * (2 * int(radius[stop]) + 1) ** 2 > BATCH_VALUES:
            break
        stop += 1
    return stop


def _draw(plane: Plane, x: Floats, y: Floats, size: int, weight: Floats, xx: Floats, xy: Floats, yy: Floats) -> None:
    """Add N objects, each a sum of K Gaussians, in stamps of 2 `size` + 1 pixels around the nearest pixel."""
    column, row = np.rint(x).astype(int), np.rint(y).astype(int)
    steps = np.arange(-size, size + 1, dtype=np.float32)
    dx = (steps - (x - column)[:, None]).astype(np.float32)
    dy = (steps - (y - row)[:, None]).astype(np.float32)
    determinant = xx * yy - xy**2
    peak = (weight / (2 * np.pi * np.sqrt(determinant))).astype(np.float32)
    a, b, c = ((v / determinant).astype(np.float32) for v in (-0.5 * yy, xy, -0.5 * xx))
    stamps = np.zeros((len(x), dy.shape[1], dx.shape[1]), np.float32)
    for k in range(weight.shape[1]):  # one Gaussian at a time keeps the working set small
        exponent = (b[:, k, None, None] * dy[:, :, None]) * dx[:, None, :]
        exponent += (a[:, k, None] * dx**2)[:, None, :]
        exponent += (c[:, k, None] * dy**2)[:, :, None]
        np.exp(exponent, out=exponent)
        exponent *= peak[:, k, None, None]
        stamps += exponent
    for stamp, i, j in zip(stamps, row, column, strict=True):
        _add(plane, stamp, int(i) - size, int(j) - size)


def _add(plane: Plane, stamp: Plane, row: int, column: int) -> None:
    """Add a stamp whose first pixel is (`row`, `column`) of the plane, cut at the plane's edges."""
    top, left = max(row, 0), max(column, 0)
    bottom, right = min(row + stamp.shape[0], plane.shape[0]), min(column + stamp.shape[1], plane.shape[1])
    if top < bottom and left < right:
        plane[top:bottom, left:right] += stamp[top - row : bottom - row, left - column : right - column]
