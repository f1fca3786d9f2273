"""What `mmu.look` draws, as data that a page can hold; and words where it cannot draw."""

from __future__ import annotations

import base64
import io
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

MISSING = "Pictures need matplotlib: `pip install 'multimodal-universe[plot]'`, then make the report again."


@dataclass(frozen=True)
class Picture:
    """A picture as a page holds it: `url` is the PNG itself."""

    url: str
    width: int
    height: int
    alt: str


class Album:
    """Where pictures are drawn: in a folder that is kept, or in one that is not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.taken: set[str] = set()
        self.possible = find_spec("matplotlib") is not None

    def take(self, name: str, alt: str, draw: Callable[[Path], Path | None]) -> Picture | None:
        """Draw a picture, called `name` or a little longer; None where there is nothing to draw, or to draw with."""
        if not self.possible:
            return None
        while name in self.taken:
            name += "-more"
        self.taken.add(name)
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", category=UserWarning
            )  # odd data make odd axes; the page is no place to say
            drawn = draw(self.folder / f"{name}.png")
        return None if drawn is None else embedded(drawn, alt)


@contextmanager
def album(keep: Path | None) -> Iterator[Album]:
    """An album in `keep`, or one that is gone afterwards."""
    if keep is not None:
        yield Album(keep)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Album(Path(folder))


def embedded(path: Path, alt: str) -> Picture:
    """A PNG file as a data URL; in 256 colours, dithered, it looks the same and is a third of the size."""
    from PIL import Image

    with Image.open(path) as image:
        picture = image.convert("RGB")
    buffer = io.BytesIO()
    picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.FLOYDSTEINBERG).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return Picture(f"data:image/png;base64,{data}", *picture.size, alt)
