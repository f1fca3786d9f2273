"""What was simulated, kept between processes where `MMU_SIMULATED_CACHE` names a folder; otherwise nothing is kept.

Tests and tutorials ask for the same few files, of the same sky, in hundreds of processes.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

VARIABLE = "MMU_SIMULATED_CACHE"
_ROOMS = ("simulate", "fits", "sky")
"""What simulators use of this package, besides declarations."""
_LIBRARIES = ("astropy", "h5py", "healpy", "numpy", "pillow", "scipy")


def place(name: str, code: Path | None, *what: object) -> Path | None:
    """Where something is kept, or None if nothing is; what other code made has another place.

    Args:
        name: a folder for it.
        code: folder of the code that makes it, besides the one here.
        what: all that it depends on.
    """
    folder = os.environ.get(VARIABLE)
    if not folder:
        return None
    key = json.dumps([_code(code), *map(repr, what)])
    return Path(folder) / name / hashlib.sha256(key.encode()).hexdigest()


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """While one process makes what will be kept, others that want it wait, and then find it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        yield


def keep(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` write a file that is whole or not there, whoever writes it at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(".tmp", path.name, path.parent)
    os.close(handle)
    try:
        write(Path(name))
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


@functools.lru_cache
def _code(folder: Path | None) -> str:
    """Digest of the code that simulates, and of the versions of what it uses."""
    digest = hashlib.sha256(" ".join(version(name) for name in _LIBRARIES).encode())
    package = Path(__file__).parent
    for room in (*(package / room for room in _ROOMS), *([folder] if folder else [])):
        for file in sorted(room.rglob("*.py")):
            digest.update(f"{file.name} {file.stat().st_size} ".encode() + file.read_bytes())
    return digest.hexdigest()
