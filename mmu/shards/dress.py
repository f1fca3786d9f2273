"""Dress a dataset to be shown: pictures of its sky and of some objects, and a card that shows them.

A build does without: pictures need matplotlib (the `plot` extra), and some time. Without it the card has none.
"""

from __future__ import annotations

import importlib
import json
import logging
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmu.build.verify_match import ACCOUNT
from mmu.dataset import Dataset
from mmu.errors import MmuError, UsageError
from mmu.shards.beside import Piece, picture_path, pictures
from mmu.shards.card import rows_of, write_card
from mmu.shards.parquet import checksum
from mmu.survey import get_survey

log = logging.getLogger("mmu")

SAMPLES = 12
_MATCHES = ("association", "pairs")


def dress(root: str | Path) -> None:
    """Draw what is not drawn yet of a dataset or a match, and write its card and croissant.json.

    A picture that shows the rows as they are stays; called twice, nothing changes.

    Args:
        root: a survey's folder, or that of a match.

    Raises:
        UsageError: there is no built dataset, or one of a survey that is not installed.
    """
    folder = Path(root).expanduser()
    if any((folder / part / ACCOUNT).is_file() for part in _MATCHES):
        importlib.import_module("crossmatch.card").describe(folder)
        return
    builds = _builds(folder)
    survey = get_survey(next(iter(builds.values()))["survey"])
    write_card(folder, survey, _drawn(folder, rows_of(builds)))


def _builds(folder: Path) -> dict[str, dict[str, Any]]:
    """The releases in a survey's folder: what build.json says of each."""
    builds = {path.parts[-3]: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*/_mmu/build.json"))}
    if not builds:
        release = folder / "_mmu" / "build.json"
        if release.is_file():
            raise UsageError(f"{folder} is one release; give the folder that it is in, {folder.parent}.")
        raise UsageError(f"{folder} holds no finished dataset; give OUT/SURVEY of a build, or OUT of a match.")
    return builds


def _drawn(folder: Path, rows: dict[str, str]) -> dict[str, Piece]:
    """Draw the pictures of releases whose card does not show them as they are now."""
    if find_spec("matplotlib") is None:
        log.info("%s: no pictures, as matplotlib is not installed (pip install 'multimodal-universe[plot]').", folder)
        return {}
    from mmu import look

    there = pictures(folder, rows, {})
    drawn = {}
    for release, digest in rows.items():
        data = Dataset(folder / release)
        ways: dict[str, Callable[[Path], Path | None]] = {
            "coverage": partial(look.draw_sky, {release: data}),
            "samples": partial(look.draw, data, count=SAMPLES),
        }
        for kind, draw in ways.items():
            if (name := picture_path(kind, release)) not in there and _draw(draw, folder / name):
                drawn[name] = Piece(checksum(folder / name), digest)
    return drawn


def _draw(draw: Callable[[Path], Path | None], path: Path) -> bool:
    """Draw beside, then rename; False where there is nothing to draw."""
    unfinished = path.with_name(f".{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # matplotlib's, of rows that are all alike: nothing for whoever publishes
            if draw(unfinished) is None:
                return False
        unfinished.replace(path)
    except MmuError as problem:
        log.warning("%s could not be drawn: %s", path.name, problem)
        return False
    finally:
        unfinished.unlink(missing_ok=True)
    return True
