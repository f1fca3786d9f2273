"""A small survey with one column of every kind, and a dataset of it on disk, for the tests of shards and readers."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mmu.build.ledger import _shard_table
from mmu.schema import IDENTITY, MODALITIES, Column, Schema, arrow_schema, list_of, picture, scalars, table_of
from mmu.shards.card import write_card
from mmu.shards.catalogue import write_catalogue
from mmu.shards.parquet import Shard, checksum, rows_per_group, write_shard
from mmu.sky.healpix import pixel
from mmu.sky.partition import locate, partition_tree
from mmu.survey import Hdf5Column, Release, Survey

BANDS = ("g", "r", "i", "z")
SIDE, WAVES, LISTED = 6, 40, 5

SCHEMA = Schema(
    (
        *IDENTITY,
        MODALITIES["image"].column(axes={"band": None, "y": SIDE, "x": SIDE}, flux="nanomaggy", zero_point=22.5),
        MODALITIES["spectrum"].column(
            axes={"wavelength": WAVES}, flux="1e-17 erg/s/cm^2/Angstrom", with_=("maskbits",)
        ),
        picture("rgb", (SIDE, SIDE, 3), "colour picture"),
        list_of("catalog", (Column("FLUX_G", "float32", "nanomaggy"), Column("TYPE", "string")), "neighbours"),
        Column("coeff", "float32", shape=(4,)),
        *scalars("EBV", unit="mag", meaning="extinction | towards the object"),
        *scalars("redshift", "float64", nullable=True),
        *scalars("TARGETID", "int64"),
        *scalars("ZWARN", "int64", nullable=True),
        *scalars("is_star", "bool"),
        *scalars("TYPE", "string"),
    )
)

HDF5 = (
    Hdf5Column("object_id", "TARGETID", "i8"),
    Hdf5Column("ra", "ra", "f8"),
    Hdf5Column("dec", "dec", "f8"),
    Hdf5Column("image_band", "image.band", "S5", length=len(BANDS)),
    Hdf5Column("image_array", "image.flux", "f4", length=len(BANDS)),
    Hdf5Column("image_mask", "image.mask", "?", index=0),
    Hdf5Column("image_rgb", "rgb", "u1"),
    Hdf5Column("spectrum_flux", "spectrum.flux", "f4"),
    Hdf5Column("spectrum_mask", "spectrum.mask", "?"),
    Hdf5Column("catalog_FLUX_G", "catalog.FLUX_G", "f4", length=LISTED),
    Hdf5Column("ZWARN", "ZWARN", "i8", fill=-1),
    Hdf5Column("TYPE", "TYPE", "S3"),
)

RELEASE = Release(
    "dr1_south",
    "data release 1",
    SCHEMA,
    {},
    ("brighter than 21 mag", "not a star"),
    2016.0,
    10,
    10,
    "The south.",
    HDF5,
)


class Sample(Survey):
    """A survey whose words stand here rather than in a package."""

    def text(self, name: str) -> str:
        return {"card.md": "Words about the sample.", "cite.bib": "@article{sample, title={A sample}}"}[name]


SURVEY = Sample(
    "sample",
    "Sample survey",
    "",
    "https://example.org",
    "https://example.org/data",
    "CC BY 4.0",
    "cc-by-4.0",
    (RELEASE, replace(RELEASE, name="dr2_north", title="data release 2")),
    ("ids are text",),
)


def positions(count: int, seed: int = 1) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Crowded positions around a vertex of order-4 pixels, so that partitions have close neighbours."""
    rng = np.random.default_rng(seed)
    return (45.0 + rng.normal(0, 0.02, count)) % 360, rng.normal(0, 0.02, count)


