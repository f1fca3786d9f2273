"""Small datasets with images, spectra and scalars whose values say which object and which place they are of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmu.schema.arrow import arrow_schema, nested_list
from mmu.schema.column import IDENTITY, Column, Schema
from mmu.schema.modality import MODALITIES
from mmu.shards.catalogue import skymap, write_objects
from mmu.shards.parquet import Shard, write_shard
from mmu.sky import healpix
from mmu.sky.partition import Partition

Floats = np.ndarray[Any, Any]
ARCSEC = 1 / 3600


def field(count: int, seed: int = 0, size: float = 2.0) -> tuple[Floats, Floats]:
    """Positions over the corner of several coarse pixels."""
    random = np.random.default_rng(seed)
    return 44.0 + size * random.random(count), size * (random.random(count) - 0.5)


def numbers(ra: Floats, dec: Floats) -> Floats:
    """A number for each object that is the same whoever writes it, given the same position to 0.1 arcsec."""
    return np.round(ra * 3600 * 4) + np.round(dec * 3600 * 4) * 1e-7


def images(
    folder: Path, number: Floats, ra: Floats, dec: Floats, *, side: int = 8, bands: Sequence[str] = "griz",
    missing: bool = False, noise: float = 0.0, **how: Any,
) -> Path:  # fmt: skip
    """Images whose pixels are number + band, and noise; with `missing`, every third object lacks a band."""
    image = MODALITIES["image"].column(
        axes={"band": None, "y": side, "x": side}, flux="nanomaggy", without=("mask", "psf_fwhm", "scale")
    )
    has = np.ones((len(number), len(bands)), bool)
    if missing:
        has[::3, 1] = False
    planes = number[:, None] + np.arange(len(bands))
    flux = np.broadcast_to(planes[has][:, None, None], (int(has.sum()), side, side)).astype(np.float32)
    flux = flux + noise * np.random.default_rng(0).standard_normal(flux.shape, dtype=np.float32)
    ends = np.r_[0, np.cumsum(has.sum(axis=1))].astype(np.int32)
    text = pa.array(np.array(list(bands))[np.nonzero(has)[1]])
    struct = _struct(image, {"band": _lists(ends, text), "flux": _lists(ends, nested_list(flux)),
                             "ivar": _lists(ends, nested_list(flux if noise else np.ones_like(flux)))})  # fmt: skip
    magnitude = Column("mag", "float32")
    return dataset(folder, (image, magnitude), {"image": struct, "mag": number.astype(np.float32)}, ra, dec, **how)


def spectra(folder: Path, number: Floats, ra: Floats, dec: Floats, *, length: int | None = 12, **how: Any) -> Path:
    """Spectra whose values are number + place; with `length` None, of 1 to 7 values."""
    spectrum = MODALITIES["spectrum"].column(
        axes={"wavelength": length}, flux="1e-17 erg", without=("lsf_sigma", "mask", "lambda")
    )
    lengths = 1 + np.arange(len(number)) % 7 if length is None else np.full(len(number), length)
    ends = np.r_[0, np.cumsum(lengths)].astype(np.int32)
    place = np.arange(ends[-1]) - np.repeat(ends[:-1], lengths)
    values = pa.array((np.repeat(number, lengths) + place).astype(np.float32))
    struct = _struct(spectrum, {"flux": _lists(ends, values), "ivar": _lists(ends, values)})
    columns = (spectrum, Column("TARGETID", "int64"), Column("Z", "float32", nullable=True), Column("kind", "string"))
    more = {
        "spectrum": struct, "TARGETID": np.arange(len(number)) + (1 << 60),
        "Z": pa.array(number.astype(np.float32), mask=np.arange(len(number)) % 5 == 0),
        "kind": pa.array([f"k{n % 3}" for n in range(len(number))]),
    }  # fmt: skip
    return dataset(folder, columns, more, ra, dec, **how)


def dataset(
    folder: Path, columns: Sequence[Column], values: dict[str, Any], ra: Floats, dec: Floats,
    *, order: int = 3, group: int = 16,
) -> Path:  # fmt: skip
    """A catalogue cut at one order, with row groups of so many rows."""
    schema = arrow_schema(Schema((*IDENTITY, *columns)))
    sky = healpix.pixel(ra, dec)
    ids = pa.array([f"{folder.name}{n:06d}" for n in range(len(ra))])
    table = pa.table({"_healpix_29": sky, "object_id": ids, "ra": ra, "dec": dec, **values}).cast(schema)
    shards, pixels = [], sky >> (2 * (29 - order))
    for pixel in np.unique(pixels).tolist():
        leaf = Partition(order, pixel)
        part = table.filter(pa.array(pixels == pixel)).combine_chunks()
        written = write_shard(folder / "dataset" / leaf.path, [part], schema, group)
        shards.append(Shard(leaf, *written, written[0]))
    write_objects(folder, {"obs_title": folder.name}, schema, shards, skymap(np.sort(sky)))
    return folder


def _lists(ends: Any, values: pa.Array) -> pa.Array:
    kind = pa.list_(pa.field("element", values.type, nullable=False))
    return pa.ListArray.from_arrays(pa.array(ends), values, type=kind)


def _struct(column: Column, members: dict[str, pa.Array]) -> pa.Array:
    from mmu.schema.arrow import arrow_type

    kind = arrow_type(column)
    fields = [kind.field(i) for i in range(kind.num_fields)]
    return pa.StructArray.from_arrays([members[field.name].cast(field.type) for field in fields], fields=fields)
