"""Small datasets with what codecs are made for: images, spectra, listed sources, maps and numbers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from mmu.schema import IDENTITY, MODALITIES, Column, Schema, arrow_schema, list_of, picture, scalars, table_of
from mmu.schema.arrow import nested_list
from mmu.shards.catalogue import skymap, write_objects
from mmu.shards.parquet import Shard, write_shard
from mmu.sky import healpix
from mmu.sky.partition import Partition

BANDS = ("des-g", "des-r", "des-z")
SIDE, STAMP, WAVES = 96, 160, 600
ARCSEC = 1 / 3600


def legacysurvey(folder: Path, count: int = 24, seed: int = 1) -> Path:
    """Round sources of different brightness in three bands, every fifth in two; some of what lies about them."""
    random = np.random.default_rng(seed)
    ra, dec = positions(count)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    bands = [list(BANDS if number % 5 else BANDS[:2]) for number in range(count)]
    shapes = np.exp(-np.hypot(x, y)[None] / random.uniform(2, 9, count)[:, None, None]).astype("f4")
    flux = [
        np.stack([shapes[n] * random.uniform(0.1, 3) + random.normal(0, 0.02, (SIDE, SIDE)) for _ in own]).astype("f4")
        for n, own in enumerate(bands)
    ]
    listed = random.integers(1, 15, count)
    near = {
        name: [random.uniform(*between, n).astype("f4") for n in listed]
        for name, between in {
            "X": (0, 159),
            "Y": (0, 159),
            "SHAPE_R": (0, 3),
            "SHAPE_E1": (-1, 1),
            "SHAPE_E2": (-1, 1),
        }.items()
    }
    schema = Schema(
        (
            *IDENTITY,
            MODALITIES["image"].column(axes={"band": None, "y": SIDE, "x": SIDE}, flux="nanomaggy", zero_point=22.5),
            picture("object_mask", (STAMP, STAMP), "type codes"),
            list_of("catalog", tuple(Column(name) for name in near), "neighbours"),
            *scalars("FLUX_G EBV"),
        )
    )
    values = {
        "image": {
            "band": bands,
            "flux": ragged(flux),
            "ivar": ragged([np.full_like(planes, 2500.0) for planes in flux]),
            "mask": ragged([np.ones(planes.shape, bool) for planes in flux]),
            "psf_fwhm": [[1.2] * len(own) for own in bands],
            "scale": [[0.262] * len(own) for own in bands],
        },
        "object_mask": [{"bytes": png(random.integers(0, 7, (STAMP, STAMP), "u1")), "path": None} for _ in bands],
        "catalog": near,
        "FLUX_G": random.lognormal(1, 1, count).astype("f4"),
        "EBV": np.where(np.arange(count) % 7 == 0, np.nan, random.random(count)).astype("f4"),
    }
    return dataset(folder, schema, values, ra, dec)


def desi(folder: Path, count: int = 24, step: int = 2, seed: int = 2) -> Path:
    """Spectra and redshifts of every `step`-th of the same objects."""
    random = np.random.default_rng(seed)
    ra, dec = positions(count)
    ra, dec = ra[::step] + 0.1 * ARCSEC, dec[::step]
    schema = Schema(
        (
            *IDENTITY,
            MODALITIES["spectrum"].column(axes={"wavelength": WAVES}, flux="1e-17 erg"),
            *scalars("Z", "float64"),
        )
    )
    number = len(ra)
    values = {
        "spectrum": {
            "flux": (random.uniform(1, 20, (number, 1)) + random.normal(0, 1, (number, WAVES))).astype("f4"),
            "ivar": np.ones((number, WAVES), "f4"),
            "lsf_sigma": np.ones((number, WAVES), "f4"),
            "lambda": np.tile(np.linspace(3600, 9800, WAVES), (number, 1)).astype("f4"),
            "mask": random.random((number, WAVES)) < 0.05,
        },
        "Z": random.uniform(0, 0.8, number),
    }
    return dataset(folder, schema, values, ra, dec)


def sdss(folder: Path, lengths: Sequence[int], seed: int = 3) -> Path:
    """Spectra of different lengths, as one of SDSS's releases."""
    random = np.random.default_rng(seed)
    column = MODALITIES["spectrum"].column(axes={"wavelength": None}, flux="1e-17 erg")
    values = {
        "flux": [random.normal(random.uniform(1, 20), 1, length) for length in lengths],
        "ivar": [np.ones(length) for length in lengths],
        "lsf_sigma": [np.ones(length) for length in lengths],
        "lambda": [np.linspace(3800, 9200, length) for length in lengths],
        "mask": [random.random(length) < 0.05 for length in lengths],
    }
    return dataset(folder, Schema((*IDENTITY, column)), {"spectrum": values}, *positions(len(lengths)))


