"""The dataset card: README.md of a survey's folder, written anew from the releases that are present.

Its YAML gives `datasets` the files and the shapes of every column; its words say what was cut, counted, and how to
load and cite. It holds no time and no local path, so the same releases give the same card. croissant.json goes with it.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from mmu import __version__
from mmu.build.progress import human_bytes
from mmu.licences import Terms
from mmu.references import acknowledgement, bibtex, description
from mmu.schema.column import HEALPIX, Schema
from mmu.schema.document import column_table
from mmu.shards.beside import Piece, Pieces, drop_stale, picture_path, pictures, record
from mmu.shards.configuration import Configuration, Licence, front_matter
from mmu.shards.croissant import NAME, croissant
from mmu.shards.parquet import checksum, write_text
from mmu.shards.seal import CARD, sealed
from mmu.survey import Release, Survey

_MARKUP = {ord(sign): f"\\{sign}" for sign in "|`[]*\\"}

Builds = Mapping[str, dict[str, Any]]
"""Release name -> what its `_mmu/build.json` holds."""


def write_card(root: Path, survey: Survey, drawn: Pieces | None = None) -> None:
    """Write `root`/README.md and croissant.json for the releases whose build is complete; one writer at a time.

    Args:
        drawn: pictures made since; those that the card shows already stay as long as their rows do.
    """
    with FileLock(root / ".card.lock"):
        builds = {
            release.name: json.loads(path.read_text(encoding="utf-8"))
            for release in survey.releases
            if (path := root / release.name / "_mmu" / "build.json").is_file()
        }
        pieces = pictures(root, rows_of(builds), drawn or {})
        configurations = [_configuration(survey.release(name), build) for name, build in builds.items()]
        write_text(root / NAME, croissant(root, _about(survey, builds), configurations))
        pieces[NAME] = Piece(checksum(root / NAME))
        write_text(root / "README.md", sealed(_card(survey, builds, configurations, pieces), CARD))
        drop_stale(root, pieces)


def rows_of(builds: Builds) -> dict[str, str]:
    """Release -> checksum of its list of shards, which changes with its rows; none where there are no rows."""
    return {
        name: build["ledger"]["shards.parquet"]
        for name, build in builds.items()
        if build["counts"]["written"] and "ledger" in build
    }


def _card(survey: Survey, builds: Builds, configurations: list[Configuration], pieces: Pieces) -> str:
    releases = [survey.release(name) for name in builds]
    licence = Licence(survey.licence_id, f"{survey.name}-terms".replace("_", "-"), survey.homepage)
    tags = [survey.name.replace("_", "-"), *(["simulated"] if _simulated(builds) else [])]
    parts = [
        front_matter(survey.title, licence, configurations, tags, survey.tasks),
        f"# {survey.title}",
        _simulated(builds),
        _contents(releases, builds),
        description(survey),
        *(_release(survey, release, builds[release.name], pieces) for release in releases),
        _loading(survey, releases),
        _differences(survey),
        f"## Licence\n\n{Terms.of(survey)}\n\nSource: <{survey.homepage}>",
        _citing(survey, list(builds)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n" + record(pieces)


def _configuration(release: Release, build: Mapping[str, Any]) -> Configuration:
    return Configuration(
        release.name,
        release.title,
        release.schema,
        _rows(build),
        int(build["shards"]),
        int(build["bytes"]),
        release.bytes_per_row,
    )


def _about(survey: Survey, builds: Builds) -> dict[str, Any]:
    """What croissant.json says of the whole."""
    what = description(survey).removeprefix("## What this is").strip().partition("\n\n")[0]
    spdx = f"https://spdx.org/licenses/{survey.licence_id.upper()}.html"
    return {
        "name": survey.name,
        "alternateName": survey.title,
        "description": " ".join(f"{_simulated(builds)} {what}".split()),
        "url": survey.homepage,
        "license": spdx if survey.licence_id not in ("other", "unknown") else survey.licence,
        "creator": {"@type": "sc:Organization", "name": survey.title, "url": survey.homepage},
        "version": __version__,
        "keywords": ["astronomy", "multimodal-universe", "HATS"],
        "citeAs": bibtex(survey, list(builds)),
    }


def _rows(build: Mapping[str, Any]) -> int:
    """Rows, of which an object may have several."""
    return int(build.get("rows", build["counts"]["written"]))


def _simulated(builds: Builds) -> str:
    """A sentence that some of it, or all, was never observed; empty if all was."""
    names = [name for name, build in builds.items() if _made_up(build.get("spec", {}))]
    return f"**Simulated: the objects of {', '.join(names)} were never observed.**" if names else ""


def _made_up(spec: Mapping[str, Any]) -> bool:
    return str(spec.get("source") or "").startswith("simulated")


def _contents(releases: list[Release], builds: Builds) -> str:
    """What there is to load, before the words."""
    head = "| configuration | what | rows | on disk |\n|---|---|---:|---:|"
    rows = [
        f"| `{release.name}` | {release.title} | {_rows(build):,} | {human_bytes(build['bytes'])} |"
        for release, build in ((release, builds[release.name]) for release in releases)
    ]
    return "\n".join([head, *rows]) if rows else ""


def _release(survey: Survey, release: Release, build: Mapping[str, Any], pieces: Pieces) -> str:
    counts, spec = build["counts"], build.get("spec", {})
    parts = [f"## {release.name}: {release.title}"]
    if not counts["written"]:
        parts.append("**This selection holds no objects.** There are catalogue files, and no data files.")
    parts += [
        f"Coverage: {release.coverage}. Positions are ICRS at epoch J{release.epoch}.",
        _shown(release, build, pieces),
        "Selection:\n\n" + "\n".join(f"- {sentence}" for sentence in (*release.selection, *_asked(survey, spec))),
        _counts(counts),
        f"{_rows(build):,} rows in {build['shards']:,} shards, {human_bytes(build['bytes'])} on disk.",
        f"{_source(survey, spec)} `{release.name}/_mmu/units.parquet` names every file that was read, with address, "
        "size, SHA-256 and the time it was fetched; `objects.parquet` beside it what became of every object.",
        _columns(survey, release.schema),
    ]
    return "\n\n".join(part for part in parts if part)


def _columns(survey: Survey, schema: Schema) -> str:
    table = column_table(Schema((HEALPIX, *schema)))
    words = "`*` is an axis whose length differs from row to row."
    if any(not column.meaning for column in schema):
        words += f" Columns without a meaning here are the archive's own, of that name: see <{survey.homepage}>."
    return f"### Columns\n\n{words}\n\n{table}"


def _shown(release: Release, build: Mapping[str, Any], pieces: Pieces) -> str:
    """The pictures of a release that there are."""
    name = release.name
    texts = {
        "coverage": f"Map of the sky: where the {build['counts']['written']:,} objects of {name} are",
        "samples": f"Some objects of {name}, as they are in the data",
    }
    shown = [f"![{text}]({path})" for kind, text in texts.items() if (path := picture_path(kind, name)) in pieces]
    return "\n\n".join(shown)


def _asked(survey: Survey, spec: Mapping[str, Any]) -> list[str]:
    """What this build left out of the release, and what it was given besides the archive, in sentences."""
    sentences = []
    if spec.get("region") not in (None, "", "all"):
        sentences.append(f"this build: the region `{_region(str(spec['region']))}` only")
    if spec.get("max_objects"):
        sentences.append(f"this build: units in order of name until {int(spec['max_objects']):,} objects are selected")
    supplied = spec.get("supplements", {})
    sentences += [f"this build: {one.given if one.name in supplied else one.absent}" for one in survey.supplements]
    return sentences


def _region(text: str) -> str:
    """The region without the folder of a coverage map."""
    return f"moc:{Path(text[4:]).name}" if text.startswith("moc:") else text


def _source(survey: Survey, spec: Mapping[str, Any]) -> str:
    """Where the raw files came from, without a folder's name."""
    source = str(spec.get("source") or "")
    if _made_up(spec):
        return "Made from the simulated sky: these are not observations."
    if source.startswith(("http://", "https://")):
        return f"Made from the files at <{source}>."
    return f"Made from a copy of the survey's public files; its archive is <{survey.root}>."


