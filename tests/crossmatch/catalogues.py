"""Catalogues to match: random positions where matching is hard, as HATS catalogues of any partition tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from crossmatch.matcher import separation_arcsec, unit_vectors
from mmu.sky import healpix
from mmu.sky.partition import Partition

Floats = NDArray[np.float64]
Positions = tuple[Floats, Floats]


def scattered(centre: Positions, sigma_arcsec: float, count: int, random: np.random.Generator) -> Positions:
    """Positions round others, also at the poles: `count` of them, round centres taken in turn."""
    at = np.arange(count) % len(centre[0])
    points = unit_vectors(centre[0][at], centre[1][at])
    points += random.normal(0.0, np.radians(sigma_arcsec / 3600.0), points.shape)
    x, y, z = points.T
    return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arctan2(z, np.hypot(x, y)))


def vertices(order: int, count: int, random: np.random.Generator) -> Positions:
    """Corners of HEALPix pixels of an order: where up to four of them meet, and the poles and RA 0."""
    import healpy

    pixels = random.choice(12 * 4**order, min(count, 12 * 4**order), replace=False)
    corners = healpy.boundaries(1 << order, pixels, step=1, nest=True)
    ra, dec = healpy.vec2ang(np.moveaxis(corners, 1, 2).reshape(-1, 3), lonlat=True)
    return np.r_[ra, 0.0, 0.0, 0.0, 180.0], np.r_[dec, 90.0, -90.0, 0.0, 0.0]


def names(count: int, prefix: str) -> list[str]:
    return [f"{prefix}{index:07d}" for index in range(count)]


def table_of(positions: Positions, prefix: str, **more: object) -> pa.Table:
    """`_healpix_29`, `object_id`, `ra`, `dec` and more columns, in the order of the sky."""
    ra, dec = positions
    columns = {"_healpix_29": healpix.pixel(ra, dec), "object_id": names(len(ra), prefix), "ra": ra, "dec": dec, **more}
    return pa.table(columns).sort_by([("_healpix_29", "ascending"), ("object_id", "ascending")])


def write_hats(
    folder: Path, table: pa.Table, orders: Sequence[int], group: int = 50, sky: bool = True, **properties: str
) -> Path:
    """A catalogue whose partitions are of the given orders, one order a base pixel in turn."""
    keys = table["_healpix_29"].to_numpy()
    order = np.array(orders)[(keys >> 58) % len(orders)]
    pixel = keys >> (2 * (29 - order))
    lines = ["Norder,Npix"]
    stored = table if sky else table.drop_columns(["_healpix_29"])
    for one in sorted(set(zip(order.tolist(), pixel.tolist(), strict=True))):
        leaf = Partition(*one)
        path = folder / "dataset" / leaf.path
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            stored.filter(pa.array((order == leaf.order) & (pixel == leaf.pixel))), path, row_group_size=group
        )
        lines.append(f"{leaf.order},{leaf.pixel}")
    facts = {
        "obs_collection": folder.name,
        "dataproduct_type": "object",
        "hats_col_ra": "ra",
        "hats_col_dec": "dec",
        "hats_nrows": str(len(table)),
        **({"hats_col_healpix": "_healpix_29", "hats_col_healpix_order": "29"} if sky else {}),
        **properties,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset").mkdir(exist_ok=True)
    (folder / "hats.properties").write_text("".join(f"{key}={value}\n" for key, value in facts.items()))
    (folder / "partition_info.csv").write_text("\n".join(lines) + "\n")
    pq.write_metadata(stored.schema, folder / "dataset" / "_common_metadata")
    return folder


def separations(first: Positions, second: Positions) -> Floats:
    """All separations, arcsec, (N1, N2): what everything else is compared with."""
    a, b = unit_vectors(*first), unit_vectors(*second)
    left, right = np.repeat(a, len(b), axis=0), np.tile(b, (len(a), 1))
    return separation_arcsec(left, right).reshape(len(a), len(b))
