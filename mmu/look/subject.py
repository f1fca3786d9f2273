"""What is looked at: one object as one dataset has it, and what its columns' names and metadata tell of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from mmu.dataset import Dataset
from mmu.decoding import decode
from mmu.look.choose import known

_SIGNS = {  # the members by which a struct without metadata is known
    "image": {"flux", "band", "scale"},
    "spectrum": {"flux", "lambda"},
    "lightcurve": {"flux", "time"},
    "map": {"label", "value"},
}
_REDSHIFTS = ("z", "redshift", "z_hp", "z_spec", "zspec", "z_best", "zbest", "z_phot")
_WARNINGS = ("zwarn", "zwarning")
_CLASSES = ("spectype", "class")
_CLASS = re.compile(r"\b(\d+) ([^,;:]+)")
_SPAXELS = {"x", "y", "width", "height"}


def facts(field: pa.Field) -> dict[str, str]:
    """The metadata of a column as text: unit, meaning, polarity, zero_point_ab, modality."""
    return {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}


def members(field: pa.Field) -> dict[str, pa.Field]:
    """The members of a struct, or of a list of structs; none for other columns."""
    kind = field.type.value_type if pa.types.is_list(field.type) else field.type
    return {member.name: member for member in kind} if pa.types.is_struct(kind) else {}


def modality(field: pa.Field) -> str:
    """What a column holds: as its metadata say, else as its members show; "" for plain columns."""
    told, inside = facts(field).get("modality", ""), set(members(field))
    if told or not inside:
        return told
    if inside == {"bytes", "path"}:
        return "picture"
    return next((name for name, signs in _SIGNS.items() if signs <= inside), "list")


@dataclass(frozen=True)
class Subject:
    """One object as one dataset has it.

    Attributes:
        survey: what the dataset is called.
        release: its release.
        fields: column -> Arrow field, with the metadata that says how to draw it.
        record: column -> NumPy value, a dict of them for a struct; what is missing is None, NaN or masked.
        separation: distance from the object that it was matched to, arcsec.
    """

    survey: str
    release: str
    fields: Mapping[str, pa.Field]
    record: Mapping[str, Any]
    separation: float | None = None
    kinds: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found = {name: modality(self.fields[name]) for name in self.record if name in self.fields}
        object.__setattr__(self, "kinds", {name: kind for name, kind in found.items() if kind and self.has(name)})

    @property
    def id(self) -> str:
        return str(self.record["object_id"])

    def has(self, name: str) -> bool:
        """True if there is a value, not a null."""
        value = self.record.get(name)
        parts = value.values() if isinstance(value, dict) else [value]
        return any(part is not None and part is not np.ma.masked for part in parts)

    def of(self, kind: str) -> list[str]:
        """Columns of a modality; the errors of another column are not one to look at."""
        names = [name for name, found in self.kinds.items() if found == kind]
        return [
            name for name in names if name.removesuffix("_error") == name or name.removesuffix("_error") not in names
        ]

    def number(self, name: str) -> float:
        """A scalar column's value; NaN where it is missing."""
        value = self.record.get(name)
        return np.nan if value is None or value is np.ma.masked else float(value)

    @property
    def redshift(self) -> float | None:
        """Of the object, as this dataset has it; None if it has none."""
        name = redshift_column(self.fields.values())
        value = self.number(name) if name else np.nan
        return value if np.isfinite(value) and value > -0.1 else None

    @property
    def star(self) -> bool:
        """True if the survey classifies it as a star."""
        return any(str(self.record[name]).upper() == "STAR" for name in self.record if name.lower() in _CLASSES)

    @property
    def warned(self) -> bool:
        """True if the survey's own flag says that the redshift is not to be trusted."""
        flags = [name for name in self.record if name.lower() in _WARNINGS]
        return any(np.nan_to_num(self.number(name)) != 0 for name in flags)

    @property
    def magnitude(self) -> tuple[str, float] | None:
        """The band's name and an AB (Gaia: Vega) magnitude as the catalogue columns tell; None if they do not."""
        name = magnitude_column(self.fields.values())
        value = self.number(name) if name else np.nan
        if name and facts(self.fields[name]).get("unit") == "nanomaggy":
            value = 22.5 - 2.5 * np.log10(value) if value > 0 else np.nan
        return (_band_of(name), value) if name and np.isfinite(value) else None

    @property
    def label(self) -> str:
        """The class that a column of labels gives it, by the name that the column's meaning has for it."""
        for name in self.record:
            if {"label", "class"} & set(name.lower().split("_")) and name in self.fields:
                value = self.number(name) if pa.types.is_integer(self.fields[name].type) else np.nan
                return class_names(self.facts(name).get("meaning", "")).get(int(np.nan_to_num(value, nan=-1)), "")
        return ""

    def facts(self, name: str, member: str = "") -> dict[str, str]:
        """The metadata of a column or of a struct's member."""
        field = self.fields[name]
        return facts(members(field)[member] if member else field)

    @property
    def words(self) -> str:
        """Redshift, magnitude and class, as far as they are known."""
        said = []
        if self.redshift is not None:
            said.append(f"z = {self.redshift:.4f}" + (" (flagged)" if self.warned else ""))
        if self.magnitude is not None:
            said.append(f"{self.magnitude[0]} = {self.magnitude[1]:.2f}")
        return "   ".join([*said, self.label]).rstrip()


