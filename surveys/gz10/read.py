"""A range of the file's rows -> records. An id names its row, which must be in the range."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmu.errors import FormatError
from mmu.png import png_column
from mmu.schema import table_of
from mmu.survey import Paths, Records, Release
from surveys.gz10 import CLASSES, PATH
from surveys.gz10.archive import object_id
from surveys.gz10.file import open_galaxies

AT_ONCE = 64
"""Pictures encoded at once: what they need besides their own pixels is as large again."""


def read(release: Release, unit: str, paths: Paths, rows: pa.Table) -> Records:
    """Records of one range of rows: the slice that spans those wanted is read once."""
    wanted = np.sort(np.array([int(name.rpartition("-")[2]) for name in rows["object_id"].to_pylist()], dtype=np.int64))
    first, last = (int(number) for number in unit.split("-"))
    if len(wanted) and not first <= wanted[0] <= wanted[-1] <= last:
        raise FormatError(f"{unit}: rows {wanted[0]} to {wanted[-1]} were asked for; plan this build anew.")
    span = slice(int(wanted[0]), int(wanted[-1]) + 1) if len(wanted) else slice(0, 0)
    with open_galaxies(paths[PATH]) as file:
        if len(wanted) and len(file["ra"]) < span.stop:
            raise FormatError(f"{PATH}: it has {len(file['ra'])} rows, row {wanted[-1]} was asked for.")
        values = {
            "ra": file["ra"][span],
            "dec": file["dec"][span],
            "gz10_label": _labels(file["ans"][span]),
            "redshift": file["redshift"][span],
        }
        pixels = file["images"][span] if "rgb_image" in release.schema else None
        if pixels is not None:
            values["rgb_pixel_scale"] = file["pxscale"][span]
    place = wanted - span.start
    out: dict[str, Any] = {name: column[place] for name, column in values.items()}
    out["object_id"] = np.array([object_id(row) for row in wanted.tolist()], dtype="U16")
    out["row"] = wanted.astype(np.int32)
    if pixels is not None:
        out["rgb_image"] = _pictures(pixels, place)
    return Records(table_of(release.schema, out))


def _labels(values: NDArray[Any]) -> NDArray[np.int32]:
    if len(values) and (values.min() < 0 or values.max() >= len(CLASSES)):
        raise FormatError(f"{PATH}: labels are 0 to {len(CLASSES) - 1}, found {values.min()} to {values.max()}.")
    return values.astype(np.int32)


def _pictures(pixels: NDArray[np.uint8], place: NDArray[np.intp]) -> pa.Array:
    """The wanted pictures as PNG; every pixel stays what it is."""
    parts = [png_column(pixels[place[start : start + AT_ONCE]]) for start in range(0, max(len(place), 1), AT_ONCE)]
    return pa.concat_arrays(parts)
