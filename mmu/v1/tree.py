"""Where the files of a v1 tree are: `ROOT[/RELEASE]/healpix=P/*.hdf5`, P an nside-16 pixel, nested."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from mmu.errors import UsageError, unknown

ORDER = 4
"""nside 16."""

ENDINGS = (".hdf5", ".h5")


def is_v1(path: str | Path) -> bool:
    """True for a folder of `healpix=P` folders, or a survey's folder with such in it that is not a catalogue itself."""
    path = Path(path).expanduser()
    if not path.is_dir():
        return False
    return bool(_pixels(path)) or (not _is_hats(path) and bool(releases_in(path)))


def root_of(path: str | Path, release: str | None = None) -> Path:
    """The folder of `healpix=P` folders that a path, and the name of a release, stand for.

    Raises:
        UsageError: the folder holds several releases, or not the one asked for.
    """
    folder = Path(path).expanduser()
    if _pixels(folder):
        if release not in (None, folder.name):
            raise UsageError(f"{folder} is not the release {release!r}; give the survey's folder, {folder.parent}.")
        return folder
    roots = releases_in(folder)
    if release is not None:
        found = [root for root in roots if root.name == release]
        if not found:
            raise unknown(f"release in {folder}", release, (root.name for root in roots))
        return found[0]
    if len(roots) != 1:
        raise UsageError(f"{folder} holds several releases; give one of {', '.join(map(str, roots))}.")
    return roots[0]


def releases_in(folder: Path) -> list[Path]:
    """The folders of releases: of v1 itself, and where a build of ours writes them."""
    children = [child for place in (folder, folder / "hdf5") if place.is_dir() for child in sorted(place.iterdir())]
    return [child for child in children if child.is_dir() and _pixels(child)]


def files_of(root: Path) -> dict[int, list[Path]]:
    """Files by pixel, both in order, the files of their names; the number of a folder may begin with zeros.

    Raises:
        UsageError: a folder is not named after a pixel, or there is no file in any.
    """
    found: dict[int, list[Path]] = defaultdict(list)
    for folder in sorted(_pixels(root)):
        number = re.fullmatch(r"healpix=(\d+)", folder.name)
        if number is None or int(number[1]) >= 12 << (2 * ORDER):
            raise UsageError(f"{folder} is not named after an nside-16 pixel, healpix=0 to healpix=3071.")
        found[int(number[1])] += sorted(path for path in folder.iterdir() if path.suffix in ENDINGS)
    if not any(found.values()):
        raise UsageError(f"{root} has folders healpix=P, but no .hdf5 or .h5 file in them.")
    return {pixel: paths for pixel, paths in sorted(found.items()) if paths}


def _pixels(folder: Path) -> list[Path]:
    return [child for child in folder.glob("healpix=*") if child.is_dir()]


def _is_hats(folder: Path) -> bool:
    """True if the folder, or one in it, is a catalogue that is better opened as such."""
    names = ("hats.properties", "properties", "collection.properties")
    return any((place / name).is_file() for place in (folder, *folder.iterdir()) for name in names)
