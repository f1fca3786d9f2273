"""Many small pictures as PNG files, fast and always the same bytes."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Bytes = npt.NDArray[np.uint8]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_column(pictures: Bytes) -> pa.StructArray:
    """Pictures (N, H, W) or (N, H, W, 3) as the PNG column that the Hugging Face `Image` feature reads."""
    encoded = pa.array(png_files(pictures), type=pa.binary())
    return pa.StructArray.from_arrays([encoded, pa.nulls(len(pictures), pa.string())], names=["bytes", "path"])


def png_files(pictures: Bytes) -> list[bytes]:
    """Each picture as a PNG file: every row as differences from the pixel to the left (filter 1), then deflate.

    All pictures are filtered at once, and runs are all that deflate looks for: less than half the time of a general
    encoder, and smaller files, as pixels of the sky repeat little else.
    """
    count, height, width = pictures.shape[:3]
    depth = pictures.shape[3] if pictures.ndim == 4 else 1
    rows = np.ones((count, height, 1 + width * depth), dtype=np.uint8)
    values = pictures.reshape(count, height, width * depth)
    rows[:, :, 1 : 1 + depth] = values[:, :, :depth]
    np.subtract(values[:, :, depth:], values[:, :, :-depth], out=rows[:, :, 1 + depth :])
    colour = {1: 0, 3: 2}[depth]  # grey, or red, green and blue
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))
    tail = _chunk(b"IEND", b"")
    return [b"".join((_SIGNATURE, head, _chunk(b"IDAT", _deflate(picture)), tail)) for picture in rows]


def _deflate(values: Bytes) -> bytes:
    stream = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    return stream.compress(values.data) + stream.flush()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