def class_names(meaning: str) -> dict[int, str]:
    """The names of classes where a meaning lists them as `0 NAME, 1 NAME, ...`."""
    return {int(number): name.strip() for number, name in _CLASS.findall(meaning)}


def redshift_column(columns: Iterable[pa.Field]) -> str | None:
    """The column with the redshift: by its name, which also other things have, and what it is said to mean."""
    found = {}
    for one in columns:
        name, told = one.name.lower(), facts(one)
        meaning = told.get("meaning", "").lower()
        if pa.types.is_floating(one.type) and not told.get("unit") and "err" not in name:
            if name in _REDSHIFTS and ("redshift" in meaning or not meaning):
                found[_REDSHIFTS.index(name)] = one.name
            elif "redshift" in meaning.split(";")[0].split()[:2] and re.search(r"(^|_)z($|_)", name):
                found.setdefault(len(_REDSHIFTS), one.name)
    return found[min(found)] if found else None


def magnitude_column(columns: Iterable[pa.Field]) -> str | None:
    """The column with a total magnitude (or a flux in nanomaggy), r rather than others."""
    found: list[tuple[bool, bool, bool, int, str]] = []
    for one in columns:
        words, unit = one.name.lower().split("_"), facts(one).get("unit", "")
        if not pa.types.is_floating(one.type) or {"err", "error", "ivar", "ref"} & set(words):
            continue
        if (unit == "mag" and "mag" in words) or (unit == "nanomaggy" and words[0] == "flux" and len(words) == 2):
            found.append(("r" not in words, "aper" in words or "psf" in words, unit != "mag", len(found), one.name))
    return min(found)[-1] if found else None


def _band_of(name: str) -> str:
    """`r` of `MAG_R` or `r_cmodel_mag`, `G` of `phot_g_mean_mag`, `mag auto` of `mag_auto`."""
    if name.startswith("phot_"):  # Gaia's bands are capital letters, to be told from others'
        return name.split("_")[1].upper()
    words = [word for word in name.lower().split("_") if word not in ("mag", "flux", "cmodel", "phot", "mean")]
    short = words[0] if words else "mag"
    return short if len(short) == 1 or short == "mag" else f"mag {short}"


def name_of(dataset: Dataset) -> str:
    """What to call a dataset: its survey's folder."""
    return str(dataset.path.parent.name)


def read(dataset: Dataset, ids: Sequence[str], kinds: Iterable[str], name: str | None = None) -> list[Subject]:
    """Objects of a dataset in the order of `ids`, with the columns of these modalities and the plain ones.

    Raises:
        UsageError: an id is not in the dataset; the message names those that are most like it.
    """
    fields = {one.name: one for one in dataset.schema}
    kinds, spaxels = set(kinds), set(fields) >= _SPAXELS and "spectrum" in fields
    plain = [one for one in fields if _is_plain(fields[one], "coefficients" in kinds)]
    wanted = [one for one, field in fields.items() if modality(field) in kinds - ({"spectrum"} if spaxels else set())]
    table = known(dataset, ids, [*plain, *wanted])
    records: dict[str, dict[str, Any]] = {}
    usual = dict(zip(("object_id", "ra", "dec"), (dataset.id_column, *dataset.keys[1:]), strict=True))
    for record in rows(decode(table, pictures=True), len(table)):
        record |= {name: record[theirs] for name, theirs in usual.items()}
        records.setdefault(str(record["object_id"]), record)
    if spaxels and "cube" in kinds:
        told = {**(fields["spectrum"].metadata or {}), b"modality": b"cube"}
        fields["cube"] = fields["spectrum"].with_metadata(told)
        for one in records:
            records[one]["cube"] = dataset.cube(one)
    called = name or name_of(dataset)
    return [Subject(called, dataset.release, fields, records[one]) for one in map(str, ids)]


def _is_plain(field: pa.Field, arrays: bool) -> bool:
    """True for a catalogue column; with `arrays`, also if it holds an array of them."""
    return not modality(field) and (arrays or not pa.types.is_nested(field.type))


def rows(decoded: Mapping[str, Any], count: int) -> Iterator[dict[str, Any]]:
    """The rows of a decoded table, structs as dicts."""
    for index in range(count):
        yield {
            name: {key: part[index] for key, part in values.items()} if isinstance(values, dict) else values[index]
            for name, values in decoded.items()
        }
