"""Token shards of objects that do not exist, whose ids say a little about each other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.modalities import MODALITIES, VERSION
from training.token_shards import ABOUT

KEYS = ("tok_z", "tok_ebv", "tok_xp_bp", "tok_segmap")


def token_folder(folder: Path, objects: int = 40, keys: tuple[str, ...] = KEYS, codec: str = "0" * 64) -> Path:
    """A folder as `mmu tokenize` writes them; some objects lack the last modality."""
    random = np.random.default_rng(objects)
    value = random.integers(7, size=objects)
    columns = {
        "object_id": pa.array([f"{folder.name}-{number}" for number in range(objects)]),
        "_healpix_29": pa.array(np.sort(random.integers(12 * 4**29, size=objects))),
    }
    for key in keys:
        row = MODALITIES[key]
        ids = (value[:, None] + np.arange(row.tokens) // 20) % row.vocabulary
        absent = pa.array((np.arange(objects) % 5 == 0) & (key == keys[-1]))
        kind = pa.list_(pa.field("element", pa.int16(), nullable=False), row.tokens)
        columns[key] = pa.FixedSizeListArray.from_arrays(pa.array(ids.reshape(-1), pa.int16()), type=kind, mask=absent)
    about = {
        "modalities": VERSION,
        "codecs": {MODALITIES[key].codec: codec for key in keys},
        "of": {key: MODALITIES[key].codec for key in keys},
        "rows": {folder.name: "drawn"},
    }
    path = folder / "dataset" / "Norder=0" / "Dir=0" / "Npix=0.parquet"
    path.parent.mkdir(parents=True)
    table = pa.table(columns).replace_schema_metadata({ABOUT: json.dumps(about).encode()})
    pq.write_table(table, path, row_group_size=16)
    return folder
