"""One brick's files -> records: each plane is decompressed once, all its stamps are cut, then comes the next plane.

The catalogue columns come from the brick's Tractor file, whichever catalogue the objects were selected from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from astropy.wcs import WCS

from mmu import stamps
from mmu.errors import FormatError
from mmu.png import png_column
from mmu.schema import arrow_field, table_of
from mmu.sky.healpix import separation_deg
from mmu.survey import Paths, Records, Release
from surveys.legacysurvey import neighbours, pictures
from surveys.legacysurvey.archive import coadd_path, tractor_path
from surveys.legacysurvey.columns import catalogue_columns
from surveys.legacysurvey.fitsfile import read_columns, read_plane
from surveys.legacysurvey.neighbours import SIZE

NOT_LISTED = "not in the Tractor catalogue of its brick"
MOVED = "at another position in the Tractor catalogue"
NO_BAND = "no band has both an image and an inverse variance upstream"
SAME_DEG = 0.1 / 3600

Table = dict[str, npt.NDArray[Any]]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Images:
    """Stamps of N objects in B bands, and the geometry of the planes that they come from.

    Attributes:
        flux, ivar: nanomaggy and its inverse variance, float32 (N, B, 160, 160).
        mask: True = good, (N, B, 160, 160).
        maskbits: the archive's bits, int32 (N, 160, 160).
        starts: first column and row of each stamp, (N, 2).
        side: pixels along an edge of the planes.
    """

    flux: npt.NDArray[np.float32]
    ivar: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    maskbits: npt.NDArray[np.int32]
    starts: stamps.Starts
    wcs: WCS
    side: int


def read(release: Release, unit: str, paths: Paths, rows: pa.Table) -> Records:
    """Records of the objects `rows` of brick `unit`, in the order of `rows`."""
    facts, bands = release.facts, release.facts["bands"]
    local = {kind: paths[path] for kind in facts["kinds"] if (path := coadd_path(facts, unit, kind)) in paths}
    tractor = paths[tractor_path(facts, unit)]
    sources = read_sources(tractor, bands, facts["reference"])
    index, excluded = match(tractor.name, unit, sources, rows)
    present = "".join(b for b in bands if {f"image-{b}.fits.fz", f"invvar-{b}.fits.fz"} <= local.keys())
    if not present:
        excluded = dict.fromkeys(rows["object_id"].to_pylist(), NO_BAND) | excluded
    if not present or len(index) == 0:
        return Records(pa.schema([arrow_field(column) for column in release.schema]).empty_table(), excluded)
    images = cut_images(local, unit, present, sources["RA"][index], sources["DEC"][index], facts["bad_pixel"])
    found = rows["object_id"].to_pylist()
    values: dict[str, Any] = {"object_id": pa.array([name for name in found if name not in excluded])}
    values |= {"ra": sources["RA"][index], "dec": sources["DEC"][index], "image_maskbits": images.maskbits}
    catalogue = read_columns(tractor, [c.name for c in catalogue_columns(bands, facts["maskbits"])], rows=index)
    values |= catalogue
    values |= {"image": image_values(images, present, facts["band_names"], catalogue)}
    values |= picture_values(local, images)
    values |= source_values(images, sources, index, bands, facts["reference"])
    return Records(table_of(release.schema, values), excluded)


def read_sources(path: Path, bands: str, reference: str) -> Table:
    """What the neighbour list and the object mask need to know of every source in a Tractor file."""
    fluxes = [f"FLUX_{band.upper()}" for band in bands]
    shapes = ["TYPE", "SHAPE_R", "SHAPE_E1", "SHAPE_E2", f"PSFSIZE_{reference}"]
    return read_columns(path, ["BRICKNAME", "OBJID", "RA", "DEC", *fluxes, *shapes])


def match(name: str, unit: str, catalogue: Table, rows: pa.Table) -> tuple[Index, dict[str, str]]:
    """Rows of the catalogue that are the objects asked for, in their order, and why some are not there.

    Raises:
        FormatError: the catalogue `name` is of another brick than `unit`.
    """
    others = set(np.unique(catalogue["BRICKNAME"]).tolist()) - {unit}
    if others:
        raise FormatError(f"{name}: expected brick {unit}, found {sorted(others)}.")
    ids = np.asarray(rows["object_id"].to_pylist(), dtype="U")
    wanted = np.char.rpartition(ids, "-")[:, 2].astype(np.int64) if len(ids) else np.zeros(0, np.int64)
    order = np.argsort(catalogue["OBJID"], kind="stable")
    place = np.searchsorted(catalogue["OBJID"], wanted, sorter=order)
    index = order[np.minimum(place, len(order) - 1)] if len(order) else np.zeros(len(ids), np.intp)
    listed = catalogue["OBJID"][index] == wanted if len(order) else np.zeros(len(ids), bool)
    near = np.zeros(len(ids), bool)
    ra, dec = (rows[axis].to_numpy()[listed] for axis in ("ra", "dec"))
    at = index[listed]
    near[listed] = separation_deg(ra, dec, catalogue["RA"][at], catalogue["DEC"][at]) < SAME_DEG
    excluded = dict.fromkeys(ids[~listed].tolist(), NOT_LISTED) | dict.fromkeys(ids[listed & ~near].tolist(), MOVED)
    return index[near], excluded


def cut_images(
    local: Mapping[str, Path],
    brick: str,
    bands: str,
    ra: npt.NDArray[np.float64],
    dec: npt.NDArray[np.float64],
    bad_pixel: Iterable[int],
) -> Images:
    """Stamps at positions (degrees) from a brick's planes, one plane in memory at a time.

    Args:
        local: the file of each kind, such as "image-g.fits.fz" and "maskbits.fits.fz".
        bands: letters of the bands to cut.
        bad_pixel: the mask bits that make a pixel unusable.
    """
    flux, ivar = (np.zeros((len(ra), len(bands), SIZE, SIZE), np.float32) for _ in range(2))
    maskbits = np.zeros((len(ra), SIZE, SIZE), np.int32)
    starts, wcs, first = np.zeros((0, 2), np.int64), None, ((0, 0), ())
    jobs = [(f"image-{band}.fits.fz", flux[:, place]) for place, band in enumerate(bands)]
    jobs += [(f"invvar-{band}.fits.fz", ivar[:, place]) for place, band in enumerate(bands)]
    for kind, out in [*jobs, ("maskbits.fits.fz", maskbits)]:
        what = kind.partition(".")[0]
        plane, header = read_plane(local[kind], "iu" if out is maskbits else "f", brick, what)
        here = (plane.shape, tuple(header.get(key) for key in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")))
        if wcs is None:
            wcs, first = stamps.coordinates(header), here
            starts = stamps.stamp_starts(stamps.pixel_positions(wcs, ra, dec), SIZE)
        if here != first:
            raise FormatError(f"{local[kind].name}: expected the geometry {first} of the other planes, found {here}.")
        stamps.cut(plane, starts, out)
    for band in range(len(bands)):
        stamps.clean(flux[:, band], ivar[:, band])
    return Images(flux, ivar, stamps.good_pixels(maskbits, ivar, bad_pixel), maskbits, starts, wcs, first[0][0])


def image_values(images: Images, bands: str, names: Mapping[str, str], catalogue: Table) -> dict[str, Any]:
    """The members of the `image` column; the PSF is the catalogue's, the scale that of the planes."""
    count = len(images.flux)
    return {
        "band": np.tile(np.array([names[band] for band in bands]), (count, 1)),
        "flux": images.flux,
        "ivar": images.ivar,
        "mask": images.mask,
        "psf_fwhm": np.stack([catalogue[f"PSFSIZE_{band.upper()}"] for band in bands], axis=1),
        "scale": np.full((count, len(bands)), stamps.pixel_scale(images.wcs), np.float32),
    }


