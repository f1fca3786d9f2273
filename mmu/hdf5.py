"""HDF5 files from outside: what such a file may hold is looked at before a byte of its data is read.

An HDF5 file can point into other files (external links, external storage, virtual datasets), run plug-ins (filters),
and declare more than any memory holds in a few bytes. None of that is needed for arrays.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmu.errors import FormatError, MmuError

MOST_OBJECTS = 100_000
FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
_DEFECTS = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError, OverflowError)


@contextmanager
def open_hdf5(path: Path, most_bytes: int, only: Container[str] | None = None) -> Iterator[Any]:
    """A file from outside as an open `h5py.File`, in which every object was looked at.

    Args:
        most_bytes: what all datasets together may declare to unpack to.
        only: names of the datasets that will be read, in whichever group; the others may be of any size and kind.

    Raises:
        FormatError: it is no HDF5 file, is damaged, declares more than that, points elsewhere, or holds what is not
            plain arrays. Errors of the library while the file is open become this one too.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            _Look(path.name, most_bytes, only).at(file)
            yield file
    except MmuError:
        raise
    except _DEFECTS as problem:
        msg = f"{path.name}: not a whole HDF5 file ({_few(problem)}); fetch it again, or look at it."
        raise FormatError(msg) from problem


class _Look:
    """A walk over everything that hard links lead to, each object once."""

    def __init__(self, name: str, most_bytes: int, only: Container[str] | None) -> None:
        self._name, self._most, self._only, self._bytes = name, most_bytes, only, 0
        self._seen: set[int] = set()
        self._objects = 0

    def at(self, root: Any) -> None:
        """Every object below `root`."""
        import h5py

        self._seen.add(_address(root))
        waiting = [root]
        while waiting:
            group = waiting.pop()
            self._count(len(group))
            for key in group:
                where = f"{group.name.rstrip('/')}/{key}"
                if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                    raise self._error(f"{where!r} is a link to another place, perhaps in another file")
                if self._ignored(group, key):
                    continue
                found = group[key]
                if _address(found) in self._seen:
                    continue
                self._seen.add(_address(found))
                if isinstance(found, h5py.Group):
                    waiting.append(found)
                elif isinstance(found, h5py.Dataset):
                    self._dataset(found, where)

    def _ignored(self, group: Any, key: str) -> bool:
        """True for a dataset that will not be read; told without opening it, as wide files have hundreds."""
        import h5py

        if self._only is None or key in self._only:
            return False
        return bool(h5py.h5o.get_info(group.id, key.encode()).type == h5py.h5o.TYPE_DATASET)

    def _count(self, more: int) -> None:
        self._objects += more
        if self._objects > MOST_OBJECTS:
            raise self._error(f"it holds more than {MOST_OBJECTS} objects")

    def _dataset(self, found: Any, where: str) -> None:
        import h5py

        made = found.id.get_create_plist()
        if made.get_layout() not in (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED):
            raise self._error(f"{where!r} is a virtual dataset, made of other files")
        if made.get_layout() != h5py.h5d.CHUNKED and made.get_external_count():
            raise self._error(f"{where!r} keeps its data in another file")
        for number in range(made.get_nfilters()):
            code = made.get_filter(number)[0]
            if code not in FILTERS:
                raise self._error(f"{where!r} needs the filter {code}; allowed are {', '.join(FILTERS.values())}")
        if found.dtype.hasobject and not (found.shape == () and h5py.check_string_dtype(found.dtype)):
            raise self._error(f"{where!r} holds references or values of variable length")
        self._size(found, where)

    def _size(self, found: Any, where: str) -> None:
        """What it unpacks to, and the least that reading one value takes."""
        each = found.dtype.itemsize
        chunk = each
        for length in found.chunks or ():
            chunk *= int(length)
        total = each
        for length in found.shape or ():
            total *= int(length)
        self._bytes += total
        if max(self._bytes, chunk) > self._most:
            raise self._error(
                f"{where!r} brings it to {max(self._bytes, chunk)} bytes unpacked, more than the {self._most} allowed"
            )

    def _error(self, what: str) -> FormatError:
        return FormatError(f"{self._name}: {what}; the file is refused.")


def _address(found: Any) -> int:
    """Which object of the file this is, whatever its name."""
    import h5py

    return int(h5py.h5o.get_info(found.id).addr)


def _few(problem: BaseException) -> str:
    return str(problem).strip("'\"").partition("\n")[0][:120] or type(problem).__name__
