"""What is matched: a HATS catalogue, read partition by partition where the work runs, or places held in memory."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import mmu
from crossmatch.motion import FASTEST_ARCSEC_PER_YEAR
from crossmatch.partitions import FilesPart
from crossmatch.places import SKY, Names, TablePart, to_arcsec
from crossmatch.roles import split
from mmu.dataset import Dataset
from mmu.errors import UsageError, unknown
from mmu.identity import id_of
from mmu.opening import in_data
from mmu.remote.addresses import is_remote, name_of
from mmu.remote.ranges import Place, parquet, size_of
from mmu.sky.halo import Cover
from mmu.sky.healpix import MAX_ORDER
from mmu.sky.partition import Partition
from mmu.v1 import V1Dataset

_MOTION = ("pmra", "pmdec")


class Part(Protocol):
    """What one task needs of a source: small enough to be sent to a worker."""

    def places(self, cover: Cover) -> pa.Table: ...


@dataclass(frozen=True)
class Wanted:
    """What a match asks of a source besides positions."""

    motion: bool = False
    epoch: float | None = None
    errors: tuple[str, ...] = ()


class Source(ABC):
    """One of the datasets of a match.

    Attributes:
        name: what its columns in the result begin with.
        address: where it is, as the user may give it again; "" for one in memory.
        epoch: of its positions (Julian year), if known; moves: True if it has proper motions that are asked for.
        spans: first and one-past-last order-29 pixels of its partitions, (N, 2), sorted, disjoint.
        counts: objects in each, (N,); exact: False where they are estimated, as the catalogue does not say.
        fingerprint: changes when its records do.
    """

    name: str
    address: str
    epoch: float | None
    spans: np.ndarray[Any, Any]
    counts: np.ndarray[Any, Any]
    moves: bool = False
    exact: bool = True

    @property
    @abstractmethod
    def fingerprint(self) -> str: ...

    @abstractmethod
    def part(self, partitions: np.ndarray[Any, Any], cover: Cover) -> Part:
        """The places of some partitions."""

    @abstractmethod
    def fastest(self) -> float:
        """No record moves faster, arcsec/yr."""

    @property
    def rows(self) -> int:
        return int(self.counts.sum())

    @property
    def dataset(self) -> Dataset | None:
        """The dataset with all columns, where there is one."""
        return None


class Catalogue(Source):
    """A HATS catalogue, ours or another's, on disk or at an address."""

    def __init__(self, name: str, address: str, dataset: Dataset, wanted: Wanted) -> None:
        self.name, self.address, self._dataset = name, address, dataset
        self.moves = wanted.motion and set(_MOTION) <= set(dataset.columns)
        self.epoch = _epoch(dataset.properties) if wanted.epoch is None else wanted.epoch
        self.names = _names(dataset, address, wanted, self.moves)
        self.partitions = dataset.partitions
        spans = [leaf.span for leaf in self.partitions]
        self.spans = np.array(spans, dtype=np.int64).reshape(-1, 2)
        self.exact = dataset.ledger is not None
        self.counts = self._counted()

    @property
    def dataset(self) -> Dataset:
        return self._dataset

    def files(self, partition: Partition) -> tuple[Place, ...]:
        """A partition's file, or files where it is a folder of them."""
        return self._dataset.files(partition)

    def part(self, partitions: np.ndarray[Any, Any], cover: Cover) -> FilesPart:
        chosen = (self.partitions[index] for index in partitions)
        return FilesPart(self.names, tuple((leaf, self.files(leaf)) for leaf in chosen))

    def _counted(self) -> np.ndarray[Any, Any]:
        ledger = self._dataset.ledger
        if ledger is not None:
            table = ledger.select(["Norder", "Npix", "objects"]).to_pylist()
            rows = {(row["Norder"], row["Npix"]): row["objects"] for row in table}
            return np.array([rows.get((leaf.order, leaf.pixel), 0) for leaf in self.partitions], dtype=np.int64)
        sizes = np.array([sum(map(size_of, self.files(leaf))) for leaf in self.partitions], dtype=np.float64)
        share = sizes / max(sizes.sum(), 1.0)
        return np.asarray(np.maximum(1, np.round(share * len(self._dataset))), dtype=np.int64)

    @property
    def fingerprint(self) -> str:
        """Of our own: from the checksums in the ledger. Of others': from names, sizes and properties."""
        return self._dataset.fingerprint

    def fastest(self) -> float:
        """From the files' statistics; without them, what no star exceeds."""
        most = 0.0
        for leaf in self.partitions:
            for path in self.files(leaf):
                with parquet(path) as file:
                    most = max(most, _fastest_in(file.metadata))
        return most / 1e3


class Memory(Source):
    """Places held in memory, of a table in any form; see `crossmatch.tables`."""

    _SHARDS = 256

    def __init__(self, name: str, address: str, places: pa.Table, fingerprint: str, epoch: float | None) -> None:
        self.name, self.address, self.epoch, self._fingerprint = name, address, epoch, fingerprint
        self.places = places.combine_chunks()
        self.moves = "pmra" in places.column_names
        self._sky = self.places[SKY].to_numpy()
        at = np.unique(self._sky >> (2 * MAX_ORDER - 8))
        self.spans = np.stack([at, at + 1], axis=1) << (2 * MAX_ORDER - 8)
        self.counts = np.diff(np.searchsorted(self._sky, np.r_[self.spans[:, 0], np.iinfo(np.int64).max]))

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def part(self, partitions: np.ndarray[Any, Any], cover: Cover) -> TablePart:
        """The rows in a cover, cut out here so that little is sent to a worker."""
        edges = np.searchsorted(self._sky, cover.spans)
        pieces = [self.places.slice(first, last - first) for first, last in edges if last > first]
        return TablePart(pa.concat_tables(pieces) if pieces else self.places.slice(0, 0))

    def fastest(self) -> float:
        speed = pc.max_element_wise(*(pc.abs(self.places[name]) for name in _MOTION))
        return float(pc.max(pc.if_else(pc.is_nan(speed), 0.0, speed)).as_py() or 0.0) * 2**0.5 / 1e3


