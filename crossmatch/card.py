"""The card of a match: README.md of its folder, from what is in it; it holds no time: the same match, the same card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from crossmatch.association import FOLDER, PAIRS, Association, Member, open_association, read_facts
from crossmatch.columns import association_schema
from crossmatch.picture import draw_match
from mmu.dataset import Dataset
from mmu.dataset import open as open_dataset
from mmu.errors import MmuError
from mmu.schema.arrow import column_of
from mmu.schema.column import HEALPIX, Schema
from mmu.schema.document import column_table
from mmu.schema.features import features_yaml
from mmu.shards.parquet import write_text
from mmu.shards.seal import CARD, sealed
from mmu.survey import get_survey

PICTURE = "match.png"

_HOW = {
    "inner": "objects that every dataset has",
    "left": "all objects of the anchor",
    "outer": "all objects of all datasets",
}
_MODE = {
    "nearest": "the nearest record of each dataset",
    "mutual": "the nearest record, where the object is the nearest to that record too",
    "all": "every record within the radius, a row each",
    "knn": "the nearest records, a row each",
}


def describe(out: Path) -> list[Path]:
    """Write the card and the picture of the match in a folder; returns those that were written."""
    association = open_association(out)
    pairs = Dataset(out / PAIRS) if read_facts(out / PAIRS) is not None else None
    picture = draw_match(association, out / PICTURE)
    write_text(out / "README.md", sealed(_card(association, pairs, picture is not None), CARD))
    return [path for path in (out / "README.md", picture) if path is not None]


def _card(association: Association, pairs: Dataset | None, picture: bool) -> str:
    names = " x ".join(member.name for member in association.members)
    configs = {FOLDER: (association_schema(association.rule), len(association), association.dataset)}
    if pairs is not None:
        fields = [field for field in pairs.schema if field.name != HEALPIX.name]
        configs = {PAIRS: (Schema(tuple(column_of(field) for field in fields)), len(pairs), pairs), **configs}
    head = yaml.safe_dump(_front_matter(names, configs), sort_keys=False, allow_unicode=True, width=120)
    surveys = [_survey(member) for member in association.members]
    parts = [
        f"---\n{head}---",
        f"# {names}",
        _how(association),
        _counts(association),
        f"![Where the objects are, and the separations of pairs against chance]({PICTURE})" if picture else "",
        *(f"## Columns of `{name}`\n\n{column_table(schema)}" for name, (schema, _, _) in configs.items()),
        _loading(association, pairs),
        "## Licence\n\n"
        + "\n".join(f"- {m.name}: {s['licence']}" for m, s in zip(association.members, surveys, strict=True)),
        "## How to cite\n\n" + "\n\n".join(dict.fromkeys(survey["cite"] for survey in surveys)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(names: str, configs: Mapping[str, tuple[Schema, int, Dataset]]) -> dict[str, Any]:
    """What the Hub and `datasets` read; a configuration without rows has no files."""
    filled = [name for name, (_, rows, _) in configs.items() if rows] or list(configs)
    glob = "{}/dataset/Norder=*/Dir=*/Npix=*.parquet"
    entries = [
        {
            "config_name": name,
            "data_files": [{"split": "train", "path": glob.format(name)}],
            "default": name == filled[0],
        }
        for name in filled
    ]
    info = []
    for name in filled:
        schema, rows, dataset = configs[name]
        size = rows * schema.bytes_per_row(4)
        splits = [{"name": "train", "num_bytes": size, "num_examples": rows}]
        info.append({"config_name": name, "features": features_yaml(schema), "splits": splits,
                     "download_size": dataset.bytes, "dataset_size": size})  # fmt: skip
    tags = ["astronomy", "multimodal-universe", "hats", "cross-match"]
    return {"pretty_name": names, "license": "other", "tags": tags, "configs": [_plain(one) for one in entries],
            "dataset_info": info}  # fmt: skip


def _plain(entry: dict[str, Any]) -> dict[str, Any]:
    return entry if entry["default"] else {key: value for key, value in entry.items() if key != "default"}


def _how(association: Association) -> str:
    rule, anchor = association.rule, association.members[0].name
    sentences = [
        f"Objects of {anchor} and, within {rule.radius_arcsec:g} arcsec of each, {_MODE[rule.mode]}: {_HOW[rule.how]}.",
        f"Every dataset is matched to the positions of {anchor}, never to one another's matches.",
    ]
    if rule.how == "outer":
        sentences.append("Records that are nobody's are objects of their own, in the order of the datasets.")
    if rule.required:
        sentences.append(f"Only objects that are in {', '.join(sorted(rule.required))} are kept.")
    if rule.n_sigma is not None:
        sentences.append(f"Pairs also agree within {rule.n_sigma:g} standard errors of both positions together.")
    if any(rule.moves):
        moving = ", ".join(name for name, moves in zip(rule.names, rule.moves, strict=True) if moves)
        sentences.append(f"Proper motions of {moving} were followed to the epoch of the other dataset.")
    if rule.region != "all":
        sentences.append(f"Only the region `{rule.region}`.")
    return " ".join(sentences) + f"\n\nMade by\n\n```sh\n{_without_folders(association)}\n```"


def _without_folders(association: Association) -> str:
    """The command with the datasets' names in place of where they were."""
    text = association.command.split(" --out ")[0]
    for member in association.members:
        text = text.replace(f"{member.name}={member.address}", f"{member.name}={Path(member.address).name}")
    return f"{text} --out OUT"


def _counts(association: Association) -> str:
    head = (
        "| dataset | records | matched | several candidates | shared | pairs within the radius | expected by chance |"
    )
    rows = [head, "|---|---:|---:|---:|---:|---:|---:|"]
    for index, (member, tally) in enumerate(zip(association.members, association.tallies, strict=True)):
        cells = [f"{n:,}" for n in (tally.matched, tally.ambiguous, tally.shared, tally.pairs)] + [
            f"{tally.chance:,.1f}"
        ]
        rows.append(
            f"| {member.name} | {tally.records:,} | " + " | ".join(cells if index else ["anchor", *[""] * 4]) + " |"
        )
    words = "Records are those in the parts of the sky where there was something to match."
    return f"{len(association):,} rows. {words}\n\n" + "\n".join(rows)


def _loading(association: Association, pairs: Dataset | None) -> str:
    name = PAIRS if pairs is not None else FOLDER
    return f"""## How to load

```python
from datasets import load_dataset
rows = load_dataset("path/to/this", "{name}", split="train", streaming=True)

import mmu
data = mmu.open("path/to/this", "{name}")

import lsdb
catalogue = lsdb.open_catalog("path/to/this/{name}")
```

`NAME_order`, `NAME_pixel` and `NAME_row` of the association say where a record is in its own dataset: they hold for the
datasets as they were when they were matched."""


def _survey(member: Member) -> dict[str, str]:
    """Licence and citation of a dataset, from the survey it was built from; else where to look."""
    try:
        ledger = open_dataset(member.address).path / "_mmu" / "build.json"
        survey = get_survey(json.loads(ledger.read_text(encoding="utf-8"))["survey"])
    except (MmuError, OSError, ValueError, LookupError, TypeError):
        there = member.address if "://" in member.address else "where it came from"
        return {"licence": f"see {there}", "cite": f"{member.name}: as {there} asks."}
    return {"licence": survey.licence, "cite": f"```bibtex\n{survey.text('cite.bib').strip()}\n```"}
