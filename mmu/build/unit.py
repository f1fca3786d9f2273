"""What a worker does: read one unit and spool its records by sky; merge the spools of one partition into its shard.

Both are idempotent: they write under a temporary name and rename, and doing them again gives the same bytes.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmu.errors import FormatError, LedgerError, MmuError
from mmu.rows import positions
from mmu.schema import HEALPIX, arrow_schema
from mmu.shards.parquet import rows_per_group, unique_name, write_shard
from mmu.sky import healpix
from mmu.sky.partition import Partition, locate
from mmu.survey import Records, Release, Survey, get_survey

log = logging.getLogger("mmu")
_LONGEST = 200
_SAID = 300
SAME_DEG = 1 / 3600
"""A record further from its object's place in the catalogue is another object's, or its position is damaged."""


@dataclass
class UnitResult:
    """How many rows were spooled, and which objects were left out, why."""

    rows: int
    excluded: dict[str, str] = field(default_factory=dict)


def read_unit(
    survey: str, release: str, unit: str, paths: dict[str, Path], rows: pa.Table, leaves: list[Partition], spool: Path
) -> UnitResult:
    """Read a unit's files and spool its records, one Arrow file per partition.

    Args:
        rows: the objects wanted (object_id, ra, dec, carried columns), in shard order.
        leaves: the partitions they fall in, in sky order.

    Raises:
        FormatError: the files, or what the survey's reader made of them, are not as declared.
    """
    declared = get_survey(survey)
    kind = declared.release(release)
    forget_unit(unit, leaves, spool)
    table, records = _records(declared, kind, unit, paths, rows)
    _refuse_imbalance(unit, rows, table, records.excluded, kind.many)
    if not kind.many:  # else each row has a place of its own
        _refuse_moved(unit, rows, table)
    index = locate(np.asarray(table[HEALPIX.name]), leaves)
    if len(index) and index.min() < 0:
        raise FormatError(f"{unit}: an object's position in the data is not where the catalogue has it.")
    for number in np.unique(index).tolist():
        folder = spool / spool_name(leaves[number])
        spool.mkdir(exist_ok=True)  # but not its parent: once a build is over, a worker given up revives nothing
        folder.mkdir(exist_ok=True)
        _write_ipc(folder / spool_file(unit), _rows_where(table, index == number))
    return UnitResult(len(table), records.excluded)


def _records(
    survey: Survey, release: Release, unit: str, paths: dict[str, Path], rows: pa.Table
) -> tuple[pa.Table, Records]:
    """What the survey's reader makes of a unit, in the release's schema; whatever it trips over is told in words."""
    try:
        records = survey.reader.read(release, unit, paths, rows)
        return _with_healpix(records.table, release, unit, rows), records
    except MemoryError:
        raise
    except FormatError as problem:
        if _names(str(problem), unit, paths):
            raise
        msg = f"{unit}: {problem}"
        raise FormatError(msg) from problem
    except MmuError:
        raise
    except Exception as problem:
        if isinstance(problem, OSError) and problem.errno is not None:  # the disk's, not the file's
            raise
        log.debug("%s: reading failed", unit, exc_info=True)
        said = " ".join(str(problem).split())[:_SAID]
        names = ", ".join(path.rpartition("/")[2] for path in sorted(paths))
        raise FormatError(
            f"{unit}: the files are not as the data model says ({type(problem).__name__}: {said}); fetch them again, "
            f"or look at them: {names}."
        ) from problem


def _names(text: str, unit: str, paths: Collection[str]) -> bool:
    """True if a sentence says which unit or which file is meant."""
    return unit in text or any(path.rpartition("/")[2] in text for path in paths)


def _with_healpix(table: pa.Table, release: Release, unit: str, rows: pa.Table) -> pa.Table:
    """The records in shard order with their pixel in front, in exactly the release's schema.

    Of an object with several rows all are where the catalogue has the object, and stay in the reader's order.
    """
    ra, dec = np.asarray(table["ra"]), np.asarray(table["dec"])
    if not (np.isfinite(ra).all() and np.isfinite(dec).all()):
        raise FormatError(f"{unit}: a record has no finite position.")
    if release.many and len(table):
        place = positions(_ids(table), _ids(rows))
        ra, dec = np.asarray(rows["ra"])[place], np.asarray(rows["dec"])[place]
    pixels = healpix.pixel(ra, dec) if len(table) else np.empty(0, dtype=np.int64)
    full = table.add_column(0, HEALPIX.name, pa.array(pixels))
    schema = arrow_schema(release.schema)
    if full.schema.names != schema.names:
        raise FormatError(f"{unit}: the reader gave columns {full.schema.names}, the release declares {schema.names}.")
    full = full.cast(schema) if full.schema != schema else full.replace_schema_metadata(None)
    order = np.asarray(
        pc.sort_indices(
            full.select([HEALPIX.name, "object_id"]), [(HEALPIX.name, "ascending"), ("object_id", "ascending")]
        )
    )
    return full if (order == np.arange(len(order))).all() else full.take(order)


def _refuse_imbalance(unit: str, rows: pa.Table, table: pa.Table, excluded: dict[str, str], many: bool) -> None:
    """Every object asked for is a record (or several) or excluded for a reason, once."""
    asked = Counter(rows["object_id"].to_pylist())
    found = pc.unique(table["object_id"]) if many else table["object_id"]
    given = Counter(found.to_pylist()) + Counter(excluded.keys())
    if asked != given:
        lost, extra = sorted((asked - given).elements())[:3], sorted((given - asked).elements())[:3]
        raise FormatError(
            f"{unit}: the reader lost {lost or 'none'} and invented {extra or 'none'} of {len(rows)} objects."
        )


def _refuse_moved(unit: str, rows: pa.Table, table: pa.Table) -> None:
    """A record lies where the catalogue has its object: the plan, its partitions and the margin rest on that."""
    place = positions(_ids(table), _ids(rows))
    there = (np.asarray(rows[axis])[place] for axis in ("ra", "dec"))
    apart = healpix.separation_deg(np.asarray(table["ra"]), np.asarray(table["dec"]), *there)
    if len(apart) and not apart.max() <= SAME_DEG:
        first = table["object_id"][int(np.argmax(apart))]
        raise FormatError(
            f"{unit}: {int(np.sum(apart > SAME_DEG))} objects (such as {first}) are not where the catalogue has them; "
            "fetch the files again, or look at them."
        )


def _ids(table: pa.Table) -> np.ndarray[Any, Any]:
    return np.asarray(table["object_id"].to_pylist(), dtype=np.str_)


def _rows_where(table: pa.Table, mask: np.ndarray[Any, Any]) -> pa.Table:
    found = np.flatnonzero(mask)
    if len(found) and found[-1] - found[0] + 1 == len(found):
        return table.slice(found[0], len(found))
    return table.take(found)


def _write_ipc(path: Path, table: pa.Table) -> None:
    temporary = path.with_name(f"{path.name}{unique_name()}.tmp")
    with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    temporary.replace(path)


def spool_file(unit: str) -> str:
    """The name of a unit's spool; whatever a catalogue calls its units, it is one plain name and no other's."""
    plain = quote(unit, safe="")
    return f"{plain if len(plain) <= _LONGEST else hashlib.sha256(unit.encode()).hexdigest()}.arrow"


def spool_name(leaf: Partition) -> str:
    return f"{leaf.order}-{leaf.pixel}"


@dataclass(frozen=True)
class Written:
    """A finished shard, or none if no record of the partition could be read."""

    rows: int
    bytes: int
    xxh3: str
    row_groups: int
    objects: int


def write_partition(
    survey: str, release: str, leaf: Partition, spool: Path, existing: list[Path], keep: pa.Array, dataset: Path
) -> Written:
    """Merge a partition's spooled records, and those of shards already on disk, into its shard; read it back.

    `existing` are shards whose area overlaps the partition, the preferred first: of the rows in it those named in
    `keep` are kept, once, unless they are spooled anew.
    """
    kind = get_survey(survey).release(release)
    schema = arrow_schema(kind.schema)
    folder = spool / spool_name(leaf)
    fresh = [_open_ipc(path) for path in sorted(folder.glob("*.arrow"))]
    tables = [table for table in fresh if len(table)]
    for path in existing if len(keep) else ():
        if path.exists() and len(kept := _kept_rows(path, leaf, keep, tables, schema)):
            tables.append(kept)
    if not tables:
        return Written(0, 0, "", 0, 0)
    path = dataset / leaf.path
    path.parent.mkdir(parents=True, exist_ok=True)
    group = rows_per_group(schema, kind.bytes_per_row, kind.row_group_rows)
    rows, size, digest, groups = write_shard(path, tables, schema, group)
    if pq.read_metadata(path).num_rows != rows or rows != sum(map(len, tables)):
        raise LedgerError(f"{path} does not hold the {sum(map(len, tables))} rows that were written to it.")
    objects = sum(pc.count_distinct(table["object_id"]).as_py() for table in tables) if kind.many else rows
    return Written(rows, size, digest, groups, objects)


def _open_ipc(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _kept_rows(path: Path, leaf: Partition, keep: pa.Array, others: list[pa.Table], schema: pa.Schema) -> pa.Table:
    first, end = leaf.span
    column = pc.field(HEALPIX.name)
    table = pq.read_table(path, filters=(column >= first) & (column < end), schema=schema)
    have = pa.chunked_array([chunk for part in others for chunk in part["object_id"].chunks], type=pa.string())
    wanted = pc.is_in(table["object_id"], value_set=keep)
    return table.filter(pc.and_not(wanted, pc.is_in(table["object_id"], value_set=have.combine_chunks())))


def forget_unit(unit: str, leaves: list[Partition], spool: Path) -> None:
    """Remove what a unit spooled before it failed: its records are not written to some partitions and not to others."""
    for leaf in leaves:
        (spool / spool_name(leaf) / spool_file(unit)).unlink(missing_ok=True)


def drop_spool(leaf: Partition, spool: Path) -> None:
    """Forget a partition's spool, its shard being written: all of it at once, should a twin of the writer look."""
    folder = spool / spool_name(leaf)
    with suppress(OSError):
        shutil.rmtree(folder.rename(folder.with_name(f"{folder.name}{unique_name()}.done")))
