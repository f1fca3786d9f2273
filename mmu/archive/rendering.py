"""Making the files of a simulated archive, or copying them from where an earlier process kept them."""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mmu import kept

if TYPE_CHECKING:
    from mmu.simulate.sky import Sky


def files(module: str, release: str, sky: Sky) -> dict[str, int]:
    """Every file of a release in the simulated archive of the survey in `module`, with its approximate size."""
    place = kept.place(module, _folder(module), "files", sky, release)
    if place is not None and place.exists():
        return dict(json.loads(place.read_bytes()))
    made = importlib.import_module(f"{module}.simulate").files(release, sky)
    listed = {path: int(size) for path, size in made.items()}
    if place is not None:
        kept.keep(place, lambda draft: draft.write_text(json.dumps(listed)))
    return listed


def render(module: str, path: str, sky: Sky, destination: Path, query: str = "") -> None:
    """Write a file of the simulated archive, or the answer to a question put to it, to `destination`."""
    if recall(module, path, sky, destination, query):
        return
    place = _place(module, path, sky, query)
    if place is None:
        _write(module, path, sky, destination, query)
        return
    with kept.turn(place):
        if not recall(module, path, sky, destination, query):
            _write(module, path, sky, destination, query)
            kept.keep(place, lambda draft: shutil.copyfile(destination, draft))


def recall(module: str, path: str, sky: Sky, destination: Path, query: str = "") -> bool:
    """Copy a file that was kept to `destination`; False if it was not.

    A copy, no link: what is done to a download must not be done to what is kept.
    """
    place = _place(module, path, sky, query)
    if place is None or not place.exists():
        return False
    shutil.copyfile(place, destination)
    return True


def _write(module: str, path: str, sky: Sky, destination: Path, query: str) -> None:
    simulator = importlib.import_module(f"{module}.simulate")
    if query:
        simulator.answer(path, query, sky, destination)
    else:
        simulator.write(path, sky, destination)


def _place(module: str, path: str, sky: Sky, query: str) -> Path | None:
    return kept.place(module, _folder(module), "file", sky, path, query)


def _folder(module: str) -> Path:
    """Where a package lies."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        msg = f"No module named {module!r}"
        raise ModuleNotFoundError(msg)
    return Path(found.origin).parent
