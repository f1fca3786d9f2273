"""What is left to do: the plan, less what a finished ledger and an interrupted run's journal have settled."""

from __future__ import annotations

import json
from dataclasses import astuple
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmu.build.journal import read_journal
from mmu.build.ledger import EXCLUDED, Folded, Ledger
from mmu.build.plan import Plan
from mmu.build.unit import Written, spool_file, spool_name
from mmu.schema import HEALPIX
from mmu.shards.parquet import Shard
from mmu.sky.partition import Partition, locate

Rows = np.ndarray[Any, Any]


class Remaining:
    """What a run has to do, and the ledger as far as earlier runs have filled it.

    Attributes:
        todo: unit -> rows of the plan that no finished build has settled.
        settled: units that the interrupted run has read.
        pending: units to read, in the order of the sky.
        unread: for each row of the plan, True if its unit is pending.
        stale: partitions whose shard is not what it should be, but for rows still to be read.
    """

    def __init__(self, plan: Plan, before: Folded | None, journal: Path, spool: Path) -> None:
        self.plan, self.before, self.spool = plan, before, spool
        self.ledger = Ledger(plan)
        self.todo = dict(plan.rows_of_unit) if before is None else self._not_settled(before)
        self.stale = set() if before is None else self._without_shard(before) | self._superseded(before)
        self.settled: set[str] = set()
        self._replay(journal)
        self.settled = {unit for unit in self.settled if self._kept(unit)}
        by_sky = sorted(self.todo, key=lambda unit: (int(plan.leaf[self.todo[unit][0]]), unit))
        self.pending = [unit for unit in by_sky if unit not in self.settled]
        self.unread = np.zeros(len(plan.objects), dtype=bool)
        for unit in self.pending:
            self.unread[self.todo[unit]] = True

    def leaves_of(self, unit: str) -> list[Partition]:
        """The partitions that a unit's remaining rows fall in."""
        rows = self.todo.get(unit)
        return [] if rows is None else [self.plan.leaves[i] for i in np.unique(self.plan.leaf[rows]).tolist()]

    def take_shard(self, leaf: Partition, written: Written) -> None:
        """Note what a partition's shard is now."""
        self.stale.discard(leaf)
        if written.rows:
            self.ledger.shards[leaf] = Shard(leaf, *astuple(written))
        else:
            self.ledger.shards.pop(leaf, None)

    def keep(self, leaf: Partition) -> pa.Array:
        """The object_ids that an earlier shard may still hold of a partition."""
        first, end = np.searchsorted(self.plan.healpix_29, leaf.span)
        ids = self.plan.objects["object_id"].slice(first, end - first).filter(pa.array(~self.unread[first:end]))
        if self.plan.outdated and self.ledger.excluded:  # what is excluded now may have been written then
            ids = ids.filter(pa.array([name not in self.ledger.excluded for name in ids.to_pylist()], pa.bool_()))
        return ids.combine_chunks()

    @cached_property
    def _outdated(self) -> pa.Array:
        return pa.array(self.plan.outdated, pa.string())

    def _not_settled(self, before: Folded) -> dict[str, Rows]:
        """Per unit, the rows that the finished build did not settle; also recalls why some were excluded then."""
        settled = before.settled()
        settled = settled.filter(pc.invert(pc.is_in(settled["unit"], value_set=self._outdated)))
        known = pc.is_in(self.plan.objects["object_id"], value_set=settled["object_id"].combine_chunks())
        left = ~np.asarray(known)
        out = settled.filter(pc.equal(settled["status"], EXCLUDED))
        self.ledger.excluded.update(zip(out["object_id"].to_pylist(), out["reason"].to_pylist(), strict=True))
        for row in before.units.select(["unit", "files"]).to_pylist():
            self.ledger.files[row["unit"]] = json.loads(row["files"])
        leaves = set(self.plan.leaves)
        self.ledger.shards.update({shard.partition: shard for shard in before.shards if shard.partition in leaves})
        return {unit: rows[left[rows]] for unit, rows in self.plan.rows_of_unit.items() if left[rows].any()}

    def _without_shard(self, before: Folded) -> set[Partition]:
        there = {shard.partition for shard in before.shards}
        occupied = {self.plan.leaves[i] for i in np.unique(self.plan.leaf).tolist()}
        return occupied - there

    def _superseded(self, before: Folded) -> set[Partition]:
        """Partitions that hold rows of a changed file, wherever the object stands now, or of objects not listed now."""
        if not self.plan.outdated:
            return set()
        old = before.objects
        gone = pc.invert(pc.is_in(old["object_id"], value_set=self.plan.objects["object_id"].combine_chunks()))
        touched = old.filter(pc.or_(gone, pc.is_in(old["unit"], value_set=self._outdated)))
        index = locate(np.asarray(touched[HEALPIX.name]), self.plan.leaves)
        return {self.plan.leaves[i] for i in np.unique(index[index >= 0]).tolist()}

    def _replay(self, journal: Path) -> None:
        """Take over an interrupted run's journal."""
        for entry in read_journal(journal):
            if "shard" in entry:
                self.take_shard(Partition(*entry["shard"]), Written(*entry["written"]))
            elif "failed" not in entry:
                self.settled.add(entry["unit"])
                self.ledger.excluded.update(entry["excluded"])
                self.ledger.files[entry["unit"]] = entry["files"]
                self.stale.update(self.leaves_of(entry["unit"]))

    def _kept(self, unit: str) -> bool:
        """False if records of a settled unit are in no shard yet and their spool is gone: it is read again."""
        rows = self.todo.get(unit, np.empty(0, dtype=np.intp))
        for index in np.unique(self.plan.leaf[rows]).tolist():
            leaf = self.plan.leaves[index]
            if leaf in self.stale and not (self.spool / spool_name(leaf) / spool_file(unit)).exists():
                here = self.plan.objects["object_id"].take(pa.array(rows[self.plan.leaf[rows] == index]))
                if not self.ledger.excluded.keys() >= set(here.to_pylist()):
                    return False
        return True
