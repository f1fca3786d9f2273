"""Colour pictures and object masks as PNG: the same pixels as the stamps, row 0 in the south."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from mmu.errors import FormatError
from mmu.png import png_column
from mmu.stamps import Starts, cut
from surveys.legacysurvey.neighbours import SIZE

_SIGNATURE = b"\x89PNG\r\n\x1a\n"

Bytes = npt.NDArray[np.uint8]


def read_jpeg(path: Path, side: int) -> Bytes:
    """The archive's JPEG of a brick, (side, side, 3), turned so that row 0 is in the south like the arrays.

    Raises:
        FormatError: not a colour JPEG of that size; the size is checked before anything is decoded.
    """
    try:
        with Image.open(path, formats=["JPEG"]) as picture:
            if picture.size != (side, side):
                raise FormatError(f"{path.name}: expected a picture of {side} x {side}, found {picture.size}.")
            return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))[::-1]
    except (OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        msg = f"{path.name}: expected a JPEG, found one that cannot be read ({problem})."
        raise FormatError(msg) from problem


def stamps_of(path: Path | None, side: int, starts: Starts) -> Any:
    """The picture column cut from a brick's JPEG, black beyond its edge; nulls where the archive has no JPEG."""
    if path is None:
        return pa.nulls(len(starts), pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    out = np.zeros((len(starts), SIZE, SIZE, 3), dtype=np.uint8)
    cut(read_jpeg(path, side), starts, out)
    return png_column(out)