def open_source(name: str, given: Any, wanted: Wanted) -> Source:
    """A source from a folder, a file, an address on the Hub or elsewhere, a dataset or a table in memory.

    Raises:
        UsageError: there is nothing there that could be matched.
    """
    from crossmatch import tables

    if isinstance(given, V1Dataset):
        return tables.from_v1(name, given, wanted)
    if isinstance(given, Dataset):
        return Catalogue(name, given.address, given, wanted)
    if isinstance(given, str) and is_remote(given):
        dataset = mmu.open(given)
        return Catalogue(name, dataset.address, dataset, wanted)
    if isinstance(given, (str, Path)):
        path = Path(given).expanduser()
        if tables.is_table(path):
            return tables.from_file(name, path, wanted)
        if tables.is_v1(path):
            return tables.from_v1(name, path, wanted)
        dataset = mmu.open(given)
        return Catalogue(name, _place(path, dataset), dataset, wanted)
    return tables.from_memory(name, given, wanted)


def _place(given: Path, dataset: Dataset) -> str:
    """Where a dataset may be opened again, also by a process that does not know where a NAME leads."""
    if given.exists():
        return str(given.absolute())
    folder, release = in_data(str(given), None)
    return dataset.address if release else str(folder.absolute())


def named(given: Sequence[Any] | Mapping[str, Any]) -> dict[str, Any]:
    """Name -> what was given: names as the user gives them (`NAME=ADDRESS`), or the surveys' own.

    Raises:
        UsageError: fewer than two, two of one name, or a name that cannot begin a column's.
    """
    pairs = list(given.items()) if isinstance(given, Mapping) else [own_name(one) for one in given]
    names = [name for name, _ in pairs]
    for name in names:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.+-]*", name):
            raise UsageError(f"{name!r} cannot name a dataset's columns; give it as NAME=ADDRESS.")
        if names.count(name) > 1:
            raise UsageError(f"Two datasets are called {name!r}; name one of them: OTHER={name}.")
    if len(pairs) < 2:
        raise UsageError(f"A match needs two datasets or more, not {len(pairs)}.")
    return dict(pairs)


def own_name(given: Any) -> tuple[str, Any]:
    """What a dataset is called, and the dataset: `NAME=ADDRESS`, or the survey's own name."""
    if isinstance(given, str) and (found := re.fullmatch(r"([A-Za-z]\w*)=(.+)", given)):
        return found[1], found[2]
    if isinstance(given, Dataset):
        at = given.address
        return name_of(at) if "://" in at else Path(at).resolve().parent.name, given
    if isinstance(given, str) and "://" in given:
        return name_of(given), given
    if isinstance(given, (str, Path)):
        path, _ = split(given)
        return _name_of(path if path.exists() else Path(str(path).partition(":")[0])), given
    raise UsageError(f"A {type(given).__name__} has no name of its own; give datasets as {{'NAME': DATASET, ...}}.")


def _name_of(path: Path) -> str:
    """The survey's folder, also where a release in it or its collection is named; a table's file without its ending."""
    path = path.expanduser().absolute()
    part = any((path / f"{kind}.properties").is_file() for kind in ("hats", "collection"))
    if part and (path.parent / "README.md").is_file():
        path = path.parent
    return path.name.split(".")[0] if path.is_file() else path.name


def _names(dataset: Dataset, address: str, wanted: Wanted, moves: bool) -> Names:
    """What a catalogue's columns are called, from its properties and what is usual."""
    facts, columns = dataset.properties, set(dataset.columns)
    ra, dec = facts.get("hats_col_ra", "ra"), facts.get("hats_col_dec", "dec")
    for name in (ra, dec, *wanted.errors):
        if name not in columns:
            raise unknown(f"column of {address}", name, columns)
    fine = facts.get("hats_col_healpix_order", str(MAX_ORDER)) == str(MAX_ORDER)
    sky = facts.get("hats_col_healpix", SKY)
    scales = {to_arcsec(dataset.schema.field(name)) for name in wanted.errors}
    if len(scales) > 1:
        raise UsageError(f"The columns {', '.join(wanted.errors)} of {address} differ in unit.")
    return Names(
        id=id_of(dataset.columns, facts),
        ra=ra,
        dec=dec,
        healpix=sky if sky in columns and fine else "",
        pm=_MOTION if moves else None,
        errors=wanted.errors,
        to_arcsec=scales.pop() if scales else 1.0,
    )


def _epoch(properties: Mapping[str, str]) -> float | None:
    """`hats_coordinate_epoch`, which says J2016.0 or 2016."""
    found = re.fullmatch(r"J?(\d{4}(?:\.\d+)?)", properties.get("hats_coordinate_epoch", "").strip())
    return float(found[1]) if found else None


def _fastest_in(metadata: pq.FileMetaData) -> float:
    """The most that the statistics of a file allow, mas/yr."""
    leaves = {metadata.schema.column(n).path: n for n in range(metadata.num_columns)}
    most = 0.0
    for group in range(metadata.num_row_groups):
        facts = [metadata.row_group(group).column(leaves[name]).statistics for name in _MOTION]
        if any(one is None or not (one.has_min_max or one.null_count == one.num_values) for one in facts):
            return FASTEST_ARCSEC_PER_YEAR * 1e3
        most = max(most, float(np.hypot(*(max(abs(one.min or 0.0), abs(one.max or 0.0)) for one in facts))))
    return most
