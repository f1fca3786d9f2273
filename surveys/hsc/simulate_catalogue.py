"""The simulated archive's database: what it measured, and its answers to the queries that are put to it."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmu.simulate import Sky
from mmu.simulate.files import records, table_hdu, write_fits
from mmu.simulate.noise import generator, uniform
from mmu.simulate.photometry import nanomaggies
from surveys.hsc.catalogue import COUNT
from surveys.hsc.columns import BANDS, CATALOGUE, SCALE
from surveys.hsc.simulate_field import (
    COUNTS,
    DEPTH,
    FIRST,
    PATCH_PIXELS,
    SEEING,
    SIDE,
    SKY_VARIANCE,
    TRACT,
    objects_of,
    patches,
    tract_wcs,
)

DUST = {"g": 3.240, "r": 2.276, "i": 1.633, "z": 1.263, "y": 1.075}
NANOJANSKY = 3631.0
"""Nanojanskys of a nanomaggy."""
ASTROMETRY = 0.002  # arcsec
EDGE = 25
_TRACTS = re.compile(r"tractSearch\(object_id, (\d+), (\d+)\)")
_BOX = re.compile(r"boxSearch\(coord, ([-\d.]+), ([-\d.]+), ([-\d.]+), ([-\d.]+)\)")

Table = dict[str, npt.NDArray[Any]]


@functools.lru_cache(maxsize=4)
def measured(sky: Sky, schema: str) -> Table:
    """Everything the survey detected, a column each, and `cut`: what no selection takes."""
    objects, x, y = objects_of(sky)
    seen = (x > EDGE) & (y > EDGE) & (x < SIDE - EDGE) & (y < SIDE - EDGE)
    objects, x, y = objects[seen], x[seen], y[seen]
    count, rng = len(objects), generator(sky.seed, "hsc catalogue", schema)
    star = objects["kind"] == "star"
    patch = [np.floor((place + first) / PATCH_PIXELS).astype(int) for place, first in ((x, FIRST[0]), (y, FIRST[1]))]
    columns: Table = {
        "object_id": (TRACT << 42) | ((patch[0] * 9 + patch[1]) << 32) | (objects["true_id"] & 0xFFFFFFFF),
        "ra": objects["ra"] + rng.normal(0, ASTROMETRY / 3600, count) / np.cos(np.deg2rad(objects["dec"])),
        "dec": objects["dec"] + rng.normal(0, ASTROMETRY / 3600, count),
        "tract": np.full(count, TRACT),
        "patch": 100 * patch[0] + patch[1],
        "true_id": objects["true_id"],
    }
    size = np.where(star, 0.0, np.nan_to_num(objects["r_half_arcsec"])) / 1.18
    for band in BANDS:
        psf = (SEEING[band] / 2.355) ** 2
        variance = SKY_VARIANCE[band] * DEPTH[schema]
        error = np.sqrt(variance * 4 * np.pi * (psf + size**2)) / SCALE / COUNTS
        flux = nanomaggies(objects[f"mag_{band}"]) + rng.normal(0, 1, count) * error
        flux = np.maximum(flux, 1e-3)
        columns |= {
            f"a_{band}": DUST[band] * objects["ebv"],
            f"{band}_extendedness_value": np.where(star, 0.0, 1.0),
            f"{band}_variance_value": np.full(count, variance),
            f"{band}_cmodel_mag": 22.5 - 2.5 * np.log10(flux),
            f"{band}_cmodel_magerr": 1.0857 * error / flux,
            f"{band}_cmodel_flux": flux * NANOJANSKY,
            f"{band}_cmodel_fluxerr": error * NANOJANSKY,
            f"{band}_sdssshape_psf_shape11": np.full(count, psf * 1.02),
            f"{band}_sdssshape_psf_shape22": np.full(count, psf / 1.02),
            f"{band}_sdssshape_psf_shape12": np.zeros(count),
            f"{band}_sdssshape_shape11": psf + size**2,
            f"{band}_sdssshape_shape22": psf + size**2,
            f"{band}_sdssshape_shape12": np.zeros(count),
        }
    columns["cut"] = uniform(objects["true_id"], sky.seed, "hsc flags") < 0.06  # flags, or too few exposures
    return columns


def rows_for(sky: Sky, sql: str) -> Table:
    """What a query of `select_sql` finds: its tracts and box, and the cuts of the schema it asks."""
    schema = _schema(sql)
    table = measured(sky, schema)
    first, last = map(int, (_TRACTS.search(sql) or _wrong(sql)).groups())
    keep = ~table["cut"] & (table["tract"] >= first) & (table["tract"] <= last)
    if found := _BOX.search(sql):
        ra1, ra2, dec1, dec2 = map(float, found.groups())
        keep &= ((table["ra"] - ra1) % 360.0 <= ra2 - ra1) & (table["dec"] >= dec1) & (table["dec"] <= dec2)
    if schema == "pdr3_wide":
        keep &= (table["z_cmodel_mag"] - table["a_z"] < 21) & (table["i_extendedness_value"] > 0.5)
    else:
        keep &= table["i_cmodel_flux"] > NANOJANSKY
    order = np.flatnonzero(keep)[np.argsort(table["object_id"][keep])]
    return {name: values[order] for name, values in table.items()}


def write_answer(query: str, sky: Sky, destination: Path) -> None:
    """Answer a query as the catalogue service does: a FITS table in which each column says where it is NULL."""
    sql = json.loads(query)["sql"]
    if ".patch_qa" in sql:
        dtype: list[Any] = [("skymap_id", "i8"), ("ra", "f8"), ("dec", "f8"), (COUNT, "i8")]
        table = _patches(sky)
    else:
        kinds = {"int32": "i4", "float32": "f4"}
        plain: list[Any] = [("object_id", "i8"), ("ra", "f8"), ("dec", "f8")]
        plain += [(column.name, kinds[column.dtype]) for column in CATALOGUE]
        table = rows_for(sky, sql)
        dtype = [part for name, kind in plain for part in ((name, kind), (f"{name}_isnull", "?"))]
        dtype.append((COUNT, "i8"))
        table = {name: table[name] for name, _ in plain}
        null = np.arange(len(table["ra"])) % 37 == 5
        for name in ("y_sdssshape_psf_shape11", "y_sdssshape_shape11"):
            table |= {name: np.where(null, 0, table[name]), f"{name}_isnull": null}
    size = len(table["ra"])
    write_fits(destination, [table_hdu(records(dtype, {**table, COUNT: size}, size))])


def _patches(sky: Sky) -> Table:
    """Number and centre of every patch with data."""
    found = patches(sky)
    middle = np.array([[sum(edges) / 2 for edges in patch.window] for patch in found]).reshape(-1, 2)
    ra, dec = tract_wcs().all_pix2world(middle, 0).T if found else np.zeros((2, 0))
    return {"skymap_id": np.array([TRACT * 10_000 + patch.code for patch in found], np.int64), "ra": ra, "dec": dec}


def _schema(sql: str) -> str:
    return next((name for name in DEPTH if f"FROM {name}." in sql), "") or _wrong(sql)


def _wrong(sql: str) -> Any:
    msg = f"the simulated catalogue cannot answer {sql[:80]!r}"
    raise FileNotFoundError(msg)
