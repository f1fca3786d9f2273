"""The files that make a folder of shards a HATS catalogue, and the collection that joins it with its margin.

    <release>/             hats.properties, partition_info.csv, skymap.fits, point_map.fits, dataset/_common_metadata
    <release>_margin/      see `margin`
    <release>_collection/  collection.properties naming both by relative path

No file holds a time: the same shards give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmu.schema.arrow import arrow_schema
from mmu.schema.column import HEALPIX
from mmu.shards.margin import THRESHOLD_ARCSEC, write_margin
from mmu.shards.parquet import Shard, replacing, write_text
from mmu.sky.healpix import MAX_ORDER
from mmu.sky.partition import Partition
from mmu.survey import Release, Survey

SKYMAP_ORDER = 8


def write_catalogue(
    root: Path, survey: Survey, release: Release, shards: Sequence[Shard], healpix_29: np.ndarray[Any, Any]
) -> None:
    """Write the catalogue files of a release whose shards are in place, its margin and its collection.

    Args:
        root: the survey's folder, `<out>/<survey>`.
        healpix_29: `_healpix_29` of every row written, in any order.
    """
    folder = root / release.name
    schema = arrow_schema(release.schema)
    partitions = sorted((shard.partition for shard in shards), key=lambda partition: partition.span)
    about = {**_about(survey, release), "hats_cols_default": " ".join(release.schema.scalars)}
    write_objects(folder, about, schema, shards, skymap(healpix_29))
    margin = root / f"{release.name}_margin"
    columns = [HEALPIX.name, *release.schema.scalars]
    margins, rows = write_margin(folder, margin, partitions, pa.schema([schema.field(name) for name in columns]))
    facts = {
        "obs_collection": margin.name,
        "dataproduct_type": "margin",
        **_about(survey, release),
        **_layout(rows),
        "hats_primary_table_url": f"../{release.name}",
        "hats_margin_threshold": f"{THRESHOLD_ARCSEC:.1f}",
    }
    _write_tables(margin, facts, margins, pa.schema([schema.field(name) for name in columns]))
    _write_collection(root, survey, release)


def skymap(healpix_29: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Order-8 pixels that hold rows, and how many."""
    pixels = np.asarray(healpix_29, dtype=np.int64) >> (2 * (MAX_ORDER - SKYMAP_ORDER))
    return np.unique(pixels, return_counts=True)


def write_objects(
    folder: Path,
    about: Mapping[str, object],
    schema: pa.Schema,
    shards: Sequence[Shard],
    counts: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
) -> None:
    """Make a folder whose shards are in place a HATS catalogue of objects.

    Args:
        about: further properties: title, epoch, ...
        counts: order-8 pixels that hold rows, and how many; see `skymap`.
    """
    facts = {
        "obs_collection": folder.name,
        "dataproduct_type": "object",
        **about,
        **_layout(sum(shard.rows for shard in shards)),
        "hats_skymap_order": SKYMAP_ORDER,
        "hats_max_rows": max((shard.rows for shard in shards), default=0),
        "hats_max_bytes": max((shard.bytes for shard in shards), default=0),
        "hats_estsize": sum(shard.bytes for shard in shards) >> 10,
        "moc_sky_fraction": f"{len(counts[0]) / (12 * 4**SKYMAP_ORDER):.10f}",
    }
    _write_tables(folder, facts, sorted((shard.partition for shard in shards), key=lambda leaf: leaf.span), schema)
    for name in ("skymap.fits", "point_map.fits"):
        _write_skymap(folder / name, *counts)


def _about(survey: Survey, release: Release) -> dict[str, object]:
    return {
        "obs_title": f"{survey.title}: {release.title}",
        "obs_copyright": survey.licence,
        "prov_progenitor": survey.homepage,
        "hats_coordinate_epoch": f"J{release.epoch}",
    }


def _layout(rows: int) -> dict[str, object]:
    return {
        "hats_builder": "multimodal-universe",
        "hats_version": "v1.0",
        "hats_nrows": rows,
        "hats_col_ra": "ra",
        "hats_col_dec": "dec",
        "hats_col_healpix": HEALPIX.name,
        "hats_col_healpix_order": MAX_ORDER,
        "hats_npix_suffix": ".parquet",
        "hats_frame": "icrs",
    }


def _write_collection(root: Path, survey: Survey, release: Release) -> None:
    margin = f"../{release.name}_margin"
    facts = {
        "obs_collection": f"{release.name}_collection",
        "obs_title": f"{survey.title}: {release.title}",
        "hats_primary_table_url": f"../{release.name}",
        "all_margins": margin,
        "default_margin": margin,
        "hats_cols_default": " ".join(release.schema.scalars),
    }
    write_text(root / f"{release.name}_collection" / "collection.properties", _properties(facts))


def _write_tables(
    folder: Path, facts: Mapping[str, object], partitions: Sequence[Partition], schema: pa.Schema
) -> None:
    lines = [f"{partition.order},{partition.pixel}" for partition in partitions]
    write_text(folder / "partition_info.csv", "\n".join(["Norder,Npix", *lines]) + "\n")
    with replacing(folder / "dataset" / "_common_metadata") as unfinished:
        pq.write_metadata(schema, unfinished)
    write_text(folder / "hats.properties", _properties(facts))  # last: with it the folder is a catalogue


def _properties(facts: Mapping[str, object]) -> str:
    """Java properties, one line a key."""
    lines = [f"{key}={' '.join(str(value).split())}".replace("\\", "\\\\") for key, value in facts.items()]
    return "\n".join(lines) + "\n"


def _write_skymap(path: Path, pixels: np.ndarray[Any, Any], counts: np.ndarray[Any, Any]) -> None:
    """Objects per pixel as an explicit HEALPix map in FITS, as hats writes it."""
    from astropy.io import fits

    columns = [
        fits.Column("PIXEL", "K", array=pixels.astype(np.int64)),
        fits.Column("VALUE", "K", array=counts.astype(np.int64)),
    ]
    table = fits.BinTableHDU.from_columns(columns)
    table.header.update(
        {
            "PIXTYPE": "HEALPIX",
            "INDXSCHM": "EXPLICIT",
            "ORDERING": "NESTED",
            "COORDSYS": "C",
            "NSIDE": 1 << SKYMAP_ORDER,
            "OBS_NPIX": len(pixels),
        }
    )
    with replacing(path) as unfinished:
        fits.HDUList([fits.PrimaryHDU(), table]).writeto(unfinished, overwrite=True)
