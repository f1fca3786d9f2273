"""Writing the files of a simulated archive so that the same content is always the same bytes."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

DITHER_SEEDS = 10_000  # FITS allows 1 to 10000


def records(dtype: Sequence[Any], columns: Mapping[str, Any], rows: int) -> npt.NDArray[np.void]:
    """A structured array of `rows` rows: columns not given are zero or blank, unknown ones are an error."""
    table = np.zeros(rows, np.dtype(list(dtype)))
    for name, values in columns.items():
        table[name] = values
    return table


def table_hdu(table: npt.NDArray[np.void], name: str = "", cards: Mapping[str, Any] | None = None) -> Any:
    """A binary table of a structured array."""
    hdu = fits.BinTableHDU(table, name=name or None)
    hdu.header.update(dict(cards or {}))
    return hdu


def compressed_hdu(
    plane: npt.NDArray[Any], header: fits.Header, algorithm: str = "RICE_1", seed: int = 0, step: float = 1.0
) -> fits.CompImageHDU:
    """A tile-compressed image as fpack makes it, in tiles of 100 x 100 pixels.

    Floats are quantised in steps of `step`, with subtractive dither 2. (A step relative to the noise would
    send tiles without noise through gzip, which stamps them with the time of day.)
    """
    floats: dict[str, Any] = {}
    if plane.dtype.kind == "f":
        floats = {"quantize_method": 2, "quantize_level": -step, "dither_seed": 1 + seed % DITHER_SEEDS}
    return fits.CompImageHDU(plane, header=header, compression_type=algorithm, tile_shape=(100, 100), **floats)


def write_fits(destination: Path, hdus: Sequence[Any], compress: bool = False, level: int = 9) -> None:
    """Write HDUs to a file, after an empty primary one unless the first is a primary; gzip on request."""
    first = [] if isinstance(hdus[0], fits.PrimaryHDU) else [fits.PrimaryHDU()]
    content = fits.HDUList([*first, *hdus])
    if not compress:
        content.writeto(destination, overwrite=True)
        return
    buffer = io.BytesIO()
    content.writeto(buffer)
    destination.write_bytes(gzip.compress(buffer.getbuffer(), level, mtime=0))