def values(count: int, seed: int = 1) -> dict[str, Any]:
    """Columns of `count` objects; bands differ in number, one band is missing for every third object."""
    rng = np.random.default_rng(seed)
    ra, dec = positions(count, seed)
    bands = [list(BANDS[: 3 + (i % 3 > 0)]) for i in range(count)]
    planes = [rng.normal(size=(len(b), SIDE, SIDE)).astype("f4") for b in bands]
    listed = rng.integers(0, LISTED + 1, count)
    return {
        "object_id": [f"obj-{seed}-{i:05d}" for i in range(count)],
        "ra": ra,
        "dec": dec,
        "image": {
            "band": bands,
            "flux": [plane.tolist() for plane in planes],
            "ivar": [(plane**2).tolist() for plane in planes],
            "mask": [(plane > 0).tolist() for plane in planes],
            "psf_fwhm": [[1.0] * len(b) for b in bands],
            "scale": [[0.25] * len(b) for b in bands],
        },
        "spectrum": {
            **{name: rng.normal(size=(count, WAVES)).astype("f4") for name in ("flux", "ivar", "lsf_sigma", "lambda")},
            "mask": rng.random((count, WAVES)) > 0.5,
            "maskbits": rng.integers(0, 8, (count, WAVES), dtype="i4"),
        },
        "rgb": [{"bytes": png(rng.integers(0, 255, (SIDE, SIDE, 3), dtype="u1")), "path": None} for _ in range(count)],
        "catalog": {"FLUX_G": [rng.random(n).tolist() for n in listed], "TYPE": [["PSF"] * int(n) for n in listed]},
        "coeff": rng.normal(size=(count, 4)).astype("f4"),
        "EBV": rng.random(count).astype("f4"),
        "redshift": [None if i % 4 == 0 else i / 10 for i in range(count)],
        "TARGETID": np.arange(count) + 2**60 + 1,
        "ZWARN": [None if i % 5 == 0 else 2**60 + i for i in range(count)],
        "is_star": rng.random(count) > 0.5,
        "TYPE": ["PSF" if i % 2 else "" for i in range(count)],
    }


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def records(count: int, seed: int = 1) -> pa.Table:
    """The records with `_healpix_29`, in no order."""
    table = table_of(SCHEMA, values(count, seed))
    keys = pixel(table["ra"].to_numpy(), table["dec"].to_numpy())
    return pa.Table.from_arrays([pa.array(keys), *table.columns], schema=arrow_schema(SCHEMA))


def write(root: Path, count: int, release: Release = RELEASE, rows_each: int = 40, group: int = 16) -> pa.Table:
    """A complete dataset of `count` objects below `root`; returns its records in no order."""
    table = records(count)
    keys = table["_healpix_29"].to_numpy()
    leaves = partition_tree(keys, 1, rows_each)
    where, shards, schema = locate(keys, leaves), [], arrow_schema(SCHEMA)
    for number, leaf in enumerate(leaves):
        path = root / release.name / "dataset" / leaf.path
        piece = table.take(pa.array(np.flatnonzero(where == number)))
        shards.append(Shard(leaf, *write_shard(path, [piece], schema, rows_per_group(schema, 1, group)), len(piece)))
    write_catalogue(root, SURVEY, release, shards, keys)
    ledger = root / release.name / "_mmu" / "build.json"
    ledger.parent.mkdir(exist_ok=True)
    pq.write_table(_shard_table(shards), ledger.with_name("shards.parquet"))
    counts = {
        "read": count + 3,
        "cut": {"faint": 2, "bright": 0},
        "selected": count + 1,
        "written": count,
        "excluded": {"no coverage": 1},
        "failed": {},
    }
    spec = {"region": "cone:45,0,1", "max_objects": None, "source": "simulated:seed=1"}
    digests = {"shards.parquet": checksum(ledger.with_name("shards.parquet"))}
    facts = {"survey": SURVEY.name, "release": release.name, "spec": spec, "counts": counts, "ledger": digests}
    ledger.write_text(json.dumps({**facts, "bytes": sum(s.bytes for s in shards), "shards": len(shards)}))
    write_card(root, SURVEY)
    return table
