"""The shards in the folder of a catalogue at an address: by their names, or as its file system lists them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mmu.remote.ranges import RemoteFile, file_system, insist
from mmu.sky.partition import Partition

_SHARD = re.compile(r"/Norder=(\d{1,2})/Dir=\d+/Npix=(\d{1,19})(?:\.parquet|/[^/]+\.parquet)$", re.ASCII)


@dataclass(frozen=True)
class RemoteFolder:
    """A catalogue's folder; small enough to be sent to a worker.

    Attributes:
        spread: True where a partition is a folder of files.
    """

    url: str
    spread: bool = False

    def files(self, leaf: Partition) -> tuple[RemoteFile, ...]:
        """The files of a partition, of sizes not known yet."""
        url = f"{self.url}/dataset/{leaf.path}"
        if not self.spread:
            return (RemoteFile(url),)
        folder, system = url.removesuffix(".parquet"), file_system(url)
        found = insist(lambda: system.ls(folder, detail=True), folder)
        return tuple(sorted(shards_among(self.url, found), key=str))


def shards_among(url: str, entries: Iterable[dict[str, Any]], commit: str = "") -> Iterator[RemoteFile]:
    """The shards among what a file system lists, which names them in its own way, under the catalogue's address."""
    for entry in entries:
        name = str(entry["name"])
        if entry.get("type") == "file" and _SHARD.search(name) and "/dataset/" in name:
            version = commit or str(entry.get("ETag", ""))
            yield RemoteFile(f"{url}/dataset/{name.rpartition('/dataset/')[2]}", entry["size"], version)


def leaf_of(url: str) -> Partition:
    """The partition that a shard of that name holds."""
    found = _SHARD.search(url)
    assert found is not None
    return Partition(int(found[1]), int(found[2]))
