"""Token shards read back: what they are of, and their ids as arrays. Needs only NumPy and pyarrow.

tokens = Tokens(Path("tokens/legacysurvey"), codecs=Path("codecs"))
for batch in tokens.batches(1024): batch["tok_image"]          ids (rows, 576), ABSENT (-1) where there are none
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmu.errors import FormatError, UsageError
from training.modalities import MODALITIES, VERSION

ABOUT = b"mmu_tokens"
"""Key of the schema's metadata."""
ROW_GROUP = 8192
ABSENT = -1


def about(path: Path) -> dict[str, Any]:
    """What the tokens in a shard are of: `modalities` (version), `codecs` (sha256), `of` (key -> codec), `rows`.

    Raises:
        FormatError: it is no token shard.
    """
    try:
        found: dict[str, Any] = json.loads((pq.read_schema(path).metadata or {})[ABOUT])
    except (KeyError, OSError, ValueError, pa.ArrowException) as problem:
        raise FormatError(f"{path} is no shard of tokens ({problem}).") from problem
    return found


class Tokens:
    """A folder of token shards, read back.

    Args:
        codecs: folder of a codec -> its sha256, as a recipe has them; or the folder that they are in.

    Raises:
        UsageError: there are no tokens, or they are of other codecs or of a newer table of modalities.
    """

    def __init__(self, folder: Path, codecs: Mapping[str, str] | Path | None = None) -> None:
        self.folder = folder
        self.paths = sorted((folder / "dataset").glob("Norder=*/Dir=*/Npix=*.parquet"))
        if not self.paths:
            raise UsageError(f"{folder} holds no token shards; `mmu tokenize` makes them.")
        self.about = about(self.paths[0])
        if self.about["modalities"] > VERSION:
            raise UsageError(f"{folder} is of version {self.about['modalities']} of the modalities; this is {VERSION}.")
        for name, own in self.about["codecs"].items():
            other = _digest(codecs / name) if isinstance(codecs, Path) else (codecs or {}).get(name, own)
            if other != own:
                raise UsageError(
                    f"{folder} was made by another codec {name!r} (sha256 {own[:12]}) than the one asked for "
                    f"({other[:12]}); tokenize again with that, or train with the other."
                )
        self.keys = [key for key in MODALITIES if key in self.about["of"]]

    @property
    def views(self) -> int:
        """Rows of each object, one after another: it is turned and mirrored in all but the first."""
        return int(self.about.get("views", 1))

    def __len__(self) -> int:
        """Objects."""
        return sum(int(pq.read_metadata(path).num_rows) for path in self.paths) // self.views

    def batches(self, rows: int = ROW_GROUP, keys: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Objects in the order of the sky: key -> ids (rows, tokens), `ABSENT` where there are none; `object_id`.

        Of several views there is the first: the object as it is. Lists are filled with `ABSENT` up to the longest
        that the modality allows.
        """
        wanted = list(self.keys if keys is None else keys)
        for path in self.paths:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(rows * self.views, columns=["object_id", *wanted]):
                    yield {
                        "object_id": batch["object_id"].to_pylist()[:: self.views],
                        **{key: padded(key, batch[key])[:: self.views] for key in wanted},
                    }


def padded(key: str, column: pa.Array) -> NDArray[np.int16]:
    """A column of token shards as one array (rows, tokens), `ABSENT` where there is nothing."""
    row = MODALITIES[key]
    out = np.full((len(column), row.tokens), ABSENT, np.int16)
    there = np.asarray(column.is_valid())
    values = np.asarray(column.flatten())
    if row.kind == "grid":
        out[there] = values.reshape(-1, row.tokens)
        return out
    lengths = np.asarray(column.value_lengths().fill_null(0))
    out[np.arange(row.tokens) < lengths[:, None]] = values
    return out


def _digest(folder: Path) -> str:
    from training.codecs import digest

    return digest(folder)
