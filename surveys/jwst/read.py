"""One tile's files -> records: each plane is unpacked once, the tile's stamps are cut, then comes the next plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mmu import stamps
from mmu.fits import open_fits
from mmu.rows import missing, positions
from mmu.schema import Column, arrow_field, arrow_type, table_of
from mmu.survey import Paths, Records, Release
from surveys.jwst.archive import KINDS, catalogue_path, mosaic_of, plane_path
from surveys.jwst.columns import DETECTION, PSF_FWHM, SIZE, optional_columns
from surveys.jwst.mosaic import add_photon_noise, count_rate, exposure_stamps, open_plane

NO_BAND = "no band has both an image and a weight upstream"

Floats = npt.NDArray[np.float64]


@dataclass
class Images:
    """Stamps of N objects in B bands.

    Attributes:
        flux, ivar: 10 nJy a pixel and its inverse variance, float32 (N, B, 96, 96).
        mask: True = good, (N, B, 96, 96).
        scale: arcsec a pixel, one a band.
        photon_noise: whether `ivar` knows of the sources' own, one a band.
    """

    flux: npt.NDArray[np.float32]
    ivar: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    scale: list[float] = field(default_factory=list)
    photon_noise: list[bool] = field(default_factory=list)


def read(release: Release, unit: str, paths: Paths, rows: pa.Table) -> Records:
    """Records of the objects `rows` of tile `unit`, in the order of `rows`."""
    mosaic, wanted = mosaic_of(unit), release.facts["bands"]
    local = {
        band: {kind: paths[path] for kind in KINDS if (path := plane_path(mosaic, band, kind)) in paths}
        for band in wanted
    }
    bands = [band for band in wanted if {"sci", "wht"} <= local[band].keys()]
    ids = rows["object_id"].to_pylist()
    if not bands:
        return Records(pa.schema(map(arrow_field, release.schema)).empty_table(), dict.fromkeys(ids, NO_BAND))
    prefix = len(mosaic) + 1
    numbers = np.array([int(name[prefix:]) for name in ids], dtype=np.int64)
    values, lost = read_catalogue(paths[catalogue_path(mosaic)], numbers, wanted)
    excluded = {f"{mosaic}_{number}": reason for number, reason in lost.items()}
    images = cut_images(local, bands, values["ra"], values["dec"])
    count = len(values["id"])
    values |= {"object_id": pa.array([name for name in ids if name not in excluded], pa.string())}
    values |= {"mosaic": pa.array([mosaic] * count, pa.string()), "image": image_values(images, bands)}
    values |= {"image_photon_noise": np.tile(np.array(images.photon_noise), (count, 1))}
    return Records(table_of(release.schema, values), excluded)


def read_catalogue(
    path: Path, numbers: npt.NDArray[np.int64], bands: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The catalogue's columns for the objects of those numbers, in their order, and why some are not there.

    What the catalogue has no column for is null.
    """
    needed = (Column("id", "int64"), Column("ra", "float64"), Column("dec", "float64"), *DETECTION)
    optional = optional_columns(bands)
    with open_fits(path) as file:
        listed = file.columns(1, ["id"])["id"]
        excluded = missing(numbers, listed, "catalogue")
        kept = numbers[~np.isin(numbers, np.array(list(excluded), dtype=np.int64))]
        index = positions(kept, listed)
        found = file.columns(1, [c.name for c in needed], [c.name for c in optional], index)
        values: dict[str, Any] = {name: found[name] for name in ("ra", "dec")}
        for column in (*needed, *optional):
            try:
                values.setdefault(column.name, _typed(column, found.get(column.name), len(index)))
            except pa.ArrowInvalid as problem:
                raise file.error(f"column {column.name} is not {column.dtype} ({problem})") from problem
    return values, excluded


def _typed(column: Column, values: npt.NDArray[Any] | None, count: int) -> pa.Array:
    """The values in the column's type, null where a whole number is none; nulls where there are no values."""
    kind = arrow_type(column)
    if values is None:
        return pa.nulls(count, kind)
    whole = pa.types.is_integer(kind) and values.dtype.kind == "f"
    return pa.array(values, mask=~np.isfinite(values) if whole else None).cast(kind)


def cut_images(local: Mapping[str, Mapping[str, Path]], bands: list[str], ra: Floats, dec: Floats) -> Images:
    """Stamps at positions (degrees) in each band's own pixels, one plane mapped at a time.

    Args:
        local: band -> kind ("sci", "wht" and, if there is one, "exp") -> file.
    """
    shape = (len(ra), len(bands), SIZE, SIZE)
    images = Images(np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, bool))
    for place, band in enumerate(bands):
        flux, ivar = images.flux[:, place], images.ivar[:, place]
        scale, known = cut_band(local[band], band, ra, dec, flux, ivar)
        np.greater(ivar, 0, out=images.mask[:, place])
        images.scale.append(scale)
        images.photon_noise.append(known)
    return images


def cut_band(
    files: Mapping[str, Path],
    band: str,
    ra: Floats,
    dec: Floats,
    flux: npt.NDArray[np.float32],
    ivar: npt.NDArray[np.float32],
) -> tuple[float, bool]:
    """Fill `flux` and `ivar` (N, 96, 96, zeros) from one band's planes.

    Returns:
        The pixel scale in arcsec, and whether `ivar` has the photon noise of the sources in it.
    """
    with open_plane(files["sci"], "f", band) as plane:
        wcs, geometry, rate = plane.coordinates(), plane.geometry, count_rate(plane.hdu)
        starts = stamps.stamp_starts(stamps.pixel_positions(wcs, ra, dec), SIZE)
        stamps.cut(plane.pixels, starts, flux)
    with open_plane(files["wht"], "f", band) as plane:
        if plane.geometry != geometry:
            raise plane.file.error(f"expected the geometry {geometry} of the image, found {plane.geometry}")
        stamps.cut(plane.pixels, starts, ivar)
    stamps.clean(flux, ivar)
    if "exp" not in files:
        return stamps.pixel_scale(wcs), False
    with open_plane(files["exp"], "iuf", band) as plane:
        rate = count_rate(plane.hdu) or rate
        if rate is None:
            return stamps.pixel_scale(wcs), False
        exposure = exposure_stamps(plane, geometry[0], starts, SIZE)
    add_photon_noise(ivar, flux, exposure, rate)
    return stamps.pixel_scale(wcs), True


def image_values(images: Images, bands: list[str]) -> dict[str, Any]:
    """The members of the `image` column."""
    count = len(images.flux)
    return {
        "band": np.tile(np.array(bands), (count, 1)),
        "flux": images.flux,
        "ivar": images.ivar,
        "mask": images.mask,
        "psf_fwhm": np.tile(np.array([PSF_FWHM[band] for band in bands], np.float32), (count, 1)),
        "scale": np.tile(np.array(images.scale, np.float32), (count, 1)),
    }
