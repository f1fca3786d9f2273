"""Making the files of a simulated archive, or copying them from where an earlier process kept them.

Where `MMU_SIMULATED_CACHE` names a folder, a file that was made is kept there, and so is the list of a release's files:
tests and tutorials ask for the same few in hundreds of processes. Without it nothing is kept.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmu.simulate.sky import Sky

VARIABLE = "MMU_SIMULATED_CACHE"
_ROOMS = ("simulate", "fits", "sky")
"""What simulators use of this package, besides declarations."""
_LIBRARIES = ("astropy", "h5py", "healpy", "numpy", "pillow", "scipy")


def files(module: str, release: str, sky: Sky) -> dict[str, int]:
    """Every file of a release in the simulated archive of the survey in `module`, with its approximate size."""
    kept = _place(module, sky, "files", release)
    if kept is not None and kept.exists():
        return dict(json.loads(kept.read_bytes()))
    made = importlib.import_module(f"{module}.simulate").files(release, sky)
    listed = {path: int(size) for path, size in made.items()}
    if kept is not None:
        _keep(kept, lambda draft: draft.write_text(json.dumps(listed)))
    return listed


def render(module: str, path: str, sky: Sky, destination: Path, query: str = "") -> None:
    """Write a file of the simulated archive, or the answer to a question put to it, to `destination`."""
    if recall(module, path, sky, destination, query):
        return
    simulator = importlib.import_module(f"{module}.simulate")
    if query:
        simulator.answer(path, query, sky, destination)
    else:
        simulator.write(path, sky, destination)
    if (kept := _place(module, sky, "file", path, query)) is not None:
        _keep(kept, lambda draft: shutil.copyfile(destination, draft))


def recall(module: str, path: str, sky: Sky, destination: Path, query: str = "") -> bool:
    """Copy a file that was kept to `destination`; False if it was not.

    A copy, no link: what is done to a download must not be done to what is kept.
    """
    kept = _place(module, sky, "file", path, query)
    if kept is None or not kept.exists():
        return False
    shutil.copyfile(kept, destination)
    return True


def _place(module: str, sky: Sky, *what: str) -> Path | None:
    """Where something is kept, or None if nothing is: another sky or other code has another place."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return None
    key = json.dumps([module, repr(sky), _code(_folder(module)), *what])
    return Path(folder) / module / hashlib.sha256(key.encode()).hexdigest()


def _keep(kept: Path, write: Callable[[Path], object]) -> None:
    """Whole or not at all, whoever else keeps the same at the same time."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(".tmp", kept.name, kept.parent)
    os.close(handle)
    try:
        write(Path(name))
        Path(name).replace(kept)
    finally:
        Path(name).unlink(missing_ok=True)


@functools.lru_cache
def _code(survey: Path) -> str:
    """Digest of the code that makes the files of the survey in a folder, and of the versions of what it uses."""
    digest = hashlib.sha256(" ".join(version(name) for name in _LIBRARIES).encode())
    package = Path(__file__).parents[1]
    for folder in (*(package / room for room in _ROOMS), survey):
        for file in sorted(folder.rglob("*.py")):
            digest.update(f"{file.name} {file.stat().st_size} ".encode() + file.read_bytes())
    return digest.hexdigest()


def _folder(module: str) -> Path:
    """Where a package lies."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        msg = f"No module named {module!r}"
        raise ModuleNotFoundError(msg)
    return Path(found.origin).parent
