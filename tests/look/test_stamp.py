"""Stamps: north up, east left, the right colours, the right place of bands of different scale, no data told."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image as Picture

from mmu.look.stamp import colour_picture, draw_picture, draw_stamp, image_of
from mmu.look.style import NOWHERE, figure
from mmu.look.subject import Subject, read
from mmu.schema import Column, picture
from tests.look.made import SIDE, image_column, images, made, spot


def subject(folder: Path, *rows: dict[str, Any], scale: float = 0.25, **more: Any) -> Subject:
    dataset = made(folder, (image_column(**more),), {"image": images(list(rows), scale)}, len(rows))
    return read(dataset, ["obj-000"], ["image"])[0]


def shown(folder: Path, one: Subject) -> tuple[Any, Any]:
    """The picture on the axis, and the axis."""
    image = image_of(one, "image")
    assert image is not None
    with figure(folder / "stamp.png", 3, 3) as made_figure:
        axis = made_figure.add_subplot()
        draw_stamp(axis, image)
    return np.asarray(axis.images[0].get_array()), axis


def test_north_is_up_and_east_left(tmp_path: Path) -> None:
    """A source 2 arcsec north and 3 arcsec east of the middle: 8 rows on, 12 columns back."""
    middle = SIDE // 2
    pixels, axis = shown(tmp_path, subject(tmp_path / "s", {"r": spot(middle - 12, middle + 8)}))
    row, column = np.unravel_index(int(pixels.sum(axis=-1).argmax()), pixels.shape[:2])
    assert abs(row - (middle + 8)) <= 1
    assert abs(column - (middle - 12)) <= 1
    to_screen = axis.transData.transform
    source, centre = to_screen((column, row)), to_screen((middle, middle))
    assert source[1] > centre[1]  # north is up on the screen
    assert source[0] < centre[0]  # and east to the left
    arrows = {text.get_text(): text.get_position() for text in axis.texts if text.get_text() in ("N", "E")}
    assert arrows["N"][1] > arrows["E"][1]
    assert arrows["E"][0] < arrows["N"][0]


def test_the_bar_is_as_long_as_it_says(tmp_path: Path) -> None:
    _, axis = shown(tmp_path, subject(tmp_path / "s", {"r": spot(16, 16)}))
    told = float(next(text.get_text() for text in axis.texts if text.get_text().endswith('"')).rstrip('"'))
    x = axis.lines[0].get_xdata()
    assert (x[1] - x[0]) * SIDE * 0.25 == pytest.approx(told)


@pytest.mark.parametrize("bands", [("z", "g", "r"), ("f444w", "f277w", "f090w"), ("des-z", "des-i", "des-r", "des-g")])
def test_colours_follow_the_names_of_bands_not_their_order(tmp_path: Path, bands: tuple[str, ...]) -> None:
    planes = {band: np.zeros((SIDE, SIDE)) for band in bands}
    planes[bands[0]] = spot(16, 16)  # the reddest, which comes first
    pixels, _ = shown(tmp_path, subject(tmp_path / "s", planes))
    assert pixels[17, 17, 0] > pixels[17, 17, 1] + 0.1
    assert pixels[17, 17, 0] > pixels[17, 17, 2] + 0.1


def test_pixels_without_data_are_told_from_dark_ones(tmp_path: Path) -> None:
    planes = {band: spot(16, 16) for band in "grz"}
    for plane in planes.values():
        plane[:5] = np.nan
    planes["g"][10:12] = np.nan  # in one band only
    pixels, _ = shown(tmp_path, subject(tmp_path / "s", planes))
    np.testing.assert_allclose(pixels[:5], np.broadcast_to(to_rgb(NOWHERE), (5, SIDE, 3)))
    assert (pixels[10:12].max(axis=-1) < 0.3).all()


@pytest.mark.parametrize("plane", [np.full((SIDE, SIDE), np.nan), np.zeros((SIDE, SIDE))])
def test_blank_images_are_drawn(tmp_path: Path, plane: np.ndarray[Any, Any]) -> None:
    pixels, _ = shown(tmp_path, subject(tmp_path / "s", {"g": plane, "r": plane}))
    assert np.isfinite(pixels).all()


def test_an_image_without_a_band_gives_no_panel(tmp_path: Path) -> None:
    assert not subject(tmp_path / "s", {}, {"g": spot(16, 16)}).record["image"]["flux"].size
    assert image_of(subject(tmp_path / "t", {}, {"g": spot(16, 16)}), "image") is None


def test_bands_of_different_scale_show_the_same_sky(tmp_path: Path) -> None:
    """The same source in a band of 0.02 arcsec a pixel, and in one of 0.04, whose pixels hold four times the flux."""
    rows = images([{"f150w": spot(48 + 20, 48 - 10, 1.0, 96), "f444w": spot(48 + 10, 48 - 5, 4.0, 96)}])
    rows["scale"] = [[0.02, 0.04]]
    dataset = made(tmp_path / "s", (image_column("10 nJy", 28.9),), {"image": rows})
    image = image_of(read(dataset, ["obj-000"], ["image"])[0], "image")
    assert image is not None
    assert image.field == pytest.approx(1.92)
    pixels, _, scale = colour_picture(image)
    assert pixels.shape == (96, 96, 3)
    assert scale == pytest.approx(0.02)
    at = np.argwhere(pixels.sum(axis=-1) > 0.9 * pixels.sum(axis=-1).max()).mean(axis=0)
    np.testing.assert_allclose(at, [38, 68], atol=1.0)
    red, blue = pixels[..., 0], pixels[..., 2]
    for channel in (red, blue):
        row, column = np.unravel_index(int(channel.argmax()), channel.shape)
        assert abs(row - 38) <= 3
        assert abs(column - 68) <= 3


@pytest.mark.parametrize(("meaning", "up"), [("a picture; row 0 is south", True), ("a picture, row 0 on top", False)])
def test_pictures_stand_as_their_column_says(tmp_path: Path, meaning: str, up: bool) -> None:
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[0, 0] = 255
    buffer = io.BytesIO()
    Picture.fromarray(pixels).save(buffer, "png")
    columns = (picture("rgb", (8, 8, 3), meaning), Column("pixscale", "float64", "arcsec/pixel"))
    row = {"rgb": [{"bytes": buffer.getvalue(), "path": None}], "pixscale": [0.5]}
    one = read(made(tmp_path / "s", columns, row), ["obj-000"], ["picture"])[0]
    with figure(tmp_path / "p.png", 3, 3) as made_figure:
        axis = made_figure.add_subplot()
        draw_picture(axis, one, "rgb", "")
        assert (axis.transData.transform((0, 0))[1] < axis.transData.transform((0, 7))[1]) == up
        assert ("N" in [text.get_text() for text in axis.texts]) == up
        assert '1"' in [text.get_text() for text in axis.texts]
