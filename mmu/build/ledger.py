"""The ledger: the account of a build, object by object and unit by unit, that must balance.

    read = cut(reason) + selected        selected = written + excluded(reason) + failed(reason)

Folded at the end of a build into `<release>/_mmu/`: build.json, units.parquet, objects.parquet, shards.parquet.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmu.build.files import write_bytes, write_table
from mmu.build.plan import Plan
from mmu.errors import LedgerError
from mmu.schema import HEALPIX
from mmu.shards.parquet import Shard, checksum
from mmu.shards.seal import sealed_json
from mmu.sky.partition import Partition

WRITTEN, EXCLUDED, FAILED = "written", "excluded", "failed"
_FACTS = {"survey", "release", "spec", "formats", "files", "counts", "absent", "bytes", "ledger"}
_COUNTS = pa.map_(pa.string(), pa.int64())
_NO_OBJECTS = pa.table({"object_id": pa.array([], pa.string()), "status": pa.array([], pa.string())})


@dataclass
class Folded:
    """A ledger read back from disk."""

    build: dict[str, Any]
    objects: pa.Table
    units: pa.Table
    shards: list[Shard]

    def settled(self) -> pa.Table:
        """The objects whose fate does not change by trying again: written and excluded ones."""
        return self.objects.filter(pc.not_equal(self.objects["status"], FAILED))


@dataclass
class Ledger:
    """What happened to each selected object and unit of a plan."""

    plan: Plan
    excluded: dict[str, str] = field(default_factory=dict)
    failed_units: dict[str, str] = field(default_factory=dict)
    failed_objects: dict[str, str] = field(default_factory=dict)
    files: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    shards: dict[Partition, Shard] = field(default_factory=dict)

    def objects(self) -> pa.Table:
        """One row per selected object, in shard order: status written, excluded or failed, and the reason."""
        plan = self.plan
        fates = {name: (FAILED, why) for name, why in self.failed_objects.items()}
        fates |= {name: (EXCLUDED, why) for name, why in self.excluded.items()}
        place = pc.index_in(plan.objects["object_id"], value_set=pa.array(fates, type=pa.string()))
        order = np.array([leaf.order for leaf in plan.leaves], dtype=np.int8)
        pixel = np.array([leaf.pixel for leaf in plan.leaves], dtype=np.int64)
        columns = {
            "Norder": pa.array(order[plan.leaf]),
            "Npix": pa.array(pixel[plan.leaf]),
            "status": pc.fill_null(pa.array([fate for fate, _ in fates.values()], pa.string()).take(place), WRITTEN),
            "reason": pc.fill_null(pa.array([why for _, why in fates.values()], pa.string()).take(place), ""),
        }
        table = plan.objects.select(["object_id", "ra", "dec", "unit", HEALPIX.name])
        for name, values in columns.items():
            table = table.append_column(name, values)
        return table

    def units(self, objects: pa.Table) -> pa.Table:
        """One row per unit that was listed: its counts by reason, its error, and where its files came from."""
        plan = self.plan
        rows = {unit: _unit_row(unit, count) for unit, count in plan.read.items()}
        for (unit, reason), count in sorted(plan.cut.items()):
            rows[unit]["cut"].append((reason, count))
        tally = objects.group_by(["unit", "status", "reason"]).aggregate([([], "count_all")])
        for entry in tally.sort_by(
            [("unit", "ascending"), ("status", "ascending"), ("reason", "ascending")]
        ).to_pylist():
            row, count = rows[entry["unit"]], entry["count_all"]
            row["selected"] += count
            if entry["status"] == WRITTEN:
                row["written"] += count
            else:
                row[entry["status"]].append((entry["reason"], count))
        for unit, row in rows.items():
            row["error"] = self.failed_units.get(unit, "")
            row["files"] = json.dumps(self.files.get(unit, []))
        for group, why in plan.absent.items():
            rows[group] = {**_unit_row(group, 0), "error": why, "files": "[]"}
        return pa.Table.from_pylist([rows[unit] for unit in sorted(rows)], schema=_UNITS)


def _unit_row(unit: str, read: int) -> dict[str, Any]:
    return {"unit": unit, "read": read, "cut": [], "selected": 0, "written": 0, EXCLUDED: [], FAILED: []}


_UNITS = pa.schema(
    [
        ("unit", pa.string()),
        ("read", pa.int64()),
        ("cut", _COUNTS),
        ("selected", pa.int64()),
        ("written", pa.int64()),
        (EXCLUDED, _COUNTS),
        (FAILED, _COUNTS),
        ("error", pa.string()),
        ("files", pa.string()),
    ]
)


def totals(units: pa.Table) -> dict[str, Any]:
    """The counts of all units together."""
    by_reason = {name: Counter[str]() for name in ("cut", EXCLUDED, FAILED)}
    for row in units.select(list(by_reason)).to_pylist():
        for name, counter in by_reason.items():
            counter.update(dict(row[name]))
    plain = {name: int(pc.sum(units[name]).as_py() or 0) for name in ("read", "selected", "written")}
    counts = {name: dict(sorted(counter.items())) for name, counter in by_reason.items()}
    return {"read": plain["read"], "cut": counts["cut"], "selected": plain["selected"], "written": plain["written"],
            EXCLUDED: counts[EXCLUDED], FAILED: counts[FAILED]}  # fmt: skip


def imbalances(units: pa.Table) -> list[str]:
    """A sentence for each unit whose counts do not add up."""
    wrong = []
    for row in units.to_pylist():
        cut, excluded, failed = (sum(count for _, count in row[name]) for name in ("cut", EXCLUDED, FAILED))
        unit, selected, written = row["unit"], row["selected"], row["written"]
        if row["read"] != cut + selected:
            wrong.append(f"unit {unit}: read {row['read']} is not cut {cut} + selected {selected}")
        if selected != written + excluded + failed:
            parts = f"written {written} + excluded {excluded} + failed {failed}"
            wrong.append(f"unit {unit}: selected {selected} is not {parts}")
    return wrong


@dataclass(frozen=True)
class Account:
    """A ledger whose counts add up, ready to be written."""

    objects: pa.Table
    units: pa.Table
    shards: list[Shard]
    counts: dict[str, Any]
    plan: Plan


def balance(ledger: Ledger) -> Account:
    """Add everything up.

    Raises:
        LedgerError: the counts do not balance (a bug, or a damaged plan).
    """
    objects = ledger.objects()
    units = ledger.units(objects)
    shards = [ledger.shards[leaf] for leaf in ledger.plan.leaves if leaf in ledger.shards]
    counts = totals(units)
    wrong = imbalances(units)
    if sum(shard.objects for shard in shards) != counts["written"]:
        wrong.append(f"shards hold {sum(s.objects for s in shards)} objects and {counts['written']} were written")
    if wrong:
        raise LedgerError(f"The ledger does not balance: {'; '.join(wrong[:3])}.")
    return Account(objects, units, shards, counts, ledger.plan)


def fold(account: Account, folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Write the ledger's files, build.json last; returns what build.json holds."""
    tables = {"objects": account.objects, "units": account.units, "shards": _shard_table(account.shards)}
    for name, table in tables.items():
        write_table(folder / f"{name}.parquet", table)
    build = {
        **facts,
        "counts": account.counts,
        "absent": account.plan.absent,
        "not_there": sorted(account.plan.not_there),
        "rows": sum(shard.rows for shard in account.shards),
        "shards": len(account.shards),
        "bytes": sum(shard.bytes for shard in account.shards),
        "ledger": {f"{name}.parquet": checksum(folder / f"{name}.parquet") for name in tables},
    }
    write_bytes(folder / "build.json", sealed_json(build).encode())
    return build


