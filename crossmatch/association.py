"""The result of a match: which records of several datasets are one object; in memory, or a catalogue on disk.

OUT/association/     a HATS catalogue: a row for each object; see `crossmatch.columns`
    _mmu/match.json  the rule, each dataset's address and fingerprint, the counts; shards.parquet the checksums
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from crossmatch.level import Tally
from crossmatch.rule import Rule
from crossmatch.sources import Source, Wanted, open_source
from mmu.dataset import Dataset
from mmu.errors import LedgerError, UsageError

FOLDER, PAIRS = "association", "pairs"


@dataclass(frozen=True)
class Member:
    """One dataset of a match, as it was when it was matched."""

    name: str
    address: str
    fingerprint: str
    rows: int
    epoch: float | None

    @staticmethod
    def of(source: Source) -> Member:
        return Member(source.name, source.address, source.fingerprint, source.rows, source.epoch)


@dataclass(frozen=True)
class Association:
    """Objects and the records that are theirs.

    Attributes:
        rule: how records were paired.
        members: the datasets, the anchor first.
        tallies: the counts of each, over the parts of the sky where there was something to match.
        rows: of the result.
        path: where it is; None if it is in memory only.
        command: what makes it again.
    """

    rule: Rule
    members: tuple[Member, ...]
    tallies: tuple[Tally, ...]
    rows: int
    path: Path | None = None
    memory: pa.Table | None = None
    command: str = ""

    @property
    def dataset(self) -> Dataset:
        """The catalogue on disk.

        Raises:
            UsageError: it is in memory only.
        """
        if self.path is None:
            raise UsageError("This association is in memory only: give `out` to have it on disk.")
        return Dataset(self.path)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The objects, in the order of the sky; all columns by default."""
        if self.memory is None:
            return self.dataset.table(columns)
        return self.memory if columns is None else self.memory.select(list(columns))

    def check(self) -> None:
        """Are the datasets still those that were matched?

        Raises:
            UsageError: one changed since, or is gone; the message has the command that renews the match.
        """
        for member in self.members:
            if not member.address:
                continue
            now = open_source(member.name, member.address, Wanted(epoch=member.epoch)).fingerprint
            if now != member.fingerprint:
                raise UsageError(
                    f"{member.name} ({member.address}) changed since it was matched, so rows of {self.path} no longer "
                    f"mean the same records; renew the match: {self.command} --renew"
                )

    def __len__(self) -> int:
        return self.rows

    def __repr__(self) -> str:
        others = ", ".join(f"{m.name} {t.matched:,}" for m, t in list(zip(self.members, self.tallies, strict=True))[1:])
        return f"<association: {self.rows:,} rows; matched with {self.members[0].name}: {others}>"


def open_association(path: str | Path) -> Association:
    """Open a match on disk: the folder given as --out, or the `association` in it.

    Raises:
        UsageError: there is none, or it is unfinished.
        LedgerError: its account cannot be read.
    """
    folder = Path(path).expanduser()
    folder = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    facts = read_facts(folder)
    if facts is None:
        raise UsageError(f"{path} holds no finished match; `mmu crossmatch A B --out {path}` makes one.")
    return of_facts(folder, facts)


def read_facts(folder: Path) -> dict[str, Any] | None:
    """What `_mmu/match.json` says; None where there is none."""
    path = folder / "_mmu" / "match.json"
    if not path.is_file():
        return None
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _ = facts["rule"], facts["members"], facts["tallies"], facts["rows"]
    except (ValueError, LookupError, TypeError) as problem:
        msg = f"{path} cannot be read ({problem}); make the match anew in another folder."
        raise LedgerError(msg) from problem
    return facts


def of_facts(folder: Path, facts: Mapping[str, Any]) -> Association:
    return Association(
        rule_of(facts["rule"]),
        tuple(Member(**member) for member in facts["members"]),
        tuple(Tally(**tally) for tally in facts["tallies"]),
        facts["rows"],
        folder,
        command=facts["command"],
    )


def facts_of(rule: Rule) -> dict[str, Any]:
    """A rule as JSON has it."""
    return {**asdict(rule), "names": list(rule.names), "required": sorted(rule.required),
            "epochs": list(rule.epochs), "moves": list(rule.moves),
            "errors": [list(columns) for columns in rule.errors]}  # fmt: skip


def rule_of(facts: Mapping[str, Any]) -> Rule:
    made = {**facts, "required": frozenset(facts["required"]), "errors": tuple(map(tuple, facts["errors"]))}
    return Rule(**made | {name: tuple(facts[name]) for name in ("names", "epochs", "moves")})


def command_of(rule: Rule, members: Sequence[Member], out: Path) -> str:
    """The command line that makes a match, for whoever has to make it again."""
    words = ["mmu", "crossmatch", *(f"{m.name}={m.address or 'IN-MEMORY'}" for m in members)]
    words += ["--radius", _number(rule.radius_arcsec), "--how", rule.how, "--mode", rule.mode]
    words += ["--k", str(rule.k)] if rule.mode == "knn" else []
    words += [word for name in sorted(rule.required) for word in ("--require", name)]
    if any(rule.moves):
        words.append("--epochs")
        words += [word for m in members if m.epoch for word in ("--epoch", f"{m.name}={_number(m.epoch)}")]
    for member, columns in zip(members, rule.errors or [()] * len(members), strict=True):
        words += ["--error", f"{member.name}={','.join(columns)}"] if columns else []
    words += ["--sigma", _number(rule.n_sigma)] if rule.n_sigma is not None else []
    words += ["--region", rule.region] if rule.region != "all" else []
    return shlex.join([*words, "--out", str(out)])


def _number(value: float) -> str:
    return repr(float(value)).removesuffix(".0")
