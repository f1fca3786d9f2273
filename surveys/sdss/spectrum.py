"""One spectrum's pixels, whichever file they are from: where they begin and end, wavelength, width, which are bad.

All reductions share one lattice: pixel k is at 10^(k / 10^4) Angstrom. A plate's file has one range of k for all its
fibres; a spectrum's own file only the pixels between its first and last with data, and float32 logarithms, good to a
hundredth of a pixel. Both become whole numbers k first, so that a record does not depend on where it was read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

STEP = 1e-4
"""Width of a pixel in log10 of the wavelength."""

# Bits of SPPIXMASK. Where they matter the pipeline has set ivar to 0; of those it leaves weight to, only these say that
# the number is not the object's. The rest (near a bad column, low flat field, crosstalk, some rejected, the smear bits
# of whole fibres) is for information, and would cost whole spectra.
BAD_BITS = {
    "NOPLUG": 0,
    "BADTRACE": 1,
    "BADFLAT": 2,
    "BADARC": 3,
    "FULLREJECT": 18,
    "NOSKY": 22,
    "BRIGHTSKY": 23,
    "BADFLUXFACTOR": 26,
    "BADSKYCHI": 27,
    "REDMONSTER": 28,
}
BAD = np.int32(sum(1 << bit for bit in BAD_BITS.values()))


@dataclass(frozen=True)
class Pixels:
    """N spectra on one stretch of the lattice, (N, L) each: what both kinds of file hold. `first` is the first k."""

    first: int
    flux: NDArray[Any]
    ivar: NDArray[Any]
    and_mask: NDArray[Any]
    or_mask: NDArray[Any]
    wdisp: NDArray[Any]


Flat = dict[str, NDArray[Any]]
"""Members of the `spectrum` struct, spectra end to end, and `length`, the pixels of each (0: it has no data)."""


def wavelength(k: NDArray[Any]) -> NDArray[np.float64]:
    """Vacuum wavelength of pixels of the lattice, Angstrom."""
    return np.asarray(10.0 ** (np.asarray(k, dtype=np.float64) / 1e4))


def lattice_index(loglam: float, step: float) -> int | None:
    """The pixel k at a logarithm of wavelength; None if it is not on the lattice, or pixels are of another width."""
    k = round(float(loglam) / STEP)
    return k if abs(loglam / STEP - k) < 0.05 and abs(step / STEP - 1) < 1e-6 else None


def trimmed(pixels: Pixels) -> Flat:
    """The spectra without the ends that have no data, in the record's units.

    Values that are no numbers, and negative weights, become ivar 0; flux stays what the archive has, or 0. lsf_sigma
    is the dispersion, sigma in pixels, in Angstrom; 0 where it is not known.
    """
    flux, ivar, wdisp = (values.astype(np.float32) for values in (pixels.flux, pixels.ivar, pixels.wdisp))
    number = np.isfinite(flux)
    flux[~number] = 0
    ivar[~(number & np.isfinite(ivar) & (ivar > 0))] = 0
    wdisp[~(np.isfinite(wdisp) & (wdisp > 0))] = 0
    data = ivar > 0
    inside = np.logical_or.accumulate(data, axis=1) & np.logical_or.accumulate(data[:, ::-1], axis=1)[:, ::-1]
    wave = wavelength(pixels.first + np.arange(flux.shape[1]))
    width = wdisp * (wave * (STEP * np.log(10.0)))
    bits = pixels.and_mask[inside].astype(np.int32)
    return {
        "length": np.count_nonzero(inside, axis=1),
        "flux": flux[inside],
        "ivar": ivar[inside],
        "lsf_sigma": width[inside].astype(np.float32),
        "lambda": np.broadcast_to(wave.astype(np.float32), flux.shape)[inside],
        "mask": ~data[inside] | ((bits & BAD) != 0),
        "maskbits": bits,
        "maskbits_or": pixels.or_mask[inside].astype(np.int32),
    }


def together(parts: Iterable[Flat]) -> Flat:
    """Spectra after one another."""
    parts = list(parts)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def lists(flat: Flat) -> dict[str, pa.ListArray]:
    """The members as Arrow lists, one a spectrum, without those of no length."""
    length = flat["length"][flat["length"] > 0]
    offsets = pa.array(np.concatenate([[0], np.cumsum(length)]).astype(np.int32))
    found = {}
    for name, values in flat.items():
        if name != "length":
            item = _flags(values) if values.dtype == bool else pa.array(values)
            kind = pa.list_(pa.field("element", item.type, nullable=False))
            found[name] = pa.ListArray.from_arrays(offsets, item, type=kind)
    return found


def _flags(values: NDArray[np.bool_]) -> pa.Array:
    """Booleans as Arrow has them, eight to a byte: Arrow's own way there takes 20 times longer."""
    bits = pa.py_buffer(np.packbits(values, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, bits])
