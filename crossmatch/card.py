"""The card of a match: README.md of its folder, from what is in it; it holds no time: the same match, the same card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crossmatch.association import FOLDER, PAIRS, Association, open_association, read_facts
from crossmatch.columns import association_schema
from crossmatch.picture import draw_match
from mmu import __version__
from mmu.citation import Citation, cite
from mmu.dataset import Dataset
from mmu.licences import Terms
from mmu.references import acknowledgement
from mmu.schema.arrow import column_of
from mmu.schema.column import HEALPIX, Schema
from mmu.schema.document import column_table
from mmu.shards.beside import Piece, record
from mmu.shards.configuration import Configuration, Licence, front_matter
from mmu.shards.croissant import NAME, croissant
from mmu.shards.parquet import checksum, write_text
from mmu.shards.seal import CARD, sealed

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
    """Write the card, croissant.json and the picture of the match in a folder; returns those that were written."""
    association = open_association(out)
    pairs = Dataset(out / PAIRS) if read_facts(out / PAIRS) is not None else None
    picture = draw_match(association, out / PICTURE)
    citation, configurations = cite(pairs=[out]), _configurations(association, pairs)
    licence, about = _licence(citation), _about(association, citation)
    write_text(out / NAME, croissant(out, about, configurations))
    pieces = {path.name: Piece(checksum(path)) for path in (out / NAME, picture) if path is not None}
    tags = ["cross-match", *(["simulated"] if citation.simulated else [])]
    head = front_matter(_names(association), licence, configurations, tags)
    text = f"{head}\n\n{_card(association, pairs, configurations, citation, picture is not None)}{record(pieces)}"
    write_text(out / "README.md", sealed(text, CARD))
    return [path for path in (out / "README.md", out / NAME, picture) if path is not None]


def _card(
    association: Association,
    pairs: Dataset | None,
    configurations: list[Configuration],
    citation: Citation,
    picture: bool,
) -> str:
    licences = [f"- {' '.join((one.survey.name, *one.releases))}: {Terms.of(one.survey)}" for one in citation.used]
    warnings = [f"- {words}" for words in citation.warnings]
    thanks = [text for one in citation.used if (text := acknowledgement(one.survey))]
    parts = [
        f"# {_names(association)}",
        _simulated(citation),
        _how(association),
        _counts(association),
        f"![Map of the objects, and the separations of pairs against those by chance]({PICTURE})" if picture else "",
        _loading(association, pairs),
        *(f"## Columns of `{one.name}`\n\n{column_table(Schema((HEALPIX, *one.schema)))}" for one in configurations),
        "## Licence\n\nEach dataset's own:\n\n" + "\n".join(licences),
        "To heed:\n\n" + "\n".join(warnings) if warnings else "",
        "## Acknowledgement\n\n" + "\n\n".join(dict.fromkeys(thanks)) if thanks else "",
        f"## How to cite\n\n```bibtex\n{citation.bibtex}```\n\n`mmu cite --pair PATH` prints this.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _simulated(citation: Citation) -> str:
    """A sentence that objects were never observed; empty if all were."""
    names = ", ".join(citation.simulated)
    return f"**Simulated: the objects of {names} were never observed.**" if names else ""


def _names(association: Association) -> str:
    return " x ".join(member.name for member in association.members)


def _configurations(association: Association, pairs: Dataset | None) -> list[Configuration]:
    """What there is to load: the pairs, if they were written, before the association."""
    found = [
        _configuration(
            FOLDER, "which records are one object", association_schema(association.rule), association.dataset
        )
    ]
    if pairs is None:
        return found
    schema = Schema(tuple(column_of(field) for field in pairs.schema if field.name != HEALPIX.name))
    return [_configuration(PAIRS, "the records of each object, side by side", schema, pairs), *found]


def _configuration(name: str, title: str, schema: Schema, data: Dataset) -> Configuration:
    return Configuration(name, title, schema, len(data), len(data.partitions), data.bytes, schema.bytes_per_row(4))


def _licence(citation: Citation) -> Licence:
    """That of all datasets, if it is the same and they all told; else to be looked up for each."""
    ids = {one.survey.licence_id for one in citation.used}
    same = len(ids) == 1 and not ids & {"other", "unknown"} and not citation.untold
    return Licence(ids.pop()) if same else Licence("other", "those-of-the-datasets")


def _about(association: Association, citation: Citation) -> dict[str, Any]:
    """What croissant.json says of the whole."""
    names = [member.name for member in association.members]
    what = f"Which records of {', '.join(names)} are one object."
    return {
        "name": "_x_".join(names),
        "description": f"{_simulated(citation)} {what} {_rule(association)}".strip(),
        "license": "; ".join(f"{one.survey.name}: {one.survey.licence}" for one in citation.used) or "see the datasets",
        "creator": [
            {"@type": "sc:Organization", "name": one.survey.title, "url": one.survey.homepage} for one in citation.used
        ],
        "version": __version__,
        "keywords": ["astronomy", "multimodal-universe", "HATS", "cross-match"],
        "citeAs": citation.bibtex.strip(),
    }


def _how(association: Association) -> str:
    return f"{_rule(association)}\n\nMade by\n\n```sh\n{_without_folders(association)}\n```"


def _rule(association: Association) -> str:
    """How records were paired, in sentences."""
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
    return " ".join(sentences)


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
