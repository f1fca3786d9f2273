"""Objects seen turned and mirrored: what is drawn on the sky can be shown in eight ways, none of them the right one.

    turned("image", "image", values, 5)        decoded columns, turned by 90 degrees and mirrored

View v is turned by v % 4 quarters, as `numpy.rot90` does, and then mirrored left to right if v is 4 or more. Numbers
that have a direction turn with it where they can; where they cannot, a turned view has none.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

VIEWS = 8
STAMP = 160
"""Pixels a side of the stamps that listed sources are counted in."""

_DRAWN = ("image", "segmap", "catalogue")
_ELLIPTICITIES = ("SHAPE_E1", "SHAPE_E2")
_FIXED = ("pmra", "pmdec", "i_sdssshape_shape11", "i_sdssshape_shape12", "i_sdssshape_shape22")
"""They turn only together with others of their object."""


def has_direction(kind: str, column: str) -> bool:
    """Whether what a kind of codec makes of a column depends on the view."""
    return kind in _DRAWN or column in (*_ELLIPTICITIES, *_FIXED)


def turned(kind: str, column: str, values: Any, view: int) -> Any:
    """A decoded column in some view; None if it has a direction that does not turn alone."""
    if view == 0 or not has_direction(kind, column):
        return values
    if column in _FIXED:
        return None
    if column in _ELLIPTICITIES:
        return values * _sign(column, view)
    if kind == "image":
        return {name: planes(of, view) if name in ("flux", "ivar", "mask") else of for name, of in values.items()}
    return _listed(values, view) if kind == "catalogue" else planes(values, view)


def _sign(column: str, view: int) -> int:
    """Ellipticities go round twice in a turn: a quarter reverses both, a mirror the one that is diagonal."""
    mirrored = view >= 4 and column == "SHAPE_E2"
    return -1 if (view % 2 == 1) != mirrored else 1


def planes(values: Any, view: int) -> Any:
    """Arrays of planes in one of the eight ways that a square has, or a list of them with None where there are none."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        out = np.rot90(values, view % 4, axes=(-2, -1))
        return np.ascontiguousarray(out[..., ::-1] if view >= 4 else out)
    return [None if one is None else planes(np.asarray(one), view) for one in values]


def _listed(values: dict[str, Any], view: int) -> dict[str, Any]:
    """Lists of sources: where they are, and their ellipticities."""
    x, y = values["X"], values["Y"]
    for _ in range(view % 4):
        x, y = y, _each(x, lambda one: STAMP - 1 - one)
    if view >= 4:
        x = _each(x, lambda one: STAMP - 1 - one)
    signs = {name: _sign(name, view) for name in _ELLIPTICITIES if name in values}
    shapes = {name: _each(values[name], partial(np.multiply, sign)) for name, sign in signs.items()}
    return {**values, "X": x, "Y": y, **shapes}


def _each(rows: Any, of: Any) -> list[Any]:
    return [None if row is None else of(np.asarray(row)) for row in rows]
