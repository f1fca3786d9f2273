"""Datasets at addresses: their small files are fetched once, their shards read by ranges where needed.

What is fetched: properties, partition_info.csv, the schema (of a shard, where the catalogue has no _common_metadata)
and, of our own, the ledger of shards; into a temporary folder, each bounded in size.
"""

from __future__ import annotations

import builtins
import hashlib
import re
import shutil
import tempfile
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa

from mmu.dataset import Dataset
from mmu.errors import FormatError, UsageError
from mmu.remote.addresses import Address, located
from mmu.remote.listing import RemoteFolder, leaf_of, shards_among
from mmu.remote.ranges import Place, RemoteFile, file_system, insist, parquet
from mmu.remote.releases import PROPERTIES, SMALL, catalogue_at, if_there, releases_at
from mmu.schema.plain import plain_schema
from mmu.sky.partition import Partition

_MOST = {"partition_info.csv": 1 << 26, "dataset/_common_metadata": 1 << 24, "_mmu/shards.parquet": 1 << 28}
"""The small files of a catalogue besides its properties, and the most bytes that each may have."""
_AT_ONCE = 16


class RemoteDataset(Dataset):
    """A dataset at an address.

    Attributes:
        at: the catalogue; root: the folder with the card and the other releases, which may be the same.
        named: the release was asked for, rather than found in that folder.
    """

    def __init__(self, at: Address, root: Address, named: bool = False) -> None:
        self.at, self.root, self.named = at, root, named or at == root
        folder = Path(tempfile.mkdtemp(prefix="mmu-catalogue-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        name = at.name if re.fullmatch(r"\w[\w.+-]*", at.name) else "catalogue"
        _mirror(at, folder / name)
        super().__init__(folder / name)
        if not self.properties.get("hats_nrows", "").isdecimal():
            raise FormatError(f"{at.shown} does not say how many rows it has (hats_nrows).")
        self._folder = RemoteFolder(at.url, self.properties.get("hats_npix_suffix") == "/")
        if self._folder.spread and not at.listable:
            raise UsageError(f"{at.shown} has folders of files for partitions, which a web server does not list.")

    @property
    def address(self) -> str:
        return self.at.shown

    @property
    def folder(self) -> RemoteFolder:
        return self._folder

    @cached_property
    def releases(self) -> list[str]:
        return [self.release] if self.at == self.root else releases_at(self.root)

    def sibling(self, release: str) -> RemoteDataset:
        return RemoteDataset(self.root.child(release), self.root)

    def _small(self, name: str) -> builtins.bytes | None:
        return if_there(f"{self.at.url}/{name}", _MOST["dataset/_common_metadata"])

    @cached_property
    def schema(self) -> pa.Schema:
        if (self.path / "dataset" / "_common_metadata").is_file():
            try:
                return super().schema
            except (pa.ArrowException, OSError) as problem:
                raise FormatError(f"{self.at.shown}/dataset/_common_metadata cannot be read ({problem}).") from problem
        if not self.partitions:
            raise FormatError(f"{self.at.shown} has neither rows nor a schema.")
        with parquet(self.folder.files(self.partitions[0])[0]) as file:
            return plain_schema(file.schema_arrow)

    def shard(self, partition: Partition) -> NoReturn:
        raise UsageError(f"{self.at.shown} is not on this machine; download it to read it.")

    def files(self, partition: Partition) -> tuple[Place, ...]:
        found = self.listing.get(partition, ())
        if not found:
            raise UsageError(f"{self.at.shown} is not whole: its partition {partition} is missing.")
        return found

    @cached_property
    def listing(self) -> dict[Partition, tuple[RemoteFile, ...]]:
        """The files of all partitions with their sizes: from the ledger, a listing, or asked for one by one."""
        if self.ledger is not None and not self.folder.spread:
            rows = self.ledger.select(["Norder", "Npix", "bytes", "xxh3"]).to_pylist()
            known = {Partition(row["Norder"], row["Npix"]): (row["bytes"], str(row["xxh3"])) for row in rows}
            named = {leaf: str(self.folder.files(leaf)[0]) for leaf in self.partitions}
            return {leaf: (RemoteFile(url, *known.get(leaf, ())),) for leaf, url in named.items()}
        found: dict[Partition, tuple[RemoteFile, ...]] = {}
        for file in sorted(shards_among(self.at.url, self._entries, self.at.commit), key=str):
            leaf = leaf_of(file.url)
            found[leaf] = (*found.get(leaf, ()), file)
        return found

    @cached_property
    def _entries(self) -> list[dict[str, Any]]:
        """What the server says of each shard."""
        system, top = file_system(self.at.url), f"{self.at.url}/dataset"
        if self.at.listable:
            listed: dict[str, Any] = insist(lambda: system.find(top, detail=True), top)
            return list(listed.values())
        urls = [str(self.folder.files(leaf)[0]) for leaf in self.partitions]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(lambda url: insist(lambda: system.info(url), url), urls))

    def _of_files(self) -> str:
        """The Hub's commit; elsewhere of sizes, what tells versions of files apart, and properties."""
        if self.at.commit:
            return self.at.commit
        digest = hashlib.blake2b(digest_size=16)
        for entry in sorted(self._entries, key=lambda entry: str(entry["name"])):
            version = [str(entry.get(key, "")) for key in ("ETag", "Content-MD5", "Last-Modified", "mtime", "created")]
            digest.update(" ".join([str(entry["name"]), str(entry["size"]), *version, "\n"]).encode())
        digest.update("\n".join(f"{k}={v}" for k, v in sorted(self.properties.items())).encode())
        return str(digest.hexdigest())


def open_remote(given: str, release: str | None = None) -> RemoteDataset:
    """The dataset at an address, which may name a release behind a colon.

    Raises:
        UsageError: there is none, or it may not be read.
        FormatError: what is there is no HATS catalogue of objects.
    """
    root, named = located(given)
    wanted = release or named
    dataset = RemoteDataset(catalogue_at(root, wanted), root, named=wanted is not None)
    try:
        _ = dataset.partitions
    except (ValueError, IndexError, UnicodeDecodeError) as problem:
        raise FormatError(f"{dataset.at.shown}/partition_info.csv is no list of partitions.") from problem
    return dataset


def _mirror(at: Address, folder: Path) -> None:
    """Fetch a catalogue's small files."""
    for name, most in {**dict.fromkeys(PROPERTIES, SMALL), **_MOST}.items():
        data = if_there(f"{at.url}/{name}", most)
        if data is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(_pairs_first(data) if name.endswith(".csv") else data)
    if not (folder / "partition_info.csv").is_file():
        raise UsageError(f"{at.shown}/partition_info.csv is missing, so its partitions are not known.")


def _pairs_first(data: bytes) -> bytes:
    """A list of partitions with order and pixel in front, as older catalogues do not have them."""
    head, *lines = data.decode("utf-8", "replace").split() or [""]
    names = head.split(",")
    if names[:2] == ["Norder", "Npix"] or not {"Norder", "Npix"} <= set(names):
        return data
    at = [names.index(name) for name in ("Norder", "Npix")]
    pairs = [",".join(line.split(",")[index] for index in at) for line in lines if line.count(",") >= max(at)]
    return "\n".join(["Norder,Npix", *pairs, ""]).encode()
