"""The dataset card: README.md of a survey's folder, written anew from the releases that are present.

Its YAML gives `datasets` the files and the shapes of every column; its words say what was cut, counted, and how to
load and cite. It holds no time and no local path, so the same releases give the same card.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from mmu.schema.document import column_table
from mmu.schema.features import features_yaml
from mmu.shards.parquet import write_text
from mmu.shards.seal import CARD, sealed
from mmu.survey import Release, Survey

_MARKUP = {ord(sign): f"\\{sign}" for sign in "|`[]*\\"}

Builds = Mapping[str, dict[str, Any]]
"""Release name -> what its `_mmu/build.json` holds."""


def write_card(root: Path, survey: Survey) -> None:
    """Write `root`/README.md for the releases whose build is complete; one writer at a time."""
    with FileLock(root / ".card.lock"):
        builds = {
            release.name: json.loads(path.read_text(encoding="utf-8"))
            for release in survey.releases
            if (path := root / release.name / "_mmu" / "build.json").is_file()
        }
        write_text(root / "README.md", sealed(_card(survey, builds), CARD))


def _card(survey: Survey, builds: Builds) -> str:
    releases = [release for release in survey.releases if release.name in builds]
    head = yaml.safe_dump(_front_matter(survey, releases, builds), sort_keys=False, allow_unicode=True, width=120)
    parts = [
        f"---\n{head}---",
        f"# {survey.title}",
        survey.text("card.md").strip(),
        *(_release(survey, release, builds[release.name]) for release in releases),
        _differences(survey),
        _loading(survey, releases),
        f"## Licence\n\n{survey.licence}\n\nSource: <{survey.homepage}>",
        f"## How to cite\n\n```bibtex\n{survey.text('cite.bib').strip()}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(survey: Survey, releases: list[Release], builds: Builds) -> dict[str, Any]:
    """What the Hub and `datasets` read. Empty releases have no files, hence no configuration beside others."""
    filled = [release for release in releases if builds[release.name]["counts"]["written"]] or releases
    modalities = sorted({modality for release in releases for modality in release.schema.modalities})
    return {
        "pretty_name": survey.title,
        "license": survey.licence_id,
        "tags": ["astronomy", "multimodal-universe", "hats", *modalities],
        "configs": [_config(release, default=release is filled[0]) for release in filled],
        "dataset_info": [_info(release, builds[release.name]) for release in filled],
    }


def _config(release: Release, *, default: bool) -> dict[str, Any]:
    glob = f"{release.name}/dataset/Norder=*/Dir=*/Npix=*.parquet"
    config: dict[str, Any] = {"config_name": release.name, "data_files": [{"split": "train", "path": glob}]}
    return {**config, "default": True} if default else config


def _info(release: Release, build: Mapping[str, Any]) -> dict[str, Any]:
    rows = _rows(build)
    size = rows * release.bytes_per_row
    return {
        "config_name": release.name,
        "features": features_yaml(release.schema),
        "splits": [{"name": "train", "num_bytes": size, "num_examples": rows}],
        "download_size": int(build["bytes"]),
        "dataset_size": size,
    }


def _rows(build: Mapping[str, Any]) -> int:
    """Rows, of which an object may have several."""
    return int(build.get("rows", build["counts"]["written"]))


def _release(survey: Survey, release: Release, build: Mapping[str, Any]) -> str:
    counts, spec = build["counts"], build.get("spec", {})
    parts = [f"## {release.name}: {release.title}"]
    if not counts["written"]:
        parts.append("**This selection holds no objects.** There are catalogue files, and no data files.")
    parts += [
        f"Coverage: {release.coverage}. Positions are ICRS at epoch J{release.epoch}.",
        "Selection:\n\n" + "\n".join(f"- {sentence}" for sentence in (*release.selection, *_asked(survey, spec))),
        _counts(counts),
        f"{_rows(build):,} rows in {build['shards']:,} shards, {build['bytes']:,} bytes. {_source(spec)}",
        "### Columns\n\n" + column_table(release.schema),
    ]
    return "\n\n".join(parts)


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


def _source(spec: Mapping[str, Any]) -> str:
    source = str(spec.get("source") or "")
    if source.startswith("simulated"):
        return "Made from the simulated sky: these are not observations."
    if source.startswith(("http://", "https://")):
        return f"Made from the files at <{source}>."
    return "Made from the survey's public files."


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
