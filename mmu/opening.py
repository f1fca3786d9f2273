"""From what a user gives, a path, a name or an address, to the dataset that is there."""

from __future__ import annotations

import os
from pathlib import Path

from mmu.dataset import Dataset
from mmu.errors import UsageError, unknown
from mmu.properties import is_release, properties_in
from mmu.remote.addresses import is_remote


def open(path: str | Path, release: str | None = None) -> Dataset:
    """Open a dataset.

    Args:
        path: the survey's folder, a release's folder, its collection, or `NAME[:release]` under `MMU_DATA`; on the Hub,
            `ORG/NAME[:release]` or `hf://datasets/ORG/NAME[@REVISION]`; elsewhere `https://HOST/FOLDER`, `s3://`.
        release: which release of a survey's folder; the card's default one if not given.

    Raises:
        UsageError: there is no dataset at `path`, no such release in it, or it may not be read.
        FormatError: what is at an address is no HATS catalogue of objects.
    """
    if isinstance(path, str) and is_remote(path):
        from mmu.remote.dataset import open_remote

        return open_remote(path, release)
    folder = Path(path).expanduser().absolute()
    folder = folder if folder.name not in ("", "..") else folder.resolve()
    if not folder.is_dir():
        folder, release = in_data(str(path), release)
    collection = folder / "collection.properties"
    if collection.is_file():
        folder = (folder / properties_in(collection)["hats_primary_table_url"]).resolve()
    if is_release(folder):
        if release not in (None, folder.name):
            msg = f"{folder} is not the release {release!r}; give the survey's folder, {folder.parent}."
            raise UsageError(msg)
        return Dataset(folder)
    releases = {child.name: child for child in sorted(folder.iterdir()) if is_release(child)}
    if not releases:
        from mmu.v1 import is_v1, open_v1

        if is_v1(folder):
            return open_v1(folder, release)
        msg = f"{folder} holds no dataset: a survey's folder, one of its releases or a collection was expected."
        raise UsageError(msg)
    name = release or _default_release(folder, list(releases))
    if name not in releases:
        raise unknown(f"release in {folder}", name, releases)
    return Dataset(releases[name])


def in_data(text: str, release: str | None) -> tuple[Path, str | None]:
    """The folder of `NAME[:release]` under MMU_DATA, and the release, if one is named.

    Raises:
        UsageError: there is none.
    """
    name, _, named = text.partition(":")
    data = os.environ.get("MMU_DATA")
    folder = Path(data or "", name)
    if data is None or not name or not folder.is_dir():
        where = f"nor is {name!r} in MMU_DATA={data}" if data else "and MMU_DATA is not set"
        msg = f"There is no dataset {text!r}: it is no folder, {where}; give a path, or NAME[:release]."
        raise UsageError(msg)
    return folder, named or release


def _default_release(folder: Path, releases: list[str]) -> str:
    """The configuration the card marks as default, else the first by name."""
    card = folder / "README.md"
    head = card.read_text(encoding="utf-8").split("---")[1:2] if card.is_file() else []
    if head:
        import yaml

        configs = (yaml.safe_load(head[0]) or {}).get("configs", [])
        for config in configs:
            if config.get("default") and config.get("config_name") in releases:
                return str(config["config_name"])
    return releases[0]