def _shard_table(shards: list[Shard]) -> pa.Table:
    return pa.table(
        {
            "Norder": pa.array([shard.partition.order for shard in shards], pa.int8()),
            "Npix": pa.array([shard.partition.pixel for shard in shards], pa.int64()),
            "rows": pa.array([shard.rows for shard in shards], pa.int64()),
            "bytes": pa.array([shard.bytes for shard in shards], pa.int64()),
            "xxh3": pa.array([shard.xxh3 for shard in shards], pa.string()),
            "row_groups": pa.array([shard.row_groups for shard in shards], pa.int64()),
            "objects": pa.array([shard.objects for shard in shards], pa.int64()),
        }
    )


def read_ledger(folder: Path, objects: bool = True) -> Folded | None:
    """The folded ledger in `<release>/_mmu`, or None where there is none; objects only if asked for.

    Raises:
        LedgerError: it is there and cannot be read.
    """
    if not (folder / "build.json").exists():
        return None
    path = folder / "build.json"
    tables = []
    try:
        build = json.loads(path.read_text())
        for name in ("objects", "units", "shards") if objects else ("units", "shards"):
            path = folder / f"{name}.parquet"
            tables.append(pq.read_table(path))
    except (OSError, ValueError, pa.ArrowException) as problem:
        msg = f"The ledger's file {path} cannot be read ({problem}); rebuild into another --out."
        raise LedgerError(msg) from problem
    if not isinstance(build, dict) or not build.keys() >= _FACTS:
        raise LedgerError(f"{folder / 'build.json'} lacks what a ledger holds; rebuild into another --out.")
    units, shards = tables[-2:]
    found = [
        Shard(Partition(r["Norder"], r["Npix"]), r["rows"], r["bytes"], r["xxh3"], r["row_groups"], r["objects"])
        for r in shards.to_pylist()
    ]
    return Folded(build, tables[0] if objects else _NO_OBJECTS, units, found)
