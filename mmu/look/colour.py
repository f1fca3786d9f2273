"""Colour pictures from planes of any number of bands, after Lupton et al. (2004), PASP 116, 133.

Blue, green and red are the blue, middle and red bands of whatever is there: each band has its place between the bluest
and the reddest, and feeds the two channels beside it. Calibrated planes (an AB zero point, or a unit of flux density)
are weighted as f_lambda, so that colours mean the same in every dataset; others by their noise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MICRON = {  # effective wavelengths of filters, by the last word of their names
    "fuv": 0.154, "nuv": 0.227, "u": 0.356, "b": 0.44, "bp": 0.51, "g": 0.48, "v": 0.55, "r": 0.63, "rp": 0.78,
    "vis": 0.71, "i": 0.77, "z": 0.91, "y": 1.0, "j": 1.25, "h": 1.63, "k": 2.2, "ks": 2.15,
    "w1": 3.35, "w2": 4.6, "w3": 11.6, "w4": 22.1,
}  # fmt: skip
_NUMBERED = re.compile(r"f(\d{3,4})(w|wp|n|m|lp|x)\d?")
_SLOPE = 1.4
"""f_nu times wavelength to minus this: less blue than f_lambda (2), much as the viewers of imaging surveys have it."""
_MOST_RATIO = 3.0
"""Of the bluest band's weight to the reddest one's: bands far apart would show nothing but blue otherwise."""
_LINEAR_SIGMA, _LEAST_PEAK, _MOST_PEAK = 3.0, 12.0, 120.0
_FLOOR, _WHITE = 0.09, 0.75


def wavelength(band: str) -> float | None:
    """The effective wavelength of a filter in micron, by its name (`des-g`, `hsc_y`, `f277w`, `W1`); None if unknown.

    Numbers are those of JWST (and of Hubble's infrared camera), in 10 nm; those beyond `f600` without a leading zero
    that end in `w` or `lp` and are no multiples of JWST's are Hubble's optical ones, in nm.
    """
    words = re.split(r"[^a-z0-9]+", band.lower())
    found = _NUMBERED.fullmatch(words[-1])
    if found:
        optical = {"acs", "wfc", "uvis", "hst"} & set(words) or int(found[1]) in (
            435,
            475,
            555,
            606,
            625,
            775,
            814,
            850,
        )
        return int(found[1]) / (1000.0 if optical else 100.0)
    return _MICRON.get(words[-1])


def order(bands: Sequence[str]) -> list[int]:
    """The bands from blue to red; as given if the wavelength of any is unknown."""
    known = [wavelength(band) for band in bands]
    numbers = [one for one in known if one is not None]
    return list(np.argsort(numbers, kind="stable")) if len(numbers) == len(known) else list(range(len(bands)))


def channels(count: int) -> Floats:
    """How much of each of `count` bands, blue first, is in red, green and blue: (3, count), rows sum to 1."""
    if count == 1:
        return np.ones((3, 1))
    place = np.linspace(-1.0, 1.0, count)
    green = np.full(2, 0.5) if count == 2 else np.clip(1 - np.abs(place), 0, None)
    weights = np.stack([np.clip(place, 0, None), green, np.clip(-place, 0, None)])
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def brightness(bands: Sequence[str], noise: Floats, calibrated: bool) -> Floats:
    """What each plane is multiplied by, (B,): by wavelength if they are calibrated and known, else by their noise."""
    known = [wavelength(band) for band in bands]
    numbers = np.array([one for one in known if one is not None])
    if calibrated and len(numbers) == len(known):
        reach = np.log(numbers.max() / numbers.min())
        slope = min(_SLOPE, np.log(_MOST_RATIO) / reach) if reach > 0 else _SLOPE
        return np.asarray((numbers / numbers.max()) ** -slope)
    usable = np.where(np.isfinite(noise) & (noise > 0), noise, np.nan)
    return np.asarray(np.nan_to_num(1.0 / usable, nan=0.0))


def noise_of(flux: Floats, ivar: Floats | None) -> float:
    """One standard deviation of a plane's sky: from the inverse variance, else from the spread below the median."""
    if ivar is not None and np.any(ivar > 0):
        return float(1 / np.sqrt(np.median(ivar[ivar > 0])))
    values = flux[np.isfinite(flux) & (flux != 0)]
    if not values.size:
        return float("nan")
    middle = np.median(values)
    below = values[values <= middle]
    return float(1.4826 * np.median(middle - below)) or float("nan")


def rgb(planes: Floats, good: NDArray[np.bool_], noise: Floats, weights: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """A colour picture.

    Args:
        planes: (B, H, W), from blue to red; the sky at zero.
        good: (B, H, W), False where a plane has no data.
        noise: (B,), a standard deviation of each plane's sky.
        weights: (B,), what each plane is multiplied by; see `brightness`.

    Returns:
        (H, W, 3) in 0..1, red first; and (H, W), True where any band has data.
    """
    scaled = np.where(good, planes, 0.0) * weights[:, None, None]
    mix = channels(len(planes))
    share = np.einsum("cb,bhw->chw", mix, good.astype(float))
    mixed = np.einsum("cb,bhw->chw", mix, scaled) / np.where(share > 0, share, 1.0)
    seen = np.asarray(good.any(axis=0))
    blind = (share == 0) & seen  # a channel without data takes the others' mean: grey rather than the opposite colour
    mixed = np.where(blind, mixed.sum(axis=0) / np.maximum((share > 0).sum(axis=0), 1), mixed)
    sigma = np.sqrt(np.einsum("cb,b->c", mix**2, np.nan_to_num(noise * weights) ** 2)).mean() or 1.0
    return stretch(mixed, seen, sigma), seen


def stretch(mixed: Floats, seen: NDArray[np.bool_], sigma: float) -> Floats:
    """Channels (3, H, W) to a picture (H, W, 3): linear in the noise, logarithmic above; the very brightest is white.

    Hues are kept, except in the noise, where no colour is real and they fade to grey.
    """
    soft = _LINEAR_SIGMA * sigma
    mean, brightest = mixed.mean(axis=0), mixed.max(axis=0)
    sure = np.clip(brightest / soft - 0.5, 0.0, 1.0)
    intensity = mean + sure * (brightest - mean)
    top = float(np.clip(intensity[seen].max(initial=0.0), _LEAST_PEAK * soft, _MOST_PEAK * soft))
    level = np.sign(intensity) * np.arcsinh(np.abs(intensity) / soft) / np.arcsinh(top / soft)
    hue = np.where(brightest > 0.5 * soft, mixed / np.maximum(brightest, 1e-12), 1.0)
    picture = np.clip(_FLOOR + (1 - _FLOOR) * level * (1.0 + sure * (hue - 1.0)), 0.0, 1.0)
    white = _WHITE * np.clip(level, 0.0, 1.0) ** 6
    return np.asarray(np.moveaxis(picture + white * (1.0 - picture), 0, -1))