def jwst(folder: Path, shapes: Sequence[tuple[Sequence[str], int]], seed: int = 4) -> Path:
    """Images of different bands and sizes, as JWST's fields have them."""
    random = np.random.default_rng(seed)
    axes = {"band": None, "y": None, "x": None}
    flux = [random.normal(0, 0.02, (len(bands), side, side)) for bands, side in shapes]
    values = {
        "band": [list(bands) for bands, _ in shapes],
        "flux": [planes.tolist() for planes in flux],
        "ivar": [np.full_like(planes, 2500.0).tolist() for planes in flux],
        "mask": [np.ones(planes.shape, bool).tolist() for planes in flux],
        "psf_fwhm": [[0.1] * len(bands) for bands, _ in shapes],
        "scale": [[0.03] * len(bands) for bands, _ in shapes],
    }
    schema = Schema((*IDENTITY, MODALITIES["image"].column(axes=axes, flux="10 nJy")))
    return dataset(folder, schema, {"image": values}, *positions(len(shapes)))


LIGHT = ("ztf-g", "ztf-r")


def curves(count: int, seed: int, points: int = 60) -> dict[str, Any]:
    """Sinusoids, and every second a supernova, at random times in two bands, and `truth` without noise.

    Arguments of the codec's `encode` but for `bands`, which are `LIGHT`; (count, points) each.
    """
    random = np.random.default_rng(seed)
    each: dict[str, Any] = {"size": (count, 1)}
    time, band = random.uniform(0, 100, (count, points)), random.integers(0, 2, (count, points))
    scale, colour = random.lognormal(3, 1, **each), random.uniform(0.4, 1.0, **each)
    wave = np.sin(2 * np.pi * (time / random.uniform(25, 80, **each) + random.random(**each)))
    peak, rise, fall = random.uniform(20, 60, **each), random.uniform(3, 8, **each), random.uniform(10, 25, **each)
    after = np.clip(time - peak, -50, 100)
    nova = 2 * np.exp(-np.where(band == 0, 1, 0.6) * after / fall) / (1 + np.exp(-after / rise))
    shape = np.where(np.arange(count)[:, None] % 2, nova, random.uniform(2, 6, **each) + wave)
    truth = scale * shape * np.where(band == 0, colour, 1.0)
    error = scale * random.uniform(0.1, 0.4, **each) * random.uniform(0.5, 2, (count, points))
    flux = truth + error * random.normal(0, 1, truth.shape)
    return {"time": 60000 + time, "flux": flux, "flux_err": error, "band": band, "truth": truth}


def lightcurves(folder: Path, count: int = 24, seed: int = 5, noiseless: bool = False) -> Path:
    """Some of them, of 20 to 60 points each, as a survey of others may have them; every seventh has none."""
    made, random = curves(count, seed), np.random.default_rng(seed)
    made["flux"] = made["truth" if noiseless else "flux"]
    lengths = np.where(np.arange(count) % 7 == 6, 0, random.integers(20, 61, count))
    column = MODALITIES["lightcurve"].column(axes={"time": None}, flux="uJy", with_=("band",))
    values: dict[str, Any] = {
        name: [row[:length] for row, length in zip(made[name], lengths, strict=True)]
        for name in ("time", "flux", "flux_err")
    }
    values["band"] = [[LIGHT[b] for b in row[:n]] for row, n in zip(made["band"], lengths, strict=True)]
    return dataset(folder, Schema((*IDENTITY, column)), {"lightcurve": values}, *positions(count))


def ragged(rows: list[Any]) -> pa.Array:
    """Arrays that differ in their first axis."""
    ends = np.r_[0, np.cumsum([len(row) for row in rows])].astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), nested_list(np.concatenate(rows)))


def positions(count: int) -> tuple[Any, Any]:
    """Over several partitions."""
    random = np.random.default_rng(0)
    return 44.0 + 2 * random.random(count), 2 * (random.random(count) - 0.5)


def png(pixels: Any) -> bytes:
    """A picture."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def dataset(folder: Path, schema: Schema, values: dict[str, Any], ra: Any, dec: Any, order: int = 5) -> Path:
    """A catalogue of them, with row groups of four rows."""
    sky = healpix.pixel(ra, dec)
    names = [f"{folder.name}-{number:04d}" for number in range(len(ra))]
    table = table_of(schema, {"object_id": names, "ra": ra, "dec": dec, **values}).append_column("_healpix_29", [sky])
    arrow, shards, pixels = arrow_schema(schema), [], sky >> (2 * (29 - order))
    for pixel in np.unique(pixels).tolist():
        leaf = Partition(order, pixel)
        part = table.take(np.flatnonzero(pixels == pixel)).combine_chunks()
        written = write_shard(folder / "dataset" / leaf.path, [part], arrow, 4)
        shards.append(Shard(leaf, *written, written[0]))
    write_objects(folder, {"obs_title": folder.name}, arrow, shards, skymap(np.sort(sky)))
    return folder