def _counts(counts: Mapping[str, Any]) -> str:
    rows = [("read", counts["read"]), *_reasons("cut", counts), ("selected", counts["selected"])]
    rows += [("written", counts["written"]), *_reasons("excluded", counts), *_reasons("failed", counts)]
    lines = [f"| {_plain(name)} | {number:,} |" for name, number in rows]
    return "\n".join(["| objects | number |", "|---|---:|", *lines])


def _plain(words: str) -> str:
    """Words that may come from a file, as words: no markup, no table of their own."""
    return html.escape(" ".join(words.split()), quote=False).translate(_MARKUP)


def _reasons(kind: str, counts: Mapping[str, Any]) -> list[tuple[str, int]]:
    reasons = {reason: int(number) for reason, number in sorted(counts[kind].items()) if number}
    return [(f"{kind}: {reason}", number) for reason, number in reasons.items()] or [(kind, 0)]


def _differences(survey: Survey) -> str:
    if not survey.differences:
        return ""
    return "## Differences from Multimodal Universe v1\n\n" + "\n".join(f"- {text}" for text in survey.differences)


def _loading(survey: Survey, releases: list[Release]) -> str:
    name = releases[0].name if releases else survey.default_release.name
    return f"""## How to load

From the folder it is in, or from the Hub as `ORG/{survey.name}`:

```python
from datasets import load_dataset
rows = load_dataset("path/to/{survey.name}", "{name}", split="train", streaming=True)

import mmu
data = mmu.open("path/to/{survey.name}", "{name}")
data.table(region="cone:150.1,2.2,0.5")          # scalar columns of a part of the sky
for batch in data.batches(batch_rows=64): ...     # every column as NumPy arrays

import lsdb
catalogue = lsdb.open_catalog("path/to/{survey.name}/{name}_collection")           # scalar columns, with margin
everything = lsdb.open_catalog("path/to/{survey.name}/{name}", columns="all")      # arrays too, without margin
```

In batches, `rows.with_format("arrow")` and `mmu.decode(batch)` give arrays many times faster than the built-in formats.
Shards are sorted by `_healpix_29`; one shard is one HEALPix pixel (nested)."""


def _citing(survey: Survey, releases: list[str]) -> str:
    thanks = acknowledgement(survey)
    text = f"## Acknowledgement\n\n{thanks}\n\n" if thanks else ""
    words = "`mmu cite PATH` prints this for one or several datasets, and tells where licences disagree."
    return f"{text}## How to cite\n\n```bibtex\n{bibtex(survey, releases)}\n```\n\n{words}"
