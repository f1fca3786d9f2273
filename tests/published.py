"""Catalogues as the community publishes them on the Hub (`mmu_*`, v1.5): v1's files put through hats-import.

A collection folder with the catalogue in it. Images, spectra and light curves are structs of lists, whose planes are
marked as Array2D of `datasets` in the metadata of fields within the struct; ids are text or integers; rows go by
`_healpix_29`. Made here without hats-import, which needs Dask; what it keeps and drops was looked up in its output.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmu.sky import healpix
from mmu.sky.partition import Partition

SIDE, WAVES, VISITS = 6, 12, 4


def array2d(shape: tuple[int, int], dtype: pa.DataType) -> pa.Field:
    """The field of a plane, marked as `datasets` marks it."""
    marks = {
        "ARROW:extension:name": "datasets.features.features.Array2DExtensionType",
        "ARROW:extension:metadata": json.dumps([shape, str(dtype).replace("float", "float32")]),
    }
    return pa.field("item", pa.list_(pa.list_(dtype)), metadata=marks)


def lists(kind: Any) -> pa.DataType:
    return pa.list_(kind)


IMAGE = pa.struct(
    [
        pa.field("band", lists(pa.string())),
        pa.field("flux", lists(array2d((SIDE, SIDE), pa.float32()))),
        pa.field("ivar", lists(array2d((SIDE, SIDE), pa.float32()))),
        pa.field("mask", lists(array2d((SIDE, SIDE), pa.bool_()))),
        pa.field("psf_fwhm", lists(pa.float32())),
        pa.field("scale", lists(pa.float32())),
    ]
)
SPECTRUM = pa.struct(
    [
        *(pa.field(name, lists(pa.float32())) for name in ("flux", "ivar", "lsf_sigma", "lambda")),
        pa.field("mask", lists(pa.bool_())),
    ]
)
LIGHT_CURVE = pa.struct(
    [
        pa.field("band", lists(pa.string())),
        *(pa.field(name, lists(pa.float32())) for name in ("time", "flux", "flux_err")),
    ]
)
KINDS = {"image": IMAGE, "spectrum": SPECTRUM, "lightcurve": LIGHT_CURVE}


def values(kind: str, count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Rows of a modality; images have two bands or three, light curves differ in length."""
    random = np.random.default_rng(seed)
    if kind == "image":
        sizes = [2 + row % 2 for row in range(count)]
        planes = [random.normal(size=(size, SIDE, SIDE)).astype("f4") for size in sizes]
        return [
            {
                "band": ["g", "r", "z"][: len(flux)],
                "flux": flux.tolist(),
                "ivar": (flux**2).tolist(),
                "mask": (flux > 0).tolist(),
                "psf_fwhm": [1.0] * len(flux),
                "scale": [0.25] * len(flux),
            }
            for flux in planes
        ]
    if kind == "spectrum":
        numbers = {name: random.random((count, WAVES)).astype("f4") for name in ("flux", "ivar", "lsf_sigma", "lambda")}
        columns = numbers | {"mask": random.random((count, WAVES)) > 0.8}
        return [{name: column[row].tolist() for name, column in columns.items()} for row in range(count)]
    lengths = [VISITS + row % 3 for row in range(count)]
    return [
        {"band": ["g"] * n, **{name: random.random(n).astype("f4").tolist() for name in ("time", "flux", "flux_err")}}
        for n in lengths
    ]


def write(folder: Path, kind: str, ra: Any, dec: Any, *, id_name: str = "object_id", ids: Any = None) -> pa.Table:
    """A collection with one catalogue, of partitions of order 4; returns its rows, with the marks as metadata.

    Args:
        ids: of any type; texts by default.
    """
    sky, count = healpix.pixel(ra, dec), len(ra)
    named = pa.array([f"{kind}-{row}" for row in range(count)] if ids is None else ids)
    fields = [
        pa.field("_healpix_29", pa.int64()),
        pa.field(kind, KINDS[kind]),
        array2d((SIDE, SIDE), pa.float32()).with_name("psf"),
        pa.field("Z", pa.float32()),
        pa.field(id_name, named.type),
        pa.field("ra", pa.float64()),
        pa.field("dec", pa.float64()),
        pa.field("healpix", pa.int64()),
    ]
    columns = {
        "_healpix_29": sky,
        kind: pa.array(values(kind, count), KINDS[kind]),
        "psf": pa.array(np.arange(count * SIDE**2, dtype="f4").reshape(count, SIDE, SIDE).tolist(), fields[2].type),
        "Z": np.arange(count, dtype="f4"),
        id_name: named,
        "ra": ra,
        "dec": dec,
        "healpix": sky >> 50,
    }
    table = pa.table(columns).sort_by("_healpix_29")
    name = folder.name
    _parquet(folder / name, table, pa.schema(fields))
    facts = {
        "obs_collection": name,
        "dataproduct_type": "object",
        "hats_nrows": count,
        "hats_col_ra": "ra",
        "hats_col_dec": "dec",
        "hats_col_healpix": "_healpix_29",
        "hats_col_healpix_order": 29,
        "hats_npix_suffix": ".parquet",
        "hats_builder": "hats-import v0.7.3, hats v0.7.3",
        "hats_version": "v1.0",
        **({} if id_name == "object_id" else {"hats_cols_survey_id": id_name}),
    }
    text = "".join(f"{key}={value}\n" for key, value in facts.items())
    for file in ("hats.properties", "properties"):
        (folder / name / file).write_text(f"#HATS catalog\n{text}")
    (folder / "collection.properties").write_text(f"obs_collection={name}\nhats_primary_table_url={name}\n")
    (folder / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_dir: dataset\n---\n")
    return table


def _parquet(folder: Path, table: pa.Table, schema: pa.Schema) -> None:
    """The shards and the schema."""
    pixels = table["healpix"].to_numpy()
    lines = ["Norder,Npix"]
    for pixel in np.unique(pixels).tolist():
        path = folder / "dataset" / Partition(4, pixel).path
        path.parent.mkdir(parents=True, exist_ok=True)
        part = table.filter(pa.array(pixels == pixel)).combine_chunks()
        pq.write_table(pa.Table.from_arrays(part.columns, schema=schema), path, row_group_size=5)
        lines.append(f"4,{pixel}")
    (folder / "partition_info.csv").write_text("\n".join(lines) + "\n")
    pq.write_metadata(schema, folder / "dataset" / "_common_metadata")
