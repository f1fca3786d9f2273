"""The columns of a v1 tree: under the names in its files, with images and spectra gathered into structs as ours are.

    object_id, ra, dec     text, float64, float64; what else holds the id or the position keeps its own name too
    image                  of `image_band`, `image_array` or `image_flux` (as `flux`), `image_ivar`, ...
    spectrum               of every `spectrum_*` that is as long as `spectrum_flux`
    any other              as it is called; a table in a file (MaNGA's spaxels) is a struct of lists

Polarity is v1's where a file does not say its own: `image.mask` True = good, `spectrum.mask` True = bad. One mask for
all bands is repeated for each. **Padding** that the data themselves tell from data is dropped: planes of an image
without a band's name, and pixels at the end of a spectrum whose wavelength is not positive (v1 writes -1 or 0). What
cannot be told apart stays as it is: light curves, lists of neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmu.errors import FormatError
from mmu.hdf5 import is_ragged
from mmu.identity import id_of, pairs_of
from mmu.schema.column import DTYPES, IDENTITY, Column, Schema
from mmu.schema.modality import MODALITIES
from mmu.v1.records import Fact, Source

_CALLED = {"image_array": "flux"}


@dataclass(frozen=True)
class Columns:
    """What the records of a tree have.

    Attributes:
        schema: object_id, ra, dec, and what else there is; axes may differ in length from record to record.
        sources: path of each column, or member of a struct, -> where a file has it; "" of object_id if it has no id.
        padded: name of a struct -> where files have what tells its padding: names of bands, or wavelengths.
        left_out: name -> why it cannot be a column.
    """

    schema: Schema
    sources: Mapping[str, Source]
    padded: Mapping[str, Source]
    left_out: Mapping[str, str]

    def choose(self, paths: Sequence[str]) -> Columns:
        """The same of some columns or members only."""
        wanted = set(paths)
        sources = {path: source for path, source in self.sources.items() if {path, path.partition(".")[0]} & wanted}
        found = []
        for top in dict.fromkeys(path.partition(".")[0] for path in paths):
            column = self.schema[top]
            members = tuple(one for one in column.members if f"{top}.{one.name}" in sources)
            found.append(replace(column, members=members) if column.members else column)
        padded = {top: source for top, source in self.padded.items() if any(column.name == top for column in found)}
        return Columns(Schema(tuple(found)), sources, padded, self.left_out)

    def shaped(self, shapes: Mapping[Source, tuple[int | None, ...]]) -> Schema:
        """The schema with the lengths that all records have in common; what may be padded differs."""
        return Schema(tuple(self._shaped(column, column.name, shapes) for column in self.schema))

    def _shaped(self, column: Column, path: str, shapes: Mapping[Source, tuple[int | None, ...]]) -> Column:
        if column.members:
            members = (self._shaped(member, f"{path}.{member.name}", shapes) for member in column.members)
            return replace(column, members=tuple(members))
        if not column.shape:
            return column
        shape = shapes[self.sources[path]]
        first = () if path.partition(".")[0] not in self.padded else (None,)
        return replace(column, shape=(*first, *shape[len(shape) - len(column.shape) + len(first) :]))

    @property
    def read(self) -> list[Source]:
        """What has to be read of the files."""
        return list(dict.fromkeys(source for source in (*self.sources.values(), *self.padded.values()) if source))


def columns_of(facts: Mapping[str, Fact | str], where: str) -> Columns:
    """The columns of records as the first file describes them.

    Raises:
        FormatError: there is no position, or what holds the id or the position is not one value a record.
    """
    left_out = {name: fact for name, fact in facts.items() if isinstance(fact, str)}
    plain: dict[str, Column] = {}
    for name, fact in facts.items():
        if isinstance(fact, Fact):
            column = _column(name, fact)
            if isinstance(column, str):
                left_out[name] = column
            else:
                plain[name] = column
    sources = dict(_identity(plain, left_out, where))
    columns, padded = list(IDENTITY), dict[str, Source]()
    for top in ("image", "spectrum"):
        gathered = {} if top in plain else _gathered(top, plain, facts)
        if gathered:
            members = tuple(_member(top, member, plain.pop(name)) for member, name in gathered.items())
            columns.append(Column(top, "struct", members=members, modality=top))
            sources |= {f"{top}.{member}": (name,) for member, name in gathered.items()}
            teller = gathered.get({"image": "band", "spectrum": "lambda"}[top], "")
            if teller and _shape(facts[teller]):
                padded[top] = (teller,)
    for name, column in plain.items():
        if name not in ("object_id", "ra", "dec"):
            columns.append(column)
            sources |= {f"{name}.{member.name}": (name, member.name) for member in column.members}
            sources |= {} if column.members else {name: (name,)}
    return Columns(Schema(tuple(columns)), sources, padded, left_out)


def _identity(plain: Mapping[str, Column], left_out: Mapping[str, str], where: str) -> Iterator[tuple[str, Source]]:
    names = [*plain, *left_out]
    pairs = pairs_of(names)
    if not pairs:
        raise FormatError(f"{where} has no ra and dec beside {', '.join(names) or 'what else it holds'}.")
    exact = [pair for pair in pairs if tuple(map(str.lower, pair)) == ("ra", "dec")]
    ra, dec = (exact or pairs)[0]
    for path, name in (("object_id", id_of(names)), ("ra", ra), ("dec", dec)):
        if name in left_out:
            raise FormatError(f"{where}: {name!r} cannot be read: {left_out[name]}.")
        if name and not plain[name].scalar:
            raise FormatError(f"{where}: {name!r} is not one value a record.")
        yield path, (name,) if name else ()


def _column(name: str, fact: Fact) -> Column | str:
    """One array of the files as a column, or why it cannot be one."""
    if fact.dtype.names:
        fields = [(one, _column(one, _field(fact, one))) for one in fact.dtype.names]
        members = tuple(column for _, column in fields if isinstance(column, Column))
        wrong = next((f"its field {one!r}: {column}" for one, column in fields if isinstance(column, str)), None)
        return wrong or Column(name, "struct", members=members, modality="list" if fact.shape else "scalar")
    shape = (None,) * len(fact.shape)
    if fact.dtype.kind == "O":
        if not is_ragged(fact.dtype):
            return "it holds references, or lists of what are not numbers"
        if shape and _inner(fact.dtype) is not None:
            return "it holds arrays of lists"
    inner = _inner(fact.dtype)
    shape = shape if inner is None else (None,)
    text = fact.dtype.kind in "SU" or (fact.dtype.kind == "O" and inner is None)
    dtype = "string" if text else (inner or fact.dtype).newbyteorder("=").name
    if dtype not in DTYPES:
        return f"it holds {dtype}"
    return Column(name, dtype, fact.unit, shape=shape, polarity=fact.polarity)


def _inner(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """What lists of variable length are made of."""
    import h5py

    return None if h5py.check_string_dtype(dtype) else h5py.check_vlen_dtype(dtype)


def _field(fact: Fact, name: str) -> Fact:
    dtype = fact.dtype.fields[name][0]  # type: ignore[index]
    base, shape = dtype.subdtype or (dtype, ())
    return Fact(base, (*fact.shape, *shape))


def _gathered(top: str, plain: Mapping[str, Column], facts: Mapping[str, Fact | str]) -> dict[str, str]:
    """Member of a struct -> the dataset it is made of; none where there is no flux of that modality."""
    found = {_CALLED.get(name, name.removeprefix(f"{top}_")): name for name in plain if name.startswith(f"{top}_")}
    flux = plain.get(found.get("flux", ""))
    if flux is None or len(flux.shape) != (3 if top == "image" else 1):
        return {}
    shape = _shape(facts[flux.name])
    if top == "spectrum":
        long = {name: one for name, one in found.items() if len(plain[one].shape) == 1}
        return {name: one for name, one in long.items() if _shape(facts[one]) == shape}
    shared = [shape, shape[1:]] if "band" in found else [shape]  # one mask of all bands
    allowed = {"band": [shape[:1]], "psf_fwhm": [shape[:1]], "scale": [shape[:1]], "mask": shared}
    known = [member.name for member in MODALITIES["image"].members if member.name in found]
    return {name: found[name] for name in known if _shape(facts[found[name]]) in allowed.get(name, [shape])}


def _shape(fact: Fact | str) -> tuple[int, ...]:
    assert isinstance(fact, Fact)
    return fact.shape


def _member(top: str, name: str, column: Column) -> Column:
    """A member under its name here; its meaning, and the polarity of flags, are the modality's."""
    known = next((member for member in MODALITIES[top].members if member.name == name), None)
    flags = column.dtype == "bool" and known is not None
    return replace(
        column,
        name=name,
        meaning=known.meaning if known and name != "flux" else "",
        polarity=column.polarity or (known.polarity if known and flags else ""),
        shape=(None,) * max(1, len(known.axes) if known else 1),
    )
