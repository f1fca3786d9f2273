"""Where the archive keeps what, and which objects of a mosaic's catalogue are selected.

A unit is a tile: some objects of a mosaic that are neighbours on the sky. A mosaic's stamps are up to 30 GB, more than
may be in memory, so it cannot be one; the price is that every tile unpacks the mosaic's planes again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mmu.fits import open_fits
from mmu.sky import healpix
from mmu.sky.region import Region
from mmu.survey import Candidates, File, Group, Paths, Release
from surveys.jwst.mosaic import LARGEST

Facts = Mapping[str, Any]

TILE_OBJECTS = 2000
"""Selected objects in a tile: 1.2 GB of stamps in seven bands, about one partition."""

FEW_BANDS = "a flux in fewer than four bands"
FAINT = "no magnitude, or one beyond the limit of the field"

KINDS = ("sci", "wht", "exp")
LONG_SCALE = 0.04
_CATALOGUE_BYTES = 10_000_000
_PIXEL_BYTES = {"sci": 3.7, "wht": 3.7, "exp": 0.01}


def catalogue_path(mosaic: str) -> str:
    """The aperture-corrected catalogue of a mosaic."""
    return f"{mosaic}-fix_phot_apcorr.fits"


def plane_path(mosaic: str, band: str, kind: str) -> str:
    """A plane of a mosaic: `kind` is "sci", "wht" or "exp"."""
    return f"{mosaic}-{band}-clear_drc_{kind}.fits.gz"


def mosaic_of(unit: str) -> str:
    """The mosaic that a unit is a tile of."""
    return unit.rpartition("_")[0]


def bootstrap(release: Release) -> tuple[File, ...]:
    """Nothing is needed before the catalogues."""
    return ()


def groups(release: Release, paths: Paths, region: Region, walk: bool) -> Iterator[Group]:
    """One group a mosaic: nothing but its catalogue says what part of the sky it covers."""
    for mosaic in sorted(release.facts["mosaics"]):
        yield Group(mosaic, (_catalogue_file(release.facts, mosaic),))


def select(release: Release, group: Group, paths: Paths) -> Candidates:
    """All objects of a mosaic's catalogue, and which are cut; what two mosaics share is in both, as in v1."""
    facts = release.facts
    fluxes = [f"{band}_flux_aper_0" for band in facts["counted_bands"]]
    with open_fits(paths[group.files[0].path]) as file:
        table = file.columns(1, ["id", "ra", "dec", "mag_auto"], fluxes)
        if not table.keys() & set(fluxes):
            raise file.error(f"no column {fluxes[0]} in 1, nor one of another NIRCam band")
    bands_seen = np.sum([table[name] > 0 for name in fluxes if name in table], axis=0)
    cuts = {FEW_BANDS: bands_seen < facts["least_bands"], FAINT: ~(table["mag_auto"] < facts["faintest"])}
    selected = ~(cuts[FEW_BANDS] | cuts[FAINT])
    unit = np.char.add(f"{group.name}_", np.char.zfill(tiles(table["ra"], table["dec"], selected).astype("U"), 4))
    return Candidates(object_ids(group.name, table["id"]), table["ra"], table["dec"], unit, cuts)


def object_ids(mosaic: str, number: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.str_]:
    """`<mosaic>_<id>` of each number."""
    return np.char.add(f"{mosaic}_", number.astype("U"))


def tiles(
    ra: npt.NDArray[np.floating[Any]], dec: npt.NDArray[np.floating[Any]], selected: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Number of each object's tile: `TILE_OBJECTS` selected ones each, in the order of the sky.

    It depends on the catalogue alone, not on the region asked for, so that a build can be extended.
    """
    known = healpix.valid(ra, dec)
    place = np.full(len(ra), -1, np.int64)
    place[known] = healpix.pixel(ra[known].astype(np.float64), dec[known].astype(np.float64))
    order = np.argsort(place, kind="stable")
    taken = selected[order]
    before: npt.NDArray[np.int64] = np.cumsum(taken) - taken
    tile = np.empty(len(ra), np.int64)
    tile[order] = np.minimum(before, max(int(taken.sum()) - 1, 0)) // TILE_OBJECTS
    return tile


def files(release: Release, unit: str) -> tuple[File, ...]:
    """The catalogue and all planes of a tile's mosaic; a plane may be absent upstream."""
    facts, mosaic = release.facts, mosaic_of(unit)
    found = [_catalogue_file(facts, mosaic)]
    for band in facts["bands"]:
        scale = facts["short_scale"] if band in facts["short_bands"] else LONG_SCALE
        pixels = facts["mosaics"][mosaic] * 3600 / scale**2
        for kind in KINDS:
            size = int(pixels * _PIXEL_BYTES[kind])
            found.append(File(plane_path(mosaic, band, kind), size, required=False, unpacked=LARGEST))
    return tuple(found)


def _catalogue_file(facts: Facts, mosaic: str) -> File:
    return File(catalogue_path(mosaic), int(facts["mosaics"][mosaic] * _CATALOGUE_BYTES))
