"""The records of one v1 file, whichever of its three layouts it has: what they hold, and stretches of them as NumPy.

- arrays of one length: a dataset a column, its first axis the record (most surveys);
- one group a record, with datasets or attributes in it (MaNGA);
- one file a record, its position a scalar dataset (supernovae).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmu.errors import FormatError
from mmu.hdf5 import Look, is_text, looked_at
from mmu.identity import pairs_of

LEAST_BYTES = 1 << 30
MOST_PACKED = 100
"""What a file may unpack to: 1 GiB in any case, else so many times its own size."""

Source = tuple[str, ...]
"""Where values are: the name of a dataset, and of its field where it is a table."""

Block = dict[Source, np.ndarray[Any, Any]]
"""Values of some records, the first axis of each."""


@dataclass(frozen=True)
class Fact:
    """What a file says of one of its arrays: the dtype, the shape of a record's value, unit and polarity if it does."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    unit: str = ""
    polarity: str = ""


class Records(ABC):
    """The records of one open file.

    Attributes:
        rows: how many there are.
    """

    rows: int
    _shared_by = 1

    def __init__(self, look: Look, path: Path) -> None:
        self.look, self.path = look, path

    @abstractmethod
    def facts(self) -> dict[str, Fact | str]:
        """Name -> what a record has under it, or why that cannot be a column."""

    @abstractmethod
    def blocks(self, sources: Collection[Source], first: int, stop: int) -> Iterator[Block]:
        """The values of records `first` to `stop` - 1, in one piece or in several.

        Raises:
            FormatError: a record lacks one.
        """

    def width(self, sources: Collection[Source]) -> int:
        """Bytes of a record's values, those of the first where records differ; at least one."""
        return max(1, sum(self._width(source) for source in sources)) if self.rows else 1

    def _width(self, source: Source) -> int:
        member = self._taken(next(self._holders()), source[0])
        dtype, shape = member.dtype, member.shape or ()
        if len(source) > 1 and dtype.names:
            dtype = dtype.fields[source[1]][0]
        each = self.path.stat().st_size // self.rows if dtype.hasobject else dtype.itemsize
        return int(each * np.prod([int(length) for length in shape], dtype=np.float64)) // self._shared_by

    def shapes(self, sources: Collection[Source]) -> Iterator[dict[Source, tuple[int | None, ...]]]:
        """The shape of a record's value; once where all records of the file have one, else of each record."""
        for holder in self._holders():
            yield {source: self._shape(self._taken(holder, source[0]), source) for source in sources}

    def _shape(self, member: Any, source: Source) -> tuple[int | None, ...]:
        shape = member.shape[1:] if isinstance(self, Arrays) else member.shape
        dtype = member.dtype.fields[source[1]][0] if len(source) > 1 else member.dtype
        lists = (None,) if dtype.hasobject and not is_text(dtype) else ()
        return (*map(int, shape), *(dtype.subdtype[1] if dtype.subdtype else ()), *lists)

    @abstractmethod
    def _holders(self) -> Iterator[Any]:
        """What holds the values: of all records, or of each."""

    def _taken(self, holder: Any, name: str) -> Any:
        """A dataset, or an attribute, of a record or of all."""
        if name in holder:
            return self.look.member(holder, name)
        if name in holder.attrs:
            return _attribute(holder.attrs, name)
        where = f"{self.path}, {holder.name}" if holder.name != "/" else str(self.path)
        raise FormatError(f"{where}: there is no {name!r}, which the first file of the tree has; it is not whole.")


class Arrays(Records):
    """Arrays of one length."""

    def __init__(self, look: Look, path: Path, rows: int) -> None:
        super().__init__(look, path)
        self.rows, self._shared_by = rows, max(rows, 1)

    def _holders(self) -> Iterator[Any]:
        yield self.look.file

    def facts(self) -> dict[str, Fact | str]:
        return {name: self._fact(name) for name in self.look.keys(self.look.file)}

    def _fact(self, name: str) -> Fact | str:
        try:
            member = self.look.member(self.look.file, name)
        except FormatError as problem:
            return str(problem)
        if not hasattr(member, "dtype"):
            return "it is a group, beside arrays"
        if not member.shape or member.shape[0] != self.rows:
            return f"its shape is {member.shape}, where there are {self.rows} records"
        return _fact(member, member.shape[1:])

    def blocks(self, sources: Collection[Source], first: int, stop: int) -> Iterator[Block]:
        out: Block = {}
        for source in sources:
            member = self._taken(self.look.file, source[0])
            values = (member.fields(source[1]) if len(source) > 1 else member)[first:stop]
            if len(values) != stop - first:
                raise FormatError(f"{self.path}: {source[0]!r} has not the {self.rows} records that others have.")
            out[source] = values
        yield out


