"""Decoded row groups on disk: uncompressed Arrow IPC files that are mapped into memory, so any row is a copy away.

Each file is one row group with the arrays, crop and dtype of one stream; its name is a digest of all that it depends
on, its metadata hold a checksum of every array. Written beside and renamed; a damaged one is made anew; the least
recently used go when there is too much.
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from crossmatch.stream.arrays import Array
from crossmatch.stream.decode import Block, too_large
from crossmatch.stream.reading import Group
from mmu.errors import UsageError
from mmu.remote.ranges import version_of

MOST_BYTES = 1 << 40
_OPEN = 16_384
_FIELDS = ("values", "offsets", "codes", "valid")


class Cache:
    """Row groups by what they are of.

    Args:
        folder: made if it is not there; several processes may share it.
        most_bytes: above which the least recently used are removed.
    """

    def __init__(self, folder: str | Path, most_bytes: int = MOST_BYTES) -> None:
        self.folder, self.most_bytes = Path(folder).expanduser().absolute(), most_bytes
        self._open: OrderedDict[str, dict[str, Block]] = OrderedDict()
        self._lock = threading.Lock()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise UsageError(f"cache={folder}: nothing can be written there ({problem.strerror}).") from problem
        self._bytes = sum(path.stat().st_size for path in self.folder.glob("*/*.arrow"))

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "most_bytes": self.most_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __call__(
        self, group: Group, arrays: tuple[Array, ...], id: str, make: Callable[[], dict[str, Block]]
    ) -> dict[str, Block]:
        """The blocks of a row group, from its file; made, and written there, if there is none."""
        name = _name(group, arrays, id)
        with self._lock:
            if name in self._open:
                self._open.move_to_end(name)
                return self._open[name]
        path = self.folder / name[:2] / f"{name}.arrow"
        found = _read(path)
        if found is None:
            known = {array.name: array for array in arrays}
            self._write(path, {key: _settled(block, known.get(key)) for key, block in make().items()})
            found = _read(path) or make()
        else:
            os.utime(path)
        with self._lock:
            self._open[name] = found
            while len(self._open) > _OPEN:
                self._open.popitem(last=False)
        return found

    def _write(self, path: Path, blocks: dict[str, Block]) -> None:
        path.parent.mkdir(exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
        try:
            with pa.OSFile(str(unfinished), "wb") as sink:
                batch = _as_batch(blocks)
                with pa.ipc.new_file(sink, batch.schema) as writer:
                    writer.write_batch(batch)
            size = unfinished.stat().st_size
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        with self._lock:
            self._bytes += size
            if self._bytes > self.most_bytes:
                self._evict(path)

    def _evict(self, newest: Path) -> None:
        """Remove the least recently used files, down to nine tenths of what is allowed."""
        files = sorted((p.stat().st_mtime_ns, p.stat().st_size, p) for p in self.folder.glob("*/*.arrow"))
        self._bytes = sum(size for _, size, _ in files)
        for _, size, path in files:
            if self._bytes <= 0.9 * self.most_bytes:
                break
            if path != newest:
                path.unlink(missing_ok=True)
                self._bytes -= size


def _name(group: Group, arrays: tuple[Array, ...], id: str) -> str:
    import xxhash

    facts = (str(group.place), str(version_of(group.place)), group.number, id, *map(repr, arrays))
    return xxhash.xxh3_128("\n".join(map(str, facts)).encode()).hexdigest()


def _settled(block: Block, array: Array | None) -> Block:
    """Contiguous, in the dtype that is delivered."""
    if block.text is not None or array is None:
        return block
    try:
        with np.errstate(over="raise", invalid="ignore"):
            values = np.ascontiguousarray(block.values, array.read_as)
    except FloatingPointError as problem:
        raise too_large(array, block.values) from problem
    return Block(values, block.offsets, block.codes, block.valid)


def _as_batch(blocks: dict[str, Block]) -> pa.RecordBatch:
    """One row: each array as one list, which Arrow keeps as it is in memory."""
    columns, facts = {}, {}
    for name, block in blocks.items():
        for field in _FIELDS:
            array = getattr(block, field)
            if array is not None:
                plain = np.ascontiguousarray(array).reshape(-1)
                columns[f"{name}:{field}"] = _one_row(pa.array(plain.view(np.uint8) if plain.dtype == bool else plain))
                facts[f"{name}:{field}"] = {"shape": array.shape, "dtype": str(array.dtype), "xxh3": _digest(plain)}
        if block.text is not None:
            columns[f"{name}:text"] = _one_row(block.text)
    schema = pa.schema(
        [(name, column.type) for name, column in columns.items()], {b"arrays": json.dumps(facts).encode()}
    )
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=schema)


def _one_row(values: pa.Array) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array([0, len(values)], pa.int64()), values)


def _digest(array: np.ndarray[Any, Any]) -> str:
    import xxhash

    return xxhash.xxh3_64(array.view(np.uint8).data).hexdigest()


def _read(path: Path) -> dict[str, Block] | None:
    """The blocks of a file; None if there is none, or it is not what was written."""
    try:
        with pa.memory_map(str(path)) as source:
            batch = pa.ipc.open_file(source).get_batch(0)
        facts = json.loads(batch.schema.metadata[b"arrays"])
        arrays = {name: _array(batch, name, told) for name, told in facts.items()}
    except (OSError, pa.ArrowException, ValueError, LookupError, TypeError):
        return None
    if any(array is None for array in arrays.values()):
        return None
    blocks = {}
    for name in dict.fromkeys(key.rpartition(":")[0] for key in batch.schema.names):
        text = batch.column(f"{name}:text").values if f"{name}:text" in batch.schema.names else None
        parts = {field: arrays[f"{name}:{field}"] for field in _FIELDS if f"{name}:{field}" in arrays}
        blocks[name] = Block(**parts, text=text)  # type: ignore[arg-type]
    return blocks


def _array(batch: pa.RecordBatch, name: str, told: dict[str, Any]) -> np.ndarray[Any, Any] | None:
    plain = batch.column(name).values.to_numpy()
    if _digest(plain) != told["xxh3"]:
        return None
    return np.asarray(plain.view(np.dtype(told["dtype"])).reshape(told["shape"]))