def picture_values(local: Mapping[str, Path], images: Images) -> dict[str, Any]:
    """The archive's own pictures of each stamp."""
    return {
        "rgb": pictures.stamps_of(local.get("image.jpg"), images.side, images.starts),
        "blobmodel": pictures.stamps_of(local.get("blobmodel.jpg"), images.side, images.starts),
    }


def source_values(images: Images, table: Table, index: Index, bands: str, reference: str) -> dict[str, Any]:
    """The neighbour list and the object mask of each stamp; `index` are the rows of the targets in the table."""
    position = stamps.pixel_positions(images.wcs, table["RA"], table["DEC"])
    sources = neighbours.brightest_first(table, position, f"FLUX_{reference}")
    targets = np.argsort(sources.row)[index]
    fluxes = tuple(f"FLUX_{band.upper()}" for band in bands)
    scale = stamps.pixel_scale(images.wcs)
    plane = neighbours.type_plane(sources, images.side, scale, sources.columns[f"PSFSIZE_{reference}"])
    codes = np.zeros((len(index), SIZE, SIZE), np.uint8)
    stamps.cut(plane, images.starts, codes)
    catalog = neighbours.neighbour_list(sources, images.starts, targets, fluxes)
    return {"object_mask": png_column(codes), "catalog": catalog}