class Groups(Records):
    """One group a record."""

    def __init__(self, look: Look, path: Path) -> None:
        super().__init__(look, path)
        self._keys = look.keys(look.file)
        self.rows = len(self._keys)

    def facts(self) -> dict[str, Fact | str]:
        return _facts_of_one(self.look, next(self._holders()))

    def blocks(self, sources: Collection[Source], first: int, stop: int) -> Iterator[Block]:
        for key in self._keys[first:stop]:
            group = self._group(key)
            yield {source: _whole(self._taken(group, source[0]), source) for source in sources}

    def _holders(self) -> Iterator[Any]:
        return (self._group(key) for key in self._keys)

    def _group(self, key: str) -> Any:
        group = self.look.member(self.look.file, key)
        if not hasattr(group, "keys"):
            raise FormatError(f"{self.path} holds neither ra and dec, nor a group for each record, but {key!r}.")
        return group


class One(Records):
    """One file a record."""

    rows = 1

    def _holders(self) -> Iterator[Any]:
        yield self.look.file

    def facts(self) -> dict[str, Fact | str]:
        return _facts_of_one(self.look, self.look.file)

    def blocks(self, sources: Collection[Source], first: int, stop: int) -> Iterator[Block]:
        if first < stop:
            yield {source: _whole(self._taken(self.look.file, source[0]), source) for source in sources}


@contextmanager
def open_records(path: Path, pair: tuple[str, str] | None = None) -> Iterator[Records]:
    """The records of a file, of which no more is looked at than what is asked for.

    Args:
        pair: what ra and dec are called, where it is known.

    Raises:
        FormatError: it is damaged, or in none of the layouts; what is asked for points elsewhere, or declares far more
            than the file holds.
    """
    most = max(LEAST_BYTES, MOST_PACKED * path.stat().st_size)
    with looked_at(path, most, ragged=True) as look:
        yield _layout(look, path, pair)


def _layout(look: Look, path: Path, known: tuple[str, str] | None) -> Records:
    if known and known[0] in look.file and known[1] in look.file:
        pairs = [known]
    elif names := look.keys(look.file):
        pairs = pairs_of(names)
    else:
        raise FormatError(f"{path} is empty.")
    for pair in pairs:
        ra, dec = (look.member(look.file, name) for name in pair)
        if hasattr(ra, "dtype") and hasattr(dec, "dtype"):
            if ra.shape == ():
                return One(look, path)
            if ra.shape is None or len(ra.shape) != 1 or ra.shape != dec.shape:
                shapes = f"{ra.shape} and {dec.shape}"
                raise FormatError(f"{path}: {' and '.join(pair)} are of shape {shapes}, not lists of one length.")
            return Arrays(look, path, ra.shape[0])
    return Groups(look, path)


def _facts_of_one(look: Look, holder: Any) -> dict[str, Fact | str]:
    """Of the datasets of one record, and of its attributes where there is no dataset of that name."""
    found: dict[str, Fact | str] = {}
    attributes = holder.attrs
    for name in look.keys(holder):
        member = look.member(holder, name)
        if not hasattr(member, "dtype"):
            found[name] = "it is a group"
        elif member.shape is None:
            found[name] = "it is empty"
        else:
            found[name] = _fact(member, member.shape)
    for name in attributes:
        if name not in found:
            values = _attribute(attributes, name)
            found[name] = Fact(values.dtype, values.shape)
    return found


def _attribute(attributes: Any, name: str) -> np.ndarray[Any, Any]:
    """An attribute; of texts of variable length, one only."""
    stored = attributes.get_id(name)
    if stored.dtype.hasobject and stored.shape != ():
        raise FormatError(f"The attribute {name!r} holds values of variable length; the file is refused.")
    return np.asarray(attributes[name])


def _fact(member: Any, shape: tuple[int, ...]) -> Fact:
    return Fact(member.dtype, tuple(map(int, shape)), _words(member, "units"), _words(member, "mask_polarity"))


def _words(member: Any, name: str) -> str:
    text = member.attrs.get(name, "")
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)


def _whole(member: Any, source: Source) -> np.ndarray[Any, Any]:
    """All of a record's values, with an axis of length one for the record."""
    if hasattr(member, "id") and len(source) > 1:
        values = member.fields(source[1])[()]
    else:
        values = member[()][source[1]] if len(source) > 1 else member[()]
    if isinstance(values, np.ndarray):
        return values[None]
    out = np.empty(1, dtype=object if isinstance(values, (bytes, str)) else np.asarray(values).dtype)
    out[0] = values
    return out
