"""One column of a record: its name, type, shape, unit, meaning and polarity, stated once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

DTYPES = (
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 string picture struct"
).split()


@dataclass(frozen=True)
class Column:
    """A top-level column, or a member of a struct column.

    `shape` is the shape of one record's value: () for a scalar, None for an axis whose length differs from
    record to record. A `struct` column holds `members`; they share their first axis. A `picture` is an encoded
    PNG, as the Hugging Face `Image` feature stores it, whose decoded shape is `shape`.
    """

    name: str
    dtype: str = "float32"
    unit: str = ""
    meaning: str = ""
    shape: tuple[int | None, ...] = ()
    polarity: str = ""
    nullable: bool = False
    zero_point: float | None = None
    members: tuple[Column, ...] = ()
    modality: str = "scalar"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            msg = f"Column {self.name!r}: dtype {self.dtype!r} is not one of {', '.join(DTYPES)}."
            raise ValueError(msg)
        if (self.dtype == "struct") != bool(self.members):
            msg = f"Column {self.name!r}: a struct has members, and nothing else has."
            raise ValueError(msg)

    @property
    def scalar(self) -> bool:
        """True for one number, flag or text per record: what a catalogue holds."""
        return not self.shape and self.dtype not in ("struct", "picture")

    def bytes_per_row(self, ragged: int = 1) -> int:
        """Bytes of one record's value, uncompressed; an axis of unknown length counts as `ragged` long."""
        if self.members:
            return sum(member.bytes_per_row(ragged) for member in self.members)
        size = {"string": 16, "bool": 1}.get(self.dtype) or int("".join(c for c in self.dtype if c.isdigit()) or 8) // 8
        for length in self.shape:
            size *= ragged if length is None else length
        return size


@dataclass(frozen=True)
class Schema:
    """The columns of a release, in order, with look-up by name."""

    columns: tuple[Column, ...]
    _by_name: dict[str, Column] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        by_name = {column.name: column for column in self.columns}
        if len(by_name) != len(self.columns):
            names = [column.name for column in self.columns]
            msg = f"Columns appear twice in a schema: {sorted({n for n in names if names.count(n) > 1})}."
            raise ValueError(msg)
        object.__setattr__(self, "_by_name", by_name)

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Column:
        return self._by_name[name]

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def scalars(self) -> list[str]:
        """Names of the columns that hold one value per record."""
        return [column.name for column in self.columns if column.scalar]

    @property
    def modalities(self) -> list[str]:
        """The modalities present besides plain catalogue columns, in order."""
        return list(dict.fromkeys(c.modality for c in self.columns if c.modality != "scalar"))

    def bytes_per_row(self, ragged: int = 1) -> int:
        """Bytes of one record, uncompressed: what the sky partitioning plans with."""
        return sum(column.bytes_per_row(ragged) for column in self.columns)

    def plus(self, columns: Iterable[Column]) -> Schema:
        """This schema followed by more columns."""
        return Schema((*self.columns, *columns))


def scalars(
    names: str, dtype: str = "float32", unit: str = "", meaning: str = "", *, nullable: bool = False
) -> tuple[Column, ...]:
    """One plain column per blank-separated name, all of one dtype and unit."""
    one = Column("", dtype, unit, meaning, nullable=nullable)
    return tuple(replace(one, name=name) for name in names.split())


IDENTITY = (
    Column("object_id", "string", meaning="identifier, unique in the release"),
    Column("ra", "float64", "deg", "right ascension (ICRS)"),
    Column("dec", "float64", "deg", "declination (ICRS)"),
)
HEALPIX = Column("_healpix_29", "int64", meaning="HEALPix pixel of (ra, dec), order 29, nested")
