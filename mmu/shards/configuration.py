"""What a folder offers to load, by name, and the head of its card that tells `datasets` and the Hub so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from mmu.schema.column import Schema
from mmu.schema.features import features_yaml

_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B")
_TASKS = dict.fromkeys(("image", "cube", "picture"), "image-feature-extraction")
_PARTS = ("list", "picture", "map")  # of a record, not kinds of observation: no tags of their own


@dataclass(frozen=True)
class Configuration:
    """One configuration (Hugging Face's word) of a folder: the release of a survey, or the result of a match.

    Attributes:
        title: what it is, in a sentence or a name.
        schema: its columns, without `_healpix_29`.
        shards, bytes: its Parquet files, and their size on disk.
        bytes_per_row: of a row, uncompressed, roughly.
    """

    name: str
    title: str
    schema: Schema
    rows: int
    shards: int
    bytes: int
    bytes_per_row: int

    @property
    def glob(self) -> str:
        """Its shards, relative to the card."""
        return f"{self.name}/dataset/Norder=*/Dir=*/Npix=*.parquet"


@dataclass(frozen=True)
class Licence:
    """A licence as the Hub wants it: its id; for terms of one's own (`other`) also a name and a link."""

    id: str
    name: str = ""
    link: str = ""

    @property
    def yaml(self) -> dict[str, str]:
        if self.id != "other":
            return {"license": self.id}
        return {"license": self.id, "license_name": self.name} | ({"license_link": self.link} if self.link else {})


def front_matter(
    title: str,
    licence: Licence,
    configurations: Sequence[Configuration],
    tags: Sequence[str],
    tasks: Sequence[str] = (),
) -> str:
    """The YAML of a card, dashes included. Those without rows have no files, hence no configuration beside others.

    Args:
        tags: those besides the modalities.
        tasks: what it is for, in the Hub's words; those that suit the modalities if empty.
    """
    filled = [one for one in configurations if one.rows] or list(configurations)
    kinds = sorted({kind for one in configurations for kind in one.schema.modalities})
    head = {
        "pretty_name": title,
        **licence.yaml,
        "task_categories": list(tasks) or _tasks(kinds),
        "size_categories": [size_category(sum(one.rows for one in configurations))],
        "tags": ["astronomy", "multimodal-universe", "hats", *tags, *(kind for kind in kinds if kind not in _PARTS)],
        "configs": [_config(one, default=one is filled[0]) for one in filled],
        "dataset_info": [_info(one) for one in filled],
    }
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=120)}---"


def size_category(rows: int) -> str:
    """The Hub's word for a number of rows."""
    return _SIZES[min(max(len(str(rows)) - 3, 0), len(_SIZES) - 1)]


def _tasks(kinds: Sequence[str]) -> list[str]:
    """What data of these modalities are good for: learning features, or predicting numbers where there is no more."""
    found = dict.fromkeys(_TASKS.get(kind, "feature-extraction") for kind in kinds if kind != "list")
    return sorted(found) or ["tabular-regression"]


def _config(one: Configuration, *, default: bool) -> dict[str, Any]:
    config: dict[str, Any] = {"config_name": one.name, "data_files": [{"split": "train", "path": one.glob}]}
    return {**config, "default": True} if default else config


def _info(one: Configuration) -> Mapping[str, Any]:
    size = one.rows * one.bytes_per_row
    return {
        "config_name": one.name,
        "features": features_yaml(one.schema),
        "splits": [{"name": "train", "num_bytes": size, "num_examples": one.rows}],
        "download_size": one.bytes,
        "dataset_size": size,
    }
