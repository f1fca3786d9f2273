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
def open_hdf5(
    path: Path, most_bytes: int, only: Container[str] | None = None, *, ragged: bool = False
) -> Iterator[Any]:
    """A file from outside as an open `h5py.File`, in which every object was looked at.

    Args:
        most_bytes: what all datasets together may declare to unpack to.
        only: names of the datasets that will be read, in whichever group; the others may be of any size and kind.
        ragged: allow texts and lists of numbers of variable length. Each counts as large as the file, as all of them
            may point at one place.

    Raises:
        FormatError: it is no HDF5 file, is damaged, declares more than that, points elsewhere, or holds what is not
            plain arrays. Errors of the library while the file is open become this one too.
    """
    with looked_at(path, most_bytes, ragged=ragged) as look:
        look.everything(only)
        yield look.file


@contextmanager
def looked_at(path: Path, most_bytes: int, *, ragged: bool = False) -> Iterator[Look]:
    """A file from outside whose objects are looked at one by one, when they are asked for: see `open_hdf5`.

    Raises:
        FormatError: as `open_hdf5`, of those asked for.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield Look(file, path, most_bytes, ragged)
    except MmuError:
        raise
    except _DEFECTS as problem:
        msg = f"{path.name}: not a whole HDF5 file ({_few(problem)}); fetch it again, or look at it."
        raise FormatError(msg) from problem


class Look:
    """An open file, each object of which is looked at once, before it is used."""

    def __init__(self, file: Any, path: Path, most_bytes: int, ragged: bool = False) -> None:
        self.file = file
        self._name, self._most, self._bytes = path.name, most_bytes, 0
        self._ragged_bytes = path.stat().st_size if ragged else 0
        self._seen = {_address(file)}
        self._objects = 0

    def keys(self, group: Any) -> list[str]:
        """What a group holds, in its order."""
        self._count(len(group))
        return list(group)

    def member(self, group: Any, key: str) -> Any:
        """An object of a group, if it is a group or plain arrays."""
        return self._member(group, key)[0]

    def everything(self, only: Container[str] | None) -> None:
        """Look at all that hard links lead to; of datasets, those with the names in `only`."""
        import h5py

        waiting = [self.file]
        while waiting:
            group = waiting.pop()
            for key in self.keys(group):
                self._check_link(group, key)
                if not self._ignored(group, key, only):
                    found, new = self._member(group, key)
                    if new and isinstance(found, h5py.Group):
                        waiting.append(found)

    def _member(self, group: Any, key: str) -> tuple[Any, bool]:
        """An object, and whether it was met for the first time."""
        import h5py

        self._check_link(group, key)
        found = group[key]
        address = _address(found)
        if address in self._seen:
            return found, False
        self._seen.add(address)
        if isinstance(found, h5py.Dataset):
            self._dataset(found, _where(group, key))
        return found, True

    def _check_link(self, group: Any, key: str) -> None:
        import h5py

        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise self._error(f"{_where(group, key)!r} is a link to another place, perhaps in another file")

    @staticmethod
    def _ignored(group: Any, key: str, only: Container[str] | None) -> bool:
        """True for a dataset that will not be read; told without opening it, as wide files have hundreds."""
        import h5py

        if only is None or key in only:
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
        one_text = found.shape == () and h5py.check_string_dtype(found.dtype)
        if found.dtype.hasobject and not one_text and not (self._ragged_bytes and is_ragged(found.dtype)):
            raise self._error(f"{where!r} holds references or values of variable length")
        self._size(found, where)

    def _size(self, found: Any, where: str) -> None:
        """What it unpacks to, and the least that reading one value takes."""
        each = max(found.dtype.itemsize, self._ragged_bytes if found.dtype.hasobject else 0)
        chunk = each
        for length in found.chunks or ():
            chunk *= int(length)
        total = each
        for length in found.shape or ():
            total *= int(length)
        total += self._bytes
        if max(total, chunk) > self._most:
            raise self._error(
                f"{where!r} brings it to {max(total, chunk)} bytes unpacked, more than the {self._most} allowed"
            )
        self._bytes = total

    def _error(self, what: str) -> FormatError:
        return FormatError(f"{self._name}: {what}; the file is refused.")


def _where(group: Any, key: str) -> str:
    return f"{group.name.rstrip('/')}/{key}"


def is_text(dtype: Any) -> bool:
    """True for texts, of fixed or of variable length."""
    import h5py

    return h5py.check_string_dtype(dtype) is not None


def is_ragged(dtype: Any) -> bool:
    """True for texts, or lists of plain numbers, of variable length; h5py 3.16 swaps no bytes in the lists it reads."""
    import h5py

    if is_text(dtype):
        return True
    inner = h5py.check_vlen_dtype(dtype)
    return inner is not None and inner.kind in "biuf" and bool(inner.isnative)


def _address(found: Any) -> int:
    """Which object of the file this is, whatever its name."""
    import h5py

    return int(h5py.h5o.get_info(found.id).addr)


def _few(problem: BaseException) -> str:
    return str(problem).strip("'\"").partition("\n")[0][:120] or type(problem).__name__
