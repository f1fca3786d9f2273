"""Small datasets to be drawn: what is in them is known to the pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmu.dataset import Dataset
from mmu.schema import IDENTITY, MODALITIES, Column, Schema, arrow_schema, table_of
from mmu.sky.healpix import pixel
from tests.crossmatch.catalogues import write_hats

SIDE = 33
Z = Column("Z", "float64", meaning="redshift of the best fit", nullable=True)


def made(folder: Path, columns: tuple[Column, ...], values: dict[str, Any], count: int = 1) -> Dataset:
    """A dataset of `count` objects near (10, 20) with these columns besides id and position."""
    schema = Schema((*IDENTITY, *columns))
    place = {"object_id": [f"obj-{i:03d}" for i in range(count)], "ra": 10.0 + 0.01 * np.arange(count)}
    table = table_of(schema, {**place, "dec": np.full(count, 20.0), **values})
    keys = pixel(table["ra"].to_numpy(), table["dec"].to_numpy())
    whole = pa.Table.from_arrays([pa.array(keys), *table.columns], schema=arrow_schema(schema))
    write_hats(folder, whole.sort_by("_healpix_29"), (4,))
    return Dataset(folder)


def image_column(unit: str = "nanomaggy", zero_point: float | None = 22.5) -> Column:
    return MODALITIES["image"].column(axes={"band": None, "y": None, "x": None}, flux=unit, zero_point=zero_point)


def images(rows: list[dict[str, NDArray[np.float64]]], scale: float = 0.25, noise: float = 0.01) -> dict[str, Any]:
    """The values of an image column: a dict of planes by band a row; NaN where there is no data."""
    planes = [list(row.values()) for row in rows]
    return {
        "band": [list(row) for row in rows],
        "flux": [[np.nan_to_num(plane).tolist() for plane in row] for row in planes],
        "ivar": [[np.where(np.isnan(plane), 0.0, noise**-2).tolist() for plane in row] for row in planes],
        "mask": [[(~np.isnan(plane)).tolist() for plane in row] for row in planes],
        "psf_fwhm": [[1.0] * len(row) for row in rows],
        "scale": [[scale] * len(row) for row in rows],
    }


def spot(x: int, y: int, flux: float = 5.0, side: int = SIDE) -> NDArray[np.float64]:
    """A source of 3 x 3 pixels on an empty plane."""
    plane = np.zeros((side, side))
    plane[y - 1 : y + 2, x - 1 : x + 2] = flux
    return plane


def spectrum_column() -> Column:
    return MODALITIES["spectrum"].column(
        axes={"wavelength": None}, flux="1e-17 erg/(s cm2 Angstrom)", meaning="vacuum, barycentric"
    )


def spectra(flux: list[Any], sigma: float = 0.1, first: float = 3600.0, step: float = 2.0) -> dict[str, Any]:
    """The values of a spectrum column; NaN where a pixel is masked."""
    arrays = [np.asarray(one, dtype=float) for one in flux]
    return {
        "flux": [np.where(np.isnan(one), 99.0, one).tolist() for one in arrays],
        "ivar": [np.full(len(one), sigma**-2).tolist() for one in arrays],
        "lsf_sigma": [np.ones(len(one)).tolist() for one in arrays],
        "lambda": [(first + step * np.arange(len(one))).tolist() for one in arrays],
        "mask": [np.isnan(one).tolist() for one in arrays],
    }
