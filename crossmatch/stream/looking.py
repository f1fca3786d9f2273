"""What no schema says of a dataset's arrays, from a look at some row groups: shapes in others' files, and bands."""

from __future__ import annotations

from typing import Any

from crossmatch.stream.arrays import Asked, Shape, leaves, members
from crossmatch.stream.decode import column_at, common_shape
from crossmatch.stream.reading import read, sizes
from crossmatch.stream.samples import Side

_LOOK_AT = 4
"""Files whose first row group is looked at."""


def look(side: Side, asked: Asked) -> tuple[dict[str, Shape], list[str]]:
    """Path -> shape of a row, None along axes where rows differ; and bands of images, the fullest row's first."""
    wanted = None if asked.columns is None else asked.columns.get(side.name, ())
    chosen = [
        (column, path)
        for name, column, path in leaves(side)
        if wanted is None or name in wanted or name.partition(".")[0] in wanted
    ]
    unsaid = [path for column, path in chosen if column.shape and not _says_shape(side, path)]
    images = dict.fromkeys(path.rpartition(".")[0] for column, path in chosen if column.modality == "image")
    banded = [f"{top}.band" for top in images if top and "band" in members(side, top)]
    shapes: dict[str, Shape] = {}
    bands: list[str] = []
    places = [files[0] for files in side.files[:: max(1, len(side.files) // _LOOK_AT)]][:_LOOK_AT]
    for place in places if unsaid or banded else ():
        if not len(sizes(place)):
            continue
        table = read(place, 0, [*unsaid, *banded])
        for path in unsaid:
            new = common_shape(column_at(table, path))
            shapes[path] = _common(shapes.get(path, new), new)
        for path in banded:
            bands += _bands(column_at(table, path))
    given = None if asked.bands is None else asked.bands.get(side.name)
    return shapes, list(given or dict.fromkeys(bands))


def _says_shape(side: Side, path: str) -> bool:
    """True where the field's metadata have the shape, as in datasets of ours."""
    top, _, member = path.partition(".")
    field = side.schema.field(top)
    field = field.type.field(member) if member else field
    return b"shape" in (field.metadata or {})


def _bands(column: Any) -> list[str]:
    lengths = column.value_lengths().fill_null(0).to_numpy()
    fullest = column[int(lengths.argmax())].as_py() if len(lengths) else []
    return [*(fullest or []), *column.flatten().unique().to_pylist()]


def _common(known: Shape, new: Shape) -> Shape:
    return tuple(a if a == b else None for a, b in zip(known, new, strict=True))
