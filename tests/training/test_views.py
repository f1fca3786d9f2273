"""Turned and mirrored: images and the sources listed of them stay together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from training.views import STAMP, VIEWS, turned


def ellipse(x: float, y: float, e1: float, e2: float) -> Any:
    """Second moments of an image of one source: its place and its ellipticity, as pixels have them."""
    rows, columns = np.mgrid[:STAMP, :STAMP]
    a, b = columns - x, rows - y
    # Position angles are from north (up) to east (left): e1 along the vertical, e2 along the diagonal to upper left.
    return np.exp(-(a * a + b * b + e1 * (a * a - b * b) + 2 * e2 * a * b) / 50).astype(np.float32)


@pytest.mark.parametrize("view", range(VIEWS))
def test_listed_sources_stay_on_their_images(view: int) -> None:
    x, y, e1, e2 = 40.0, 95.0, 0.3, 0.2
    image = turned("image", "image", {"flux": ellipse(x, y, e1, e2)[None, None], "band": "g"}, view)
    listed = {
        name: [np.array([value]), None] for name, value in (("X", x), ("Y", y), ("SHAPE_E1", e1), ("SHAPE_E2", e2))
    }
    seen = turned("catalogue", "catalog", listed, view)
    values = [float(seen[name][0][0]) for name in listed]
    assert seen["X"][1] is None
    assert np.allclose(image["flux"][0, 0], ellipse(*values), atol=1e-5)
    assert image["flux"].flags.c_contiguous
    for name, value in (("SHAPE_E1", e1), ("SHAPE_E2", e2)):
        assert turned("scalar", name, np.array([value]), view)[0] == pytest.approx(float(seen[name][0][0]))
    picture = turned("segmap", "object_mask", [None, np.arange(6).reshape(2, 3)], view)
    assert picture[1].shape == ((2, 3) if view % 2 == 0 else (3, 2))


def test_views_are_all_different_and_the_first_is_what_was_given() -> None:
    flux = np.random.default_rng(0).random((1, 1, 4, 4))
    seen = [turned("image", "image", {"flux": flux}, view)["flux"] for view in range(VIEWS)]
    assert np.array_equal(seen[0], flux)
    assert len({one.tobytes() for one in seen}) == VIEWS


def test_what_has_no_direction_stays_and_what_cannot_turn_is_left_out() -> None:
    numbers = np.arange(3.0)
    assert turned("scalar", "FLUX_G", numbers, 3) is numbers
    assert turned("scalar", "pmra", numbers, 3) is None
    assert turned("scalar", "pmra", numbers, 0) is numbers
